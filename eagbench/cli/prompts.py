"""What `eagbench prompt` prints, and what `eagbench plan` says of the prompts' lengths."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from eagbench.cli.stage_results import compute
from eagbench.config.suggestions import choices, nearest
from eagbench.contracts.language_models import PromptCounter
from eagbench.contracts.policy_abilities import CountsPrompts
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.stages import (
    CLEAN,
    CasesInput,
    StageNode,
    StageRun,
    closure,
)
from eagbench.errors import UserError
from eagbench.execution.exact_prompt import exact_prompt
from eagbench.execution.resolve import resolve
from eagbench.execution.store import Store
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.stages.cohort_files import read_cases
from eagbench.stages.record_text import fit
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import read_assignment

# Training cases whose prompts `plan` counts, evenly spread: enough for a median, and quick.
_COUNTED = 60


@dataclass(frozen=True, slots=True)
class _Predicting:
    """A method's prediction on unchanged records, for one seed and fold, before anything is asked."""

    node: StageNode
    store: Store

    @property
    def cases(self) -> CasesInput:
        declared = self.node.inputs["cases"]
        assert isinstance(declared, CasesInput)
        return declared

    @property
    def policy(self) -> StageNode | None:
        """The stage that prepares the untrained policy; None for a method that opens none."""
        return next((stage for stage in closure([self.node]) if stage.kind == "policy"), None)

    def before_the_policy(self) -> list[StageNode]:
        """List the stages that its prompts may be made from: all that need no policy themselves."""
        return [node for node in closure([self.node]) if node is not self.node and not _opens_policy(node)]

    def prompt(self, case: Case, cases: Cases, places: Mapping[str, Path]) -> str | None:
        """Return what the policy is asked about a case; None if it is asked nothing.

        Args:
            case: The case.
            cases: The cohort, for its description.
            places: Folders to take instead of the store's, by fingerprint.

        Raises:
            UserError: The method reads a stage that is not in the store.
        """

        def folder(stage: StageNode) -> Path:
            return places.get(stage.fingerprint, self.store.folder(stage))

        with tempfile.TemporaryDirectory() as out:
            return exact_prompt(self.node, case, cases, folder, Path(out))

    def counter(self) -> PromptCounter | None:
        """Return what counts tokens as the policy reads them; None if nothing here can."""
        policy = self.policy
        if policy is None or policy.component is None:
            return None
        use = policy.component
        component = load_registry().create(use.kind, use.name, {**use.params, **use.locations})
        return component.counter(self.store.folder(policy)) if isinstance(component, CountsPrompts) else None


def _opens_policy(node: StageNode) -> bool:
    return any(stage.kind == "policy" for stage in closure([node]))


def _predicting(plan: Plan, store: Store, label: str) -> list[_Predicting]:
    """Return a method's predictions for its first seed, one per fold; empty if it reads no text."""
    cell = next(cell for cell in plan.cells if cell.method == label and cell.condition == CLEAN)
    reads_text = any(method.label == label and method.reads == "text" for method in plan.methods)
    return [_Predicting(fold.predict, store) for fold in cell.folds] if reads_text else []


def _asks_policy(plan: Plan, store: Store, label: str) -> bool:
    return any(predicting.policy is not None for predicting in _predicting(plan, store, label))


def show_prompt(plan: Plan, store: Store, case_id: str, label: str | None) -> str:
    """Return the exact text that a method's policy reads about a case, chat template included.

    Stages that the prompt is made from are computed if the store lacks them; the policy itself is not prepared. What
    the text is, and its tokens, go to stderr.

    Args:
        plan: The benchmark's plan.
        store: Holds its stages.
        case_id: The case.
        label: The method; None for the first that reads text.

    Raises:
        UserError: There is no such case or method, or the method asks the policy nothing about a case.
    """
    chosen = _chosen_method(plan, store, label)
    folds = _predicting(plan, store, chosen)
    split = folds[0].cases.split
    compute(plan, store, [split])
    predicting, part = _of_case(folds, store, case_id)
    compute(plan, store, predicting.before_the_policy())
    whole = read_cases(store.folder(split.upstream()[0]))
    if predicting.cases.concepts is not None:
        whole = SharedConcepts.read(store.folder(predicting.cases.concepts)).restrict(whole)
    case: Case = whole[whole.case_ids.index(case_id)]
    text = predicting.prompt(case, whole, {})
    if text is None:
        raise UserError(f"the method '{chosen}' asks the policy nothing about a case", where="eagbench prompt")
    counter = predicting.counter()
    tokens = "its tokens are not known here" if counter is None else f"{counter.prompt_tokens([text])[0]:,} tokens"
    template = counter.as_input(text) if counter is not None and hasattr(counter, "as_input") else text
    _say(f"method {chosen}, case {case_id} ({part}): {tokens}")
    if plan.access == "credentialed":
        _say("this is the record of a patient, from credentialed data: it must not leave this machine")
    return template


