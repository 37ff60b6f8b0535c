"""`expert_mcts` and `mcts`: Monte Carlo tree search over steps, with and without the expert.

Expert-guided trajectory search of EAG-RL (Fang et al., arXiv 2508.13579), with the tree of its predecessor's code. A
node is a partial answer, an edge is one sampled (subquestion, answer), and a leaf ends with the final answer. Each node
gets three children, sampled at temperature 1.2 and top-p 0.8. A path has at most five edges; the last one is forced to
be the final answer.

    select    UCT  q + w sqrt(ln N(parent) / N(child)), w = 1, unvisited children first
    expand    the selected node's children, if it was visited before (the root immediately)
    simulate  from the new child with the highest local reward, to the end of the answer
    return    G = R + step_weight * (sum over steps of their local rewards)
    back up   G to all nodes above; a node's value is the largest (or the mean) of the returns seen

R of `expert_mcts` is the method's total reward. R of `mcts` is the reward's part `classification` where there is one,
so that the search uses no expert. The local reward of `expert_mcts` is the step's gain in overlap with the expert's top
features (`searches/guidance.py`). With `self_evaluation`, both searches add r0^a r1^(1-a), a = 0.4, as in RAP (arXiv
2305.14992): r0 is the policy's own probability of "Yes" when asked whether the subquestion is useful, and r1 is its own
score of the answer, from 0 to 100.

Departures from paper and code, numbered:
1. A simulation writes the rest of the answer in one go, not step by step with three candidates each. This gives the
   same information for a third of the tokens. The simulated text may have more steps than the tree's depth allows.
2. Returns are scaled to [0, 1] per tree before UCT, which assumes that scale; log rewards reach -4.6.
3. A step's local reward is its gain in cumulative overlap, because the overlap itself would favour naming everything.
   The gains sum to the overlap of the whole answer.
4. Children with the same text are merged. Finished nodes are not visited again; a tree may end by exhaustion.
5. Several simulations of a tree run at once (virtual loss), and all cases share the model calls.
6. Every node draws from its own random stream, seeded by the search's seed and the node's text.
7. Self-evaluation is off by default; an unparsed score counts as 0.
8. With `proposals`, off by default, some children of `expert_mcts` begin with a question about a feature that the
   expert attends to (`searches/proposals.py`). A policy that knows little of medicine hardly ever asks about it itself.
9. With `proposed_citations`, off by default, simulations of `expert_mcts` cite the expert's top features in the
   record's order, and the policy answers behind them. The children of a final subquestion stay the policy's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from eagbench.api import (
    Generation,
    LanguageModel,
    Sampling,
    SearchResult,
    SearchTask,
    SearchTraits,
    StrictParams,
    Trajectory,
    UserError,
)
from eagbench_plugins.eagrl.searches.budget import BudgetedWriter, Request, derived_seed
from eagbench_plugins.eagrl.searches.guidance import Guidance, overlap_with_expert
from eagbench_plugins.eagrl.searches.proposals import Proposals, no_proposals, proposed_citations
from eagbench_plugins.eagrl.searches.results import Read, ranked_result
from eagbench_plugins.eagrl.searches.steps import CITATIONS, STOP_AT_STEP, extended
from eagbench_plugins.eagrl.searches.tree import Backup, Node, Tree

_SCORE = re.compile(r"\s*(100|[0-9]{1,2})\b")
_SELF_EVALUATION_WEIGHT = 0.4  # a of RAP
_SCORE_TOKENS = 4
_ANSWER_TOKENS = 16  # of a probability and its closing tag


class TreeSearchParams(StrictParams):
    """Tree search parameters.

    Attributes:
        children: Steps sampled per node.
        depth: Maximum number of edges from the root to the end.
        exploration: w of UCT.
        backup: How a node's value is computed: the `max` or the `mean` of the returns seen below it.
        temperature: Temperature of steps and simulations.
        top_p: Nucleus sampling threshold of steps and simulations.
        step_tokens: Maximum number of tokens of one step.
        step_weight: Weight of the local rewards in the return.
        simulations: Maximum number of simulations per case; None runs until the token budget is used.
        parallel: Number of simultaneous simulations of one tree.
        self_evaluation: Whether the policy judges its own steps; meant for large policies.
    """

    children: int = Field(default=3, ge=1)
    depth: int = Field(default=5, ge=2)
    exploration: float = Field(default=1.0, ge=0)
    backup: Backup = "max"
    temperature: float = Field(default=1.2, gt=0)
    top_p: float = Field(default=0.8, gt=0, le=1)
    step_tokens: int = Field(default=64, ge=1)
    step_weight: float = Field(default=0.5, ge=0)
    simulations: int | None = Field(default=None, ge=1)
    parallel: int = Field(default=4, ge=1)
    self_evaluation: bool = False


class _CaseSearch:
    """One case's tree and the trajectories finished so far."""

    def __init__(self, index: int, task: SearchTask, params: TreeSearchParams, read: Read, guidance: Guidance) -> None:
        self.index, self.task, self.params, self.read, self.guidance = index, task, params, read, guidance
        self.tree = Tree(params.exploration, params.backup)
        self.trajectories: list[Trajectory] = []
        self.simulations = 0
        self.done = False

    def begin_round(self, affordable: int) -> list[int]:
        """Select the nodes to work on in this round, at most as many as the simulations that the budget covers."""
        selected: list[int] = []
        while not self.done and len(selected) < min(self.params.parallel, affordable):
            left = self.params.simulations
            if left is not None and self.simulations + len(selected) >= left:
                break
            position = self.tree.select()
            if position is None:
                break
            selected.append(position)
        self.done = not selected
        return selected

    def needs_children(self, position: int) -> bool:
        """Check whether to expand a selected node: the root immediately, others once they have been visited."""
        node = self.tree.nodes[position]
        return position == 0 or node.visits > 0

    def request(self, position: int, begun: str = "") -> Request:
        """Build the request for a continuation of a node, with the beginning of its next step if there is one."""
        return Request(self.index, self.task.prompt, self.tree.nodes[position].text + begun)

    def beginnings(self, position: int, seed: int) -> list[str]:
        """Return with what each child of a node begins; nothing, where the policy begins by itself."""
        found = self.guidance.proposals(self.tree.nodes[position].text, seed)[: self.params.children]
        return [*found, *[""] * (self.params.children - len(found))]

    def add_child(self, parent: int, edge: str, tokens: int) -> int:
        """Add the text generated after a node as its child, with its gain in overlap; return the child's position."""
        above = self.tree.nodes[parent]
        text = extended(above.text, edge, above.edges, self.params.depth)
        child = Node(text, parent, above.edges + 1, above.tokens + tokens)
        child.overlap = self.guidance.local(self.read(self.task.case, text, child.tokens))
        child.local = child.overlap - above.overlap
        return self.tree.add(child)

    def finish(self, position: int, text: str, tokens: int) -> None:
        """Judge a finished answer that starts with a node's text, and back its return up from that node."""
        trajectory = self.read(self.task.case, text, tokens)
        node = self.tree.nodes[position]
        node.finished.append(len(self.trajectories))
        self.trajectories.append(trajectory)
        steps = sum(self.tree.nodes[above].local for above in self.tree.path(position))
        rest = self.guidance.local(trajectory) - node.overlap
        self.tree.back_up(position, self.guidance.objective(trajectory) + self.params.step_weight * (steps + rest))
        self.simulations += 1

    def result(self, spent: int) -> SearchResult:
        """Return all finished trajectories, best first, and the tree.

        In the tree, each node refers to its finished trajectories by their positions in that ranking.
        """
        order = ranked_result(self.task, self.trajectories, spent)
        place = {id(trajectory): i for i, trajectory in enumerate(order.trajectories)}
        nodes = self.tree.to_json()
        for node in nodes:
            node["finished"] = [place[id(self.trajectories[i])] for i in node["finished"]]
        return SearchResult(order.case_id, order.trajectories, order.rewards, spent, nodes)


