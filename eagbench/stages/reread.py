"""Stage `reread`: asks a method again about held-out cases after series of their records were swapped or removed.

After ERASER (DeYoung et al., ACL 2020): an answer rests on what it cites if it moves when the cited features are
changed (comprehensiveness) and stays when all others are (sufficiency). The citations are those of the original answer,
and every record, the unchanged one too, is asked by expectation. Two departures: ERASER removes tokens, and we first of
all swap whole series with those of a training patient, because a record without a series is a record of another kind;
and metrics take the distance between probabilities, because a swap may raise a risk as well as lower it.

A feature counts as cited only if it was measured in the case: what was not can't be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.components import Expert
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.rereading import AGAIN, READINGS, Listed, Reading
from eagbench.contracts.rules import check_predictions, check_probability, check_salience
from eagbench.contracts.stages import StageRun, content_hash
from eagbench.stages.parquet_files import read_parquet
from eagbench.stages.salience import GlobalImportance, top_observed
from eagbench.stages.series_donors import SeriesDonors, remove

REREAD_FILE = "reread.parquet"
# The stage's own inputs; all others are those of the method's `predict`.
ANSWERS, DONORS, BASELINE = "reread.answers", "reread.donors", "reread.frequency_baseline"

# The features that each case's answer cites, by case id.
Citations = Mapping[str, Sequence[str]]
Ask = Callable[[Cases, str], Iterable[float | None]]


def by_method(run: StageRun) -> None:
    """Ask a method again, and write one probability per case and reading; none where nothing was cited at all."""
    cases: Cases = run.inputs["cases"]
    answers = read_parquet(run.inputs[ANSWERS] / "predictions.parquet", ["case_id", "cited_features"])
    cited = dict(zip(answers["case_id"].to_pylist(), answers["cited_features"].to_pylist(), strict=True))
    inputs = {name: value for name, value in run.inputs.items() if name not in (ANSWERS, DONORS, BASELINE)}

    def ask(changed: Cases, reading: str) -> list[float | None]:
        folder = run.checkpoints / reading
        folder.mkdir(exist_ok=True)
        predictions = run.component.predict(changed, replace(run, inputs={**inputs, "cases": changed}, out=folder))
        check_predictions(changed, predictions)
        return [prediction.probability for prediction in predictions]

    if all(names is None for names in cited.values()):
        _write(cases, dict.fromkeys(run.params["readings"], [None] * len(cases)), run.out)
    else:
        _reread(run, {case_id: names or () for case_id, names in cited.items()}, ask)


def by_expert(run: StageRun) -> None:
    """Ask an expert again; its citations are the features with its own highest weights in the case."""
    cases: Cases = run.inputs["cases"]
    expert: Expert = type(run.component).load(run.component_params, run.inputs["expert"])
    salience = expert.salience(cases)
    check_salience(salience, len(cases), len(cases.features))
    cited = dict(zip(cases.case_ids, top_observed(cases, salience, run.params["k"]), strict=True))

    def ask(changed: Cases, _: str) -> list[float]:
        probability = expert.predict(changed)
        check_probability(probability, len(changed))
        found: list[float] = probability.tolist()
        return found

    _reread(run, cited, ask)


def _reread(run: StageRun, cited: Citations, ask: Ask) -> None:
    cases: Cases = run.inputs["cases"]
    seed = run.params["record_seed"]
    changes = _Changes(
        SeriesDonors.drawn(run.inputs[DONORS], seed), GlobalImportance.read(run.inputs[BASELINE]), cited, seed
    )
    columns: dict[str, list[float | None]] = {}
    readings: Sequence[str] = run.params["readings"]
    for name in run.progress(readings, "reread", len(readings)):
        if name == AGAIN:
            # In another order: cases asked together share a batch, and its sums end in other last digits.
            backwards = cases.select(range(len(cases) - 1, -1, -1))
            columns[name] = [*ask(backwards, name)][::-1]
        elif name in READINGS:
            columns[name] = [*ask(changes.applied(cases, READINGS[name]), name)]
        else:
            columns[name] = [*ask(cases, name)]
    _write(cases, columns, run.out)


@dataclass(frozen=True, slots=True, eq=False)
class _Changes:
    """How records change.

    Attributes:
        donors: Whose series are taken.
        importance: What is like a cited feature, and what the frequency baseline names.
        cited: What answers cite.
        seed: Seed of the donors' order; with the case it is the same in every reading and for every method.
    """

    donors: SeriesDonors
    importance: GlobalImportance
    cited: Citations
    seed: int

    def applied(self, cases: Cases, reading: Reading) -> Cases:
        """Change every case as a reading asks."""

        def change(_: range, some: Sequence[Case]) -> list[Case]:
            return [self._changed(case, reading) for case in some]

        return cases.changed(change)

    def _changed(self, case: Case, reading: Reading) -> Case:
        measured = case.observed()
        listed = self._listed(case.case_id, measured, reading.listed)
        names = [name for name in measured if (name in listed) is not reading.all_but]
        if not names:
            return case
        if reading.change == "removed":
            return remove(case, names)
        return self.donors.swap(case, names, int(content_hash([self.seed, case.case_id])[:8], 16))

    def _listed(self, case_id: str, measured: Sequence[str], listed: Listed) -> frozenset[str]:
        cited = [name for name in dict.fromkeys(self.cited[case_id]) if name in measured]
        if listed == "cited":
            return frozenset(cited)
        if listed == "baseline":
            return frozenset(self.importance.refilled(measured, len(cited)))
        return matched_control(cited, measured, self.importance.mean)


def matched_control(cited: Sequence[str], measured: Sequence[str], importance: Mapping[str, float]) -> frozenset[str]:
    """Choose as many measured features that are not cited, of like importance.

    Each cited feature, the most important first, gets the nearest one that is left. There are fewer than cited if
    fewer are left.

    Args:
        cited: The cited features that were measured.
        measured: All features that were measured.
        importance: Mean weight of each feature over training cases; 0 for one that the expert does not read.
    """
    left = [name for name in measured if name not in cited]
    chosen: list[str] = []
    for name in sorted(cited, key=lambda name: -importance.get(name, 0.0)):
        if left:
            wanted = importance.get(name, 0.0)
            nearest = min(left, key=lambda other: abs(importance.get(other, 0.0) - wanted))
            left.remove(nearest)
            chosen.append(nearest)
    return frozenset(chosen)


def _write(cases: Cases, columns: Mapping[str, Sequence[float | None]], folder: Path) -> None:
    table: dict[str, Any] = {"case_id": pa.array(list(cases.case_ids), pa.string())}
    table |= {name: pa.array(values, pa.float64()) for name, values in columns.items()}
    pq.write_table(pa.table(table), folder / REREAD_FILE)
