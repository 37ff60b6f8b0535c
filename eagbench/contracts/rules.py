"""The contracts of components as checks, which the conformance tests and the runner share.

Each check says which argument or result of which call is wrong. The runner adds the component's owner, fails every
stage that uses the component, and keeps the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.answers import Prediction, Trajectory
from eagbench.contracts.cohort_stream import CaseBlock
from eagbench.contracts.components import SearchResult, SearchTask
from eagbench.contracts.language_models import Generation, Sampling
from eagbench.contracts.records import Case, Cases, Cohort, FloatArray

_TOLERANCE = 1e-4  # of weights that sum to 1
_LARGEST_REWARD = float(np.finfo(np.float32).max)  # training computes in single precision
_LONGEST_TEXT = 300  # characters of a policy's text within an error
# Pickles, and what may hold one: torch.save, joblib, arrays of objects.
_FORBIDDEN_FILES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz", ".ckpt"}


class ContractError(Exception):
    """A component broke its contract: a bug of its plugin.

    Attributes:
        call: The call that broke it, for example `run`.
        argument: The argument whose rule it broke, or `result`.
        problem: What is wrong.
        owner: The component and its plugin; empty until they are known.
    """

    def __init__(self, call: str, argument: str, problem: str, owner: str = "") -> None:
        self.call, self.argument, self.problem, self.owner = call, argument, problem, owner
        whose = f"{owner} breaks its contract in " if owner else ""
        super().__init__(f"{whose}{call}, {argument}: {problem}")

    def of(self, owner: str) -> ContractError:
        """Return the same error with the component's owner."""
        return ContractError(self.call, self.argument, self.problem, owner)


def _require(condition: object, call: str, argument: str, problem: str) -> None:
    if not condition:
        raise ContractError(call, argument, problem)


def _require_all(found: Any, kind: type, call: str) -> None:
    """Require a sequence of objects of a kind."""
    _require(isinstance(found, Sequence), call, "result", f"a sequence of {kind.__name__}, not {type(found).__name__}")
    others = sorted({type(item).__name__ for item in found if not isinstance(item, kind)})
    _require(not others, call, "result", f"a sequence of {kind.__name__}, but it holds {', '.join(others)}")


def _require_numbers(array: Any, call: str) -> None:
    kind = np.asarray(array).dtype
    _require(np.issubdtype(kind, np.number), call, "result", f"numbers, not an array of {kind}")


# Files


def check_files(folder: Path, call: str = "save") -> None:
    """Refuse pickles, recognised by name or first bytes, files that may hold one, links, and eagbench's own manifest.

    Args:
        folder: What a stage or a component wrote; its `checkpoints` are work in progress and are removed in the end.
        call: The call that wrote it.

    Raises:
        ContractError: The folder holds such a file, or is gone.
    """
    _require(folder.is_dir() and not folder.is_symlink(), call, "folder", "the folder that it was given is gone")
    files, others = _found_below(folder)
    _require(
        not others, call, "folder", f"a stage leaves files of its own, no links, but {_listed(folder, others)} is one"
    )
    found = [p for p in files if p.suffix.lower() in _FORBIDDEN_FILES or _pickled(p)]
    _require(
        not found,
        call,
        "folder",
        f"a stage leaves no pickle and no file that may hold one, but {_listed(folder, found)} (arrays: `save_arrays`)",
    )
    own = folder / "manifest.json"
    _require(not os.path.lexists(own), call, "folder", "manifest.json is eagbench's own file; take another name")