def search_trees(
    cases: Sequence[_CaseSearch], model: LanguageModel, writer: BudgetedWriter, params: TreeSearchParams, seed: int
) -> None:
    """Run rounds of select, expand, simulate and back up over all trees, until each is exhausted or out of budget."""
    if not cases:
        return
    task = cases[0].task
    longest = max(case.task.max_new_tokens for case in cases)
    step = Sampling(min(params.step_tokens, longest), params.temperature, params.top_p, STOP_AT_STEP)
    rest = Sampling(longest, params.temperature, params.top_p, task.stop)
    while True:
        spent = list(writer.spent)
        selected = [
            (case, position)
            for case in cases
            if not case.done
            for position in case.begin_round(writer.room(case.index, longest))
        ]
        if not selected:
            return
        expanded = _expand(selected, model, writer, params, step, seed)
        simulated: list[tuple[_CaseSearch, int]] = []
        for case, position in selected:
            if (case.index, position) not in expanded:
                if not case.needs_children(position):
                    simulated.append((case, position))
                continue
            open_children = [c for c in expanded[case.index, position] if not case.tree.nodes[c].exhausted]
            for child in expanded[case.index, position]:
                node = case.tree.nodes[child]
                if node.exhausted:
                    case.finish(child, node.text, node.tokens)
            if open_children:
                nodes = case.tree.nodes
                simulated.append((case, max(open_children, key=lambda c: (nodes[c].local, -c))))
        for (case, position), text in zip(simulated, _simulate(simulated, writer, rest, seed), strict=True):
            if text is not None:
                node = case.tree.nodes[position]
                case.finish(position, node.text + text.text, node.tokens + text.tokens)
        for case, position in selected:
            case.tree.release(position)
            case.tree.mark_exhausted(position)
            # Every selected node asks for something: what is left of the budget was too little for any of it.
            case.done = case.done or writer.spent[case.index] == spent[case.index]


