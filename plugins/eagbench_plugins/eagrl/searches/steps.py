"""Generate an answer step by step, with the tags of `question_decomposition`.

A partial answer ends with the tag that opens the next part, so that the policy simply continues the text:
`<Subquestion>` if a step comes next, `<Final subquestion>` if the final answer does. An edge is the text generated up
to and including the next of these tags, or the tag that closes the answer.
"""

from __future__ import annotations

from typing import Literal

from eagbench.api import STYLES

_STYLE = STYLES["question_decomposition"]
STEP, FINAL, CLOSE = "<Subquestion>", "<Final subquestion>", _STYLE.answer_close
CITATIONS, ANSWER = "<Important Features>", _STYLE.answer_open
STOP_AT_STEP = (STEP, FINAL, CLOSE)
BEGINNING = STEP

# What can be done with a text: go on with a step, go on with the end, nothing (it is complete, or was cut short).
State = Literal["step", "final", "finished", "cut"]


def state_of(text: str) -> State:
    """Determine how a partial answer can continue."""
    if text.endswith(STEP):
        return "step"
    if text.endswith(FINAL):
        return "final"
    return "finished" if text.endswith(CLOSE) else "cut"


def extended(text: str, edge: str, edges_before: int, depth: int) -> str:
    """Extend a partial answer by one edge; the last of `depth` edges is forced to be the final answer.

    Args:
        text: The partial answer.
        edge: What the policy wrote after it.
        edges_before: Number of edges in `text`.
        depth: Maximum number of edges of an answer, including the final answer.
    """
    longer = text + edge
    if state_of(longer) == "step" and edges_before + 2 >= depth:
        return longer.removesuffix(STEP) + FINAL
    return longer
