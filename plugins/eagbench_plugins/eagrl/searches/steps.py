"""Writing an answer step by step, in the tags of `question_decomposition`.

A partial answer ends with the tag that opens what comes next, so that a policy continues it and need not be asked which
tag it wants: `<Subquestion>` (a step comes next) or `<Final subquestion>` (the end does). An edge is what is written up
to and with the next of these tags, or the tag that closes the answer.
"""

from __future__ import annotations

from typing import Literal

from eagbench.api import STYLES

_STYLE = STYLES["question_decomposition"]
STEP, FINAL, CLOSE = "<Subquestion>", "<Final subquestion>", _STYLE.answer_close
STOP_AT_STEP = (STEP, FINAL, CLOSE)
BEGINNING = STEP

# What can be done with a text: go on with a step, go on with the end, nothing (it is complete, or was cut short).
State = Literal["step", "final", "finished", "cut"]


def state_of(text: str) -> State:
    """What can be done with a partial answer."""
    if text.endswith(STEP):
        return "step"
    if text.endswith(FINAL):
        return "final"
    return "finished" if text.endswith(CLOSE) else "cut"


def extended(text: str, edge: str, edges_before: int, depth: int) -> str:
    """A partial answer with one more edge; the last of `depth` edges is forced to be the end.

    Args:
        text: The partial answer.
        edge: What the policy wrote after it.
        edges_before: Number of edges in `text`.
        depth: Most edges of an answer, the end included.
    """
    longer = text + edge
    if state_of(longer) == "step" and edges_before + 2 >= depth:
        return longer.removesuffix(STEP) + FINAL
    return longer