def _chosen_method(plan: Plan, store: Store, label: str | None) -> str:
    labels = [method.label for method in plan.methods if _asks_policy(plan, store, method.label)]
    if label is None:
        if not labels:
            raise UserError("no method of this benchmark asks a policy", where="eagbench prompt")
        return labels[0]
    if label in labels:
        return label
    reads = {method.label: method.reads for method in plan.methods}
    if label in reads:
        why = "reads columns" if reads[label] == "columns" else "asks no policy"
        what = f"the method '{label}' {why}, so there is no prompt"
    else:
        what = f"the benchmark has no method '{label}'"
    raise UserError(what, where="--method", hint=choices(label, labels))


def _of_case(folds: list[_Predicting], store: Store, case_id: str) -> tuple[_Predicting, str]:
    """Return the fold in which a case is held out, else the first, and the part in which the case is there."""
    rows = read_assignment(store.folder(folds[0].cases.split)).to_pylist()
    of_case = {row["fold"]: row["part"] for row in rows if row["case_id"] == case_id}
    if not of_case:
        ids = sorted({row["case_id"] for row in rows})
        hint = nearest(case_id, ids) or f"there are {len(ids)} cases, for example '{ids[0]}'"
        raise UserError(f"the benchmark has no case '{case_id}'", where="eagbench prompt", hint=hint)
    chosen = next((fold for fold in folds if of_case.get(fold.cases.fold) == "held_out"), folds[0])
    return chosen, of_case[chosen.cases.fold]


def prompt_lengths(plan: Plan, store: Store) -> list[str]:
    """Say, for each method that asks a policy, the median and the longest prompt of training cases, in tokens.

    Nothing is computed for it but the texts of up to 60 cases.
    """
    lines = []
    for method in plan.methods:
        if _asks_policy(plan, store, method.label):
            folds = _predicting(plan, store, method.label)
            lines.append(f"prompts of {method.label}: {_length(folds[0])}")
    return lines


def _length(predicting: _Predicting) -> str:
    store = predicting.store
    before = predicting.before_the_policy()
    texts = [node for node in before if node.kind == "record_text"]
    if not all(store.is_complete(node) for node in closure([predicting.cases.split])) or not texts:
        return "their length is known once the cohort is in the store"
    if not all(store.is_complete(node) for node in before if node.kind != "record_text"):
        return "their length is known once what they are made from is in the store"
    counter = predicting.counter()
    if counter is None:
        return "their tokens are not known before the policy is"
    with tempfile.TemporaryDirectory() as folder:
        places = {}
        if not store.is_complete(texts[0]):
            inputs = resolve(texts[0], store.folder)
            fit(StageRun(dict(texts[0].params), inputs, 0, Path(folder)))
            places[texts[0].fingerprint] = Path(folder)
        cases: Cases = resolve(texts[0], store.folder)["cases"]
        some = cases.items[:: max(1, len(cases) // _COUNTED)][:_COUNTED]
        try:
            asked = [predicting.prompt(case, cases, places) for case in some]
        except UserError as error:
            return error.what
    lengths = counter.prompt_tokens([text for text in asked if text is not None])
    if not lengths:
        return "none; the policy is asked nothing about a case"
    reads = "" if counter.positions is None else f"; the policy reads {counter.positions:,}"
    counted = f"on {len(lengths)} of {len(cases)} training cases"
    return f"{median(lengths):,.0f} tokens (median), {max(lengths):,} (longest), {counted}{reads}"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