def _expand(
    selected: Sequence[tuple[_CaseSearch, int]],
    model: LanguageModel,
    writer: BudgetedWriter,
    params: TreeSearchParams,
    step: Sampling,
    seed: int,
) -> dict[tuple[int, int], list[int]]:
    """Generate the children of the selected nodes that need them.

    Returns:
        (case, node) -> new children, for the nodes that the budget allowed at least one child.
    """
    asked = [(case, position) for case, position in selected if case.needs_children(position)]
    begun = [(case, position, begin) for case, position in asked for begin in case.beginnings(position, seed)]
    requests = [case.request(position, begin) for case, position, begin in begun]
    texts = writer.write(requests, step, derived_seed(seed, "expand"))
    children: dict[tuple[int, int], dict[int, None]] = {}
    for (case, position, begin), text in zip(begun, texts, strict=True):
        if text is not None:
            child = case.add_child(position, begin + text.text, text.tokens)
            children.setdefault((case.index, position), {})[child] = None
            case.tree.nodes[position].expanded = True
    expanded = {node: list(found) for node, found in children.items()}
    if params.self_evaluation:
        by_index = {case.index: case for case, _ in asked}
        _self_evaluate([(by_index[i], child) for (i, _), new in expanded.items() for child in new], model, writer, seed)
    return expanded


def _simulate(
    simulated: Sequence[tuple[_CaseSearch, int]], writer: BudgetedWriter, rest: Sampling, seed: int
) -> list[Generation | None]:
    """Write the rest of answers; None where the budget allows nothing.

    Where the search proposes citations, the policy writes up to them and then behind them. If the budget ends between
    the two, the answer stays cut, as any other that is too long.
    """
    requests = [case.request(position) for case, position in simulated]
    proposed = [case.guidance.citations for case, _ in simulated]
    stop = (CITATIONS, *rest.stop) if any(proposed) else rest.stop
    texts = writer.write(requests, replace(rest, stop=stop), derived_seed(seed, "simulate"))
    begun: dict[int, tuple[Generation, Request]] = {}
    for i, (text, request) in enumerate(zip(texts, requests, strict=True)):
        if text is not None and proposed[i] and text.text.endswith(CITATIONS):
            longer = replace(text, text=text.text + proposed[i])
            begun[i] = longer, replace(request, written=request.written + longer.text)
    asked = [request for _, request in begun.values()]
    ends = writer.write(
        asked, replace(rest, max_new_tokens=min(rest.max_new_tokens, _ANSWER_TOKENS)), derived_seed(seed, "answer")
    )
    for (i, (text, _)), end in zip(begun.items(), ends, strict=True):
        if end is not None:
            texts[i] = replace(text, text=text.text + end.text, tokens=text.tokens + end.tokens)
    return texts