def _found_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the files below a folder, and what is neither a file nor a folder of its own; not the checkpoints."""
    files, others, waiting = [], [], [str(folder)]
    while waiting:
        place = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                if place == str(folder) and entry.name == "checkpoints":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(Path(entry.path))
                else:
                    others.append(Path(entry.path))
    return sorted(files), sorted(others)


def _listed(folder: Path, files: Sequence[Path]) -> str:
    return ", ".join(path.relative_to(folder).as_posix() for path in files)


def _pickled(path: Path) -> bool:
    with path.open("rb") as stream:
        start = stream.read(3)
    # A safetensors file may begin with the same two bytes, the length of its header. Zeros follow; 0 is no opcode.
    return len(start) > 1 and start[:1] == b"\x80" and start[1:2] <= b"\x05" and start[2:] != b"\0"


# Data sets and perturbations


def check_cohort(cohort: Cohort) -> None:
    """Check labels, ids, times and features of a cohort.

    Raises:
        ContractError: Something does not fit.
    """
    _require(isinstance(cohort, Cohort), "load", "result", f"a Cohort, not {type(cohort).__name__}")
    cases = cohort.cases
    _require(len(set(cases.case_ids)) == len(cases), "load", "result.cases", "case ids occur more than once")
    whole = CaseBlock(tuple(cases), cohort.labels, cohort.groups, cohort.reference_probabilities)
    check_block(whole, frozenset(cases.feature_names), cases.task.window_hours)


def check_block(block: CaseBlock, names: frozenset[str], window_hours: float) -> None:
    """Check labels, times and features of some cases of a cohort.

    Args:
        block: The cases and what belongs to them.
        names: The cohort's features.
        window_hours: The window of its task.

    Raises:
        ContractError: Something does not fit.
    """
    call, cases = "load", block.items
    _require(len(block.labels) == len(cases), call, "result.labels", f"{len(block.labels)} for {len(cases)} cases")
    _require(set(np.unique(block.labels)) <= {0, 1}, call, "result.labels", "a label is 0 or 1")
    for case in cases:
        _require(set(case.features) == names, call, "result.cases", f"case {case.case_id} has other features")
        shape = (len(case.times), len(case.features))
        found = case.values.shape
        _require(found == shape, call, "result.cases", f"case {case.case_id} has values of shape {found}, not {shape}")
        _require((np.diff(case.times) > 0).all(), call, "result.cases", f"times of case {case.case_id} do not rise")
        late = len(case.times) and case.times[-1] > window_hours
        _require(not late, call, "result.cases", f"case {case.case_id} has times after the window of the task")
    beside: dict[str, Sequence[Any] | FloatArray] = {**block.groups, **block.reference_probabilities}
    for name, values in beside.items():
        _require(len(values) == len(cases), call, f"result['{name}']", f"{len(values)} values for {len(cases)} cases")


def check_perturbed(before: Case, after: Any, severity: float) -> None:
    """Check that a perturbed case has the same patient and as many features.

    Raises:
        ContractError: It is not.
    """
    call, argument = "apply", f"severity={severity:g}"
    _require(isinstance(after, Case), call, "result", f"a Case, not {type(after).__name__}")
    same = (after.case_id, after.patient_id) == (before.case_id, before.patient_id)
    _require(same, call, argument, f"case {before.case_id} became {after.case_id} of patient {after.patient_id}")
    shape = (len(after.times), len(after.features))
    _require(after.values.shape == shape, call, argument, f"case {after.case_id} has values {after.values.shape}")


# Experts


def check_probability(probability: FloatArray, n_cases: int) -> None:
    """Check an expert's probabilities, shape (N,).

    Raises:
        ContractError: The shape is wrong, or a value is outside of [0, 1].
    """
    shape = np.shape(probability)
    _require(shape == (n_cases,), "predict", "result", f"shape {shape} for {n_cases} cases")
    _require_numbers(probability, "predict")
    inside = (np.asarray(probability) >= 0) & (np.asarray(probability) <= 1)
    _require(inside.all(), "predict", "result", "a probability is outside of 0 to 1, or undefined")


def check_salience(salience: FloatArray, n_cases: int, n_features: int) -> None:
    """Check an expert's weights, shape (N, F).

    Raises:
        ContractError: The shape is wrong, a weight is negative or undefined, or a sum is not 1.
    """
    shape = np.shape(salience)
    _require(shape == (n_cases, n_features), "salience", "result", f"shape {shape}, not {(n_cases, n_features)}")
    _require_numbers(salience, "salience")
    right = np.isfinite(salience).all() and (np.asarray(salience) >= 0).all()
    _require(right, "salience", "result", "a weight is negative or undefined")
    sums = np.asarray(salience).sum(axis=1)
    _require(np.allclose(sums, 1, atol=_TOLERANCE), "salience", "result", "the weights of a case do not sum to 1")


# Policies, searches and rewards


def check_generations(prompts: Sequence[str], sampling: Sampling, generations: Sequence[Generation]) -> None:
    """Check that a model wrote one text per prompt, within the token limit.

    Raises:
        ContractError: It did not.
    """
    _require_all(generations, Generation, "generate")
    n = len(generations)
    _require(n == len(prompts), "generate", "prompts", f"{n} texts for {len(prompts)} prompts")
    longest = max((generation.tokens for generation in generations), default=0)
    bound = f"sampling.max_new_tokens={sampling.max_new_tokens}"
    _require(longest <= sampling.max_new_tokens, "generate", bound, f"{longest} tokens were written")


def check_reward(parts: Any, trajectory: Trajectory | None = None) -> None:
    """Check that a reward returned finite numbers by name, with a `total` among them.

    Args:
        parts: What the reward returned.
        trajectory: What it judged; the error then names the case and shows the text.

    Raises:
        ContractError: It returned something else.
    """
    _require(isinstance(parts, Mapping), "__call__", "result", f"a mapping, not {type(parts).__name__}")
    _require("total" in parts, "__call__", "result", f"it has no total, only {', '.join(map(str, parts))}")
    wrong = [f"{name} = {value!r}" for name, value in parts.items() if not _is_reward(value)]
    judged = "" if trajectory is None else f", for case {trajectory.case_id}, text {_shortened(trajectory.text)!r}"
    _require(not wrong, "__call__", "result", f"{', '.join(wrong)} is not a finite number{judged}")


def check_unparsed_reward(unparsed: float, parsed: float) -> None:
    """Check that an unparsed answer gets less reward than a parsed one for the same case.

    Args:
        unparsed: The highest total of an answer that could not be read.
        parsed: The lowest total of an answer that could be read.

    Raises:
        ContractError: The unparsed answer gets as much or more.
    """
    problem = f"an answer that could not be read gets {unparsed:g}, one that could {parsed:g}"
    _require(unparsed < parsed, "__call__", "trajectory", problem)


def check_results(tasks: Sequence[SearchTask], results: Sequence[SearchResult], token_budget: int) -> None:
    """Check that a search returned one result per case, trajectories best first, within the budget.

    Raises:
        ContractError: One of these does not hold.
    """
    call = "run"
    _require_all(results, SearchResult, call)
    asked, found = [task.case.case_id for task in tasks], [result.case_id for result in results]
    _require(found == asked, call, "tasks", f"{len(found)} results, not one per case in the order of the tasks")
    for task, result in zip(tasks, results, strict=True):
        where = f"case {result.case_id}"
        n_rewards = len(result.rewards)
        _require(len(result.trajectories) == n_rewards, call, "result", f"{where} has {n_rewards} rewards")
        others = {trajectory.case_id for trajectory in result.trajectories} - {result.case_id}
        _require(not others, call, "result", f"{where} has trajectories of {', '.join(sorted(others))}")
        for parts in result.rewards:
            check_reward(parts)
        totals = [parts["total"] for parts in result.rewards]
        given = [task.reward(trajectory)["total"] for trajectory in result.trajectories]
        _require(totals == given, call, "result", f"{where} has rewards that its trajectories do not get")
        _require(totals == sorted(totals, reverse=True), call, "result", f"{where} does not list its best answer first")
        spent = result.generated_tokens
        _require(spent <= token_budget, call, f"token_budget={token_budget}", f"{where} spent {spent} tokens")


def check_spent(results: Iterable[SearchResult], written: int) -> None:
    """Check that a search counts every token that the model wrote for it.

    Raises:
        ContractError: It counts more or fewer.
    """
    counted = sum(result.generated_tokens for result in results)
    _require(counted == written, "run", "result", f"{counted} tokens are counted, and {written} were written")


# Methods and metrics


def check_predictions(cases: Cases, predictions: Sequence[Prediction]) -> None:
    """Check that every case has one prediction, in order, with valid probabilities and finite extras.

    Raises:
        ContractError: One of these does not hold.
    """
    _require_all(predictions, Prediction, "predict")
    call, n = "predict", len(predictions)
    in_order = [prediction.case_id for prediction in predictions] == list(cases.case_ids)
    _require(in_order, call, "cases", f"{len(cases)} were asked about, and the {n} predictions are not theirs in order")
    for p in predictions:
        for value in (p.probability, p.prior_corrected):
            _require(
                value is None or 0 <= value <= 1, call, "result", f"case {p.case_id}: {value} is not a probability"
            )
        corrected = p.probability is None and p.prior_corrected is not None
        _require(not corrected, call, "result", f"case {p.case_id}: an unparsed answer was corrected")
        wrong = [name for name, value in p.extras.items() if not _is_number(value)]
        _require(not wrong, call, "result", f"case {p.case_id}: {', '.join(wrong)} is not a finite number")


def check_metric(values: Any, n_rows: int) -> None:
    """Check that a metric gave one number per row of weights.

    Raises:
        ContractError: It gave something else.
    """
    array = np.asarray(values)
    _require(array.shape == (n_rows,), "__call__", "weights", f"{n_rows} rows gave values of shape {array.shape}")
    is_float = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
    _require(is_float, "__call__", "result", f"values are {array.dtype}")
    _require(not np.isinf(array).any(), "__call__", "result", "a value is infinite")


def _is_reward(value: Any) -> bool:
    return _is_number(value) and abs(float(value)) <= _LARGEST_REWARD


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