def _self_evaluate(
    children: Sequence[tuple[_CaseSearch, int]], model: LanguageModel, writer: BudgetedWriter, seed: int
) -> None:
    """Add r0^a r1^(1-a) to the local reward of new children. Each judgement of r0 counts as one token."""
    affordable = [(case, child) for case, child in children if writer.take(case.index, 1)]
    if not affordable:
        return
    prompts = []
    for case, child in affordable:
        node = case.tree.nodes[child]
        assert node.parent is not None
        before = case.tree.nodes[node.parent].text
        prompts.append(f"{case.task.prompt}\nReasoning so far:\n{before}\nThe next step:\n{node.text[len(before) :]}\n")
    useful = model.continuation_probabilities(
        [f"{prompt}Is the new subquestion useful? Answer Yes or No.\n" for prompt in prompts],
        [""] * len(prompts),
        ("Yes", "No"),
    )[:, 0]
    scores = writer.write(
        [
            Request(case.index, f"{prompt}Score the answer of this step from 0 (wrong) to 100 (right).\n")
            for (case, _), prompt in zip(affordable, prompts, strict=True)
        ],
        Sampling(_SCORE_TOKENS),
        derived_seed(seed, "score"),
    )
    if any(score is not None and score.thought is not None for score in scores):
        raise UserError(
            f"this policy thinks before it answers, and its judgement of a step has {_SCORE_TOKENS} tokens in all",
            where="search, self_evaluation",
            hint="leave out `self_evaluation`, or take a policy that does not think",
        )
    for (case, child), r0, score in zip(affordable, useful, scores, strict=True):
        number = None if score is None else _SCORE.match(score.text)
        r1 = int(number.group(1)) / 100 if number else 0.0
        case.tree.nodes[child].local += float(r0) ** _SELF_EVALUATION_WEIGHT * r1 ** (1 - _SELF_EVALUATION_WEIGHT)


class MCTS:
    """Tree search without the expert."""

    name: ClassVar[str] = "mcts"
    traits = SearchTraits(needs_steps=True, case_by_case=True)

    class Params(TreeSearchParams):
        """Tree search parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self, model: LanguageModel, tasks: Sequence[SearchTask], read: Read, token_budget: int, seed: int
    ) -> list[SearchResult]:
        """Search one tree per task."""
        writer = BudgetedWriter(model, len(tasks), token_budget)

        def objective(task: SearchTask) -> Callable[[Trajectory], float]:
            def without_expert(trajectory: Trajectory) -> float:
                parts = task.reward(trajectory)
                if "classification" not in parts:
                    return parts["total"]
                return parts["classification"] + parts.get("unparsed", 0.0)

            return without_expert

        cases = [
            _CaseSearch(i, task, self.params, read, Guidance(lambda _: 0.0, objective(task), no_proposals))
            for i, task in enumerate(tasks)
        ]
        search_trees(cases, model, writer, self.params, seed)
        return [case.result(writer.spent[case.index]) for case in cases]


class ExpertMCTS:
    """Tree search guided by the expert's salience."""

    name: ClassVar[str] = "expert_mcts"
    traits = SearchTraits(needs_salience=True, needs_steps=True, case_by_case=True)

    class Params(TreeSearchParams):
        """Tree search parameters, and what the expert adds.

        Attributes:
            k: Number of expert features.
            proposals: How many of a node's children begin with a question about one of them.
            proposed_citations: How many of the expert's features a simulated answer cites; 0 leaves it to the policy.
        """

        k: int = Field(default=5, ge=1)
        proposals: int = Field(default=0, ge=0)
        proposed_citations: int = Field(default=0, ge=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self, model: LanguageModel, tasks: Sequence[SearchTask], read: Read, token_budget: int, seed: int
    ) -> list[SearchResult]:
        """Search one tree per task."""
        writer = BudgetedWriter(model, len(tasks), token_budget)

        def guidance(task: SearchTask) -> Guidance:
            return Guidance(
                overlap_with_expert(task, self.params.k),
                lambda trajectory: task.reward(trajectory)["total"],
                Proposals(task, self.params.k, self.params.proposals),
                proposed_citations(task, self.params.proposed_citations),
            )

        cases = [_CaseSearch(i, task, self.params, read, guidance(task)) for i, task in enumerate(tasks)]
        search_trees(cases, model, writer, self.params, seed)
        return [case.result(writer.spent[case.index]) for case in cases]
