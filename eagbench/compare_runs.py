"""`eagbench compare`: paired differences between two runs on the same cases, from their run folders alone.

Nothing is read from a store: both runs' metrics are computed again from predictions/*.parquet, on resamples of the
patients that both share. Runs whose cases, labels or conditions differ are refused, because a difference between them
would not be one between their methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from eagbench.comparisons import PRIMARY, ConditionKey, SeedMeans, correct_families, paired_rows, seed_means
from eagbench.config import Benchmark
from eagbench.errors import UserError
from eagbench.metrics.registered import check_tested, is_tested, needs_reference_expert
from eagbench.run_contract import read_manifest
from eagbench.stages.score import answered, evaluate

COLUMNS = (
    "task", "domain_train", "domain_eval", "family", "metric", "condition", "severity", "calibration", "first",
    "second", "difference", "ci_low", "ci_high", "relative_percent", "standard_error", "smallest_detectable", "p_value",
    "test", "p_corrected", "correction", "n_cases", "n_positive", "n_seeds_first", "n_seeds_second",
    "undefined_resamples", "delong_standard_error", "delong_p_value",
)  # fmt: skip
_SETTING = ("task", "domain_train", "domain_eval")
Setting = tuple[str, ...]  # task, domain_train, domain_eval
Place = tuple[Setting, ConditionKey]
_ROUNDED = 1e-4  # of weights that sum to 1


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A run folder as far as a comparison needs it.

    Attributes:
        folder: Where it lies.
        manifest: Its manifest.
        labels: Labels of the methods that left predictions, in the benchmark's order.
    """

    folder: Path
    manifest: Mapping[str, Any]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> _Run:
        manifest = read_manifest(folder)
        labels = tuple(m["label"] for m in manifest["methods"])
        return cls(folder, manifest, tuple(n for n in labels if (folder / "predictions" / f"{n}.parquet").is_file()))

    @property
    def reference(self) -> str:
        """What the alignment metrics compare with, for people."""
        benchmark = self.manifest.get("benchmark", {})
        number = benchmark.get("teacher_features", Benchmark.model_fields["teacher_features"].default)
        expert = benchmark.get("reference_expert")
        return f"{number} features of {expert['name'] if isinstance(expert, Mapping) else expert}"

    def perturbation(self, condition: ConditionKey) -> Any:
        """What determines the records under a condition; None for the records as they are."""
        found = [c for c in self.manifest["conditions"] if (c["name"], c["severity"]) == condition]
        return found[0].get("perturbation") if found else None

    def data(self, domain: str) -> Mapping[str, Any]:
        """What the manifest says of the evaluated cases' data set."""
        domains = self.manifest.get("transfer", {}).get("domains", [])
        data = next((d["data"] for d in domains if d["name"] == domain), domain)
        found: Mapping[str, Any] = self.manifest["data"].get(data, {})
        return found

    def fitted_on(self, domain: str) -> list[tuple[int, str]]:
        """The patients on whose records perturbations are fitted, by fold, as hashes."""
        parts = self.manifest.get("parts", [])
        return [(p["fold"], p["patients_sha256"]) for p in parts if (p["domain"], p["part"]) == (domain, "train")]

    def answers(self, label: str) -> dict[Place, dict[str, list[dict[str, Any]]]]:
        """A method's scored rows by place and seed."""
        found: dict[Place, dict[str, list[dict[str, Any]]]] = {}
        for row in pq.read_table(self.folder / "predictions" / f"{label}.parquet").to_pylist():
            place = tuple(row[key] for key in _SETTING), (row["condition"], row["severity"])
            found.setdefault(place, {}).setdefault(row["seed"], []).append(row)
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between two runs.

    Attributes:
        first: The run whose methods the differences are of.
        second: The run that they are taken from.
        metric: The metric of the primary family.
        level: Nominal coverage of the intervals.
        is_synthetic: Whether one of the runs is on generated records.
        left_out: Metrics of both runs that are not compared, because for one pair of methods at least they measure the
            distance to different lists of features.
        rows: One per difference, with the columns `COLUMNS`, the primary family first.
    """

    first: Path
    second: Path
    metric: str
    level: float
    is_synthetic: bool
    left_out: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def compare_runs(
    first: Path, second: Path, *, metric: str | None = None, pairs: Sequence[str] = (), conditions: Sequence[str] = ()
) -> Comparison:
    """Paired differences, first run less second.

    Args:
        first: A run folder.
        second: Another, on the same cases.
        metric: The metric of the primary family; that of the first run's own comparisons, or the first one that both
            have and that can be tested, if None.
        pairs: Which methods to compare, `first_label=second_label`; every label that both have, if empty.
        conditions: Names of the conditions to compare; all, if empty.

    Raises:
        UserError: A folder is no run folder; nothing can be paired; cases, labels, conditions or metrics differ; or
            the primary metric is left out or can't carry a test.
    """
    runs = _Run.read(first), _Run.read(second)
    _same_settings(*runs)
    metrics = _shared_metrics(*runs)
    chosen = _primary_metric(runs, metrics, metric)
    level = float(runs[0].manifest["intervals"]["level"])
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for labels in _pairs(runs, pairs):
        answers = [_only(run.answers(label), conditions) for run, label in zip(runs, labels, strict=True)]
        _same_places(labels, answers)
        _same_records(runs, labels, answers[0])
        for place, mine in answers[0].items():
            _same_cases(labels, place, mine, answers[1][place])
        aligned = [use["name"] for use in metrics if needs_reference_expert(use["name"])]
        if aligned and not all(_same_yardstick(mine, answers[1][place]) for place, mine in answers[0].items()):
            _refuse_left_out(runs, labels, chosen, aligned, answers)
            left_out = aligned
        for place, mine in answers[0].items():
            theirs = answers[1][place]
            ours, others = (_means(seeds, metrics, runs[0].manifest["intervals"]) for seeds in (mine, theirs))
            cases = next(iter(mine.values()))
            shared = {
                **dict(zip(_SETTING, place[0], strict=True)),
                "n_cases": len(cases),
                "n_positive": sum(row["label"] for row in cases),
                "n_seeds_first": len(mine),
                "n_seeds_second": len(theirs),
            }
            found = paired_rows(labels[0], labels[1], chosen, place[1], ours, others, level)
            rows.extend({**shared, **row} for row in found)
    rows = [row for row in rows if row["metric"] not in left_out]
    if not rows:
        raise UserError("no number is defined in both runs", where=f"{first}, {second}")
    rows.sort(key=lambda row: row["family"] != PRIMARY)
    correct_families(rows)
    ordered = tuple({column: renamed[column] for column in COLUMNS} for renamed in map(_renamed, rows))
    is_synthetic = any(run.manifest.get("synthetic") for run in runs)
    return Comparison(first, second, chosen, level, is_synthetic, tuple(left_out), ordered)


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(row)
    renamed["first"], renamed["second"] = renamed.pop("method"), renamed.pop("baseline")
    return renamed


def _same_settings(first: _Run, second: _Run) -> None:
    """What must be equal for numbers to be taken on joint resamples."""
    drawn = ("resamples", "level", "seed")
    mine, theirs = ({key: run.manifest["intervals"][key] for key in drawn} for run in (first, second))
    if mine != theirs:
        raise UserError(
            f"the intervals differ: {_settings(mine)} here, {_settings(theirs)} there; no resample is shared",
            where=f"{first.folder}, {second.folder}",
            mend="run one of them again with the other's `intervals`; the store keeps what was trained",
        )


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _shared_metrics(first: _Run, second: _Run) -> list[dict[str, Any]]:
    """The metrics that both runs have."""
    theirs = {use["name"]: use for use in second.manifest["metrics"]}
    shared = [use for use in first.manifest["metrics"] if use["name"] in theirs]
    for use in shared:
        if use["params"] != theirs[use["name"]]["params"]:
            raise UserError(
                f"the metric '{use['name']}' has other parameters in the two runs: "
                f"{_settings(use['params'])} here, {_settings(theirs[use['name']]['params'])} there",
                where=f"{first.folder}, {second.folder}",
            )
    return shared


def _primary_metric(runs: tuple[_Run, _Run], metrics: Sequence[Mapping[str, Any]], asked: str | None) -> str:
    names = [str(use["name"]) for use in metrics]
    # Whether alignment can be compared shows in the predictions only.
    testable = sorted((name for name in names if is_tested(name)), key=needs_reference_expert)
    where = f"{runs[0].folder}, {runs[1].folder}" if asked is None else "--metric"
    mend = (
        f"name another one: --metric {' or '.join(testable)}"
        if testable
        else "run one of them again with the other's `metrics`"
    )
    wanted = asked or (runs[0].manifest.get("comparisons") or {}).get("metric")
    if wanted is None:
        if not testable:
            raise UserError("the two runs share no metric whose difference can be tested", where=where, mend=mend)
        return testable[0]
    if wanted not in names:
        raise UserError(f"the metric '{wanted}' is not in both runs", where=where, mend=mend)
    check_tested(wanted, where, mend)
    return str(wanted)


def _refuse_left_out(
    runs: tuple[_Run, _Run], labels: tuple[str, str], metric: str, left_out: Sequence[str], answers: Sequence[Answers]
) -> None:
    if metric in left_out:
        seeds = [sorted({seed for of_place in side.values() for seed in of_place}) for side in answers]
        here, there = (f"{run.reference}, seeds {', '.join(s)}" for run, s in zip(runs, seeds, strict=True))
        raise UserError(
            f"'{metric}' compares with lists of features that differ between the runs: {here} here, {there} there",
            where=_where(labels),
            mend="name another metric (--metric), or run one of them again with the other's reference expert and seeds",
        )


Seeds = Mapping[str, Sequence[Mapping[str, Any]]]


def _same_yardstick(mine: Seeds, theirs: Seeds) -> bool:
    """Whether the answers of both runs are compared with the same lists, and weights where both measured attention.

    The reference expert is trained with a run's seeds, so that other seeds may be another yardstick, or the same.
    """
    sides = [[sorted(rows, key=lambda row: str(row["case_id"])) for rows in side.values()] for side in (mine, theirs)]
    return all(any(_equal(one, other) for other in sides[1 - i]) for i in (0, 1) for one in sides[i])


def _equal(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> bool:
    for one, other in zip(mine, theirs, strict=True):
        if any(one[column] != other[column] for column in ("teacher_features", "constant_features")):
            return False
        if one["teacher_salience"] is None or other["teacher_salience"] is None:
            continue
        weights, others = dict(one["teacher_salience"]), dict(other["teacher_salience"])
        # Another processor may change a weight's last digits.
        if weights.keys() != others.keys() or any(abs(weights[name] - others[name]) > _ROUNDED for name in weights):
            return False
    return True


def _pairs(runs: tuple[_Run, _Run], asked: Sequence[str]) -> list[tuple[str, str]]:
    """The methods to compare, as labels in the first and the second run."""
    if not asked:
        shared = [(label, label) for label in runs[0].labels if label in runs[1].labels]
        if not shared:
            raise UserError(
                "no method has the same label in both runs: "
                f"{', '.join(runs[0].labels)} here, {', '.join(runs[1].labels)} there",
                where=f"{runs[0].folder}, {runs[1].folder}",
                mend="name the pair: --pair FIRST=SECOND",
            )
        return shared
    found = []
    for text in asked:
        labels = tuple(text.split("="))
        if len(labels) != 2:
            raise UserError(f"{text!r} is not a pair", where="--pair", mend="write FIRST=SECOND, two methods' labels")
        for label, run in zip(labels, runs, strict=True):
            if label not in run.labels:
                raise UserError(
                    f"there are no predictions of a method '{label}'",
                    where=str(run.folder),
                    mend=f"choices: {', '.join(run.labels)}",
                )
        found.append((labels[0], labels[1]))
    return found


Answers = dict[Place, dict[str, list[dict[str, Any]]]]


def _only(answers: Answers, conditions: Sequence[str]) -> Answers:
    """Those under the named conditions, all if none is named."""
    missing = [name for name in conditions if name not in {key[0] for _, key in answers}]
    if missing:
        names = sorted({key[0] for _, key in answers})
        raise UserError(
            f"there are no predictions under {', '.join(missing)}",
            where="--condition",
            mend=f"choices: {', '.join(names)}",
        )
    return {place: seeds for place, seeds in answers.items() if not conditions or place[1][0] in conditions}


def _same_places(labels: tuple[str, str], answers: Sequence[Answers]) -> None:
    """Refuses other domains and other conditions."""
    for what, of, mend in (
        ("tasks and domains", 0, "compare runs on the same data"),
        ("conditions", 1, "name the shared ones: --condition clean"),
    ):
        mine, theirs = ({place[of] for place in side} for side in answers)
        if mine != theirs:
            words = [
                f"{len(only)} {where} ({'; '.join(sorted(map(_named, only))[:3])})"
                for only, where in ((mine - theirs, "in the first run alone"), (theirs - mine, "in the second alone"))
                if only
            ]
            raise UserError(f"the {what} differ: {', '.join(words)}", where=_where(labels), mend=mend)
    if set(answers[0]) != set(answers[1]):
        raise UserError("the conditions differ between domains", where=_where(labels), mend="--condition clean")


def _same_records(runs: tuple[_Run, _Run], labels: tuple[str, str], answers: Answers) -> None:
    """Refuses cases whose records are others, and those that meet another change under a condition of the same name."""
    is_perturbed = any(run.perturbation(condition) for run in runs for _, condition in answers)
    for domain in dict.fromkeys(setting[2] for setting, _ in answers):
        mine, theirs = (run.data(domain) for run in runs)
        hours = [data.get("task", {}).get("window_hours") for data in (mine, theirs)]
        if hours[0] != hours[1]:
            raise UserError(
                f"the cases of {domain} show {hours[0]:g} hours in the first run and {hours[1]:g} in the second",
                where=_where(labels),
                mend="compare runs with the same `window_hours`",
            )
        if mine.get("content") != theirs.get("content"):
            raise UserError(
                f"the cases of {domain} were read from files of another content in the two runs",
                where=_where(labels),
                mend="run one of them again on the other's data files",
            )
        if is_perturbed:
            _same_draws(domain, runs, labels)
    for condition in dict.fromkeys(condition for _, condition in answers):
        mine, theirs = ({**(run.perturbation(condition) or {})} for run in runs)
        other = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        if other:
            here, there = ({key: side.get(key) for key in other} for side in (mine, theirs))
            raise UserError(
                f"the condition {_named(condition)} is not the same change of the records: {_settings(here)} here, "
                f"{_settings(there)} there",
                where=_where(labels),
                mend="name the conditions that are: --condition clean",
            )


def _same_draws(domain: str, runs: tuple[_Run, _Run], labels: tuple[str, str]) -> None:
    """Refuses records of other features, among which a perturbation draws, and other cases on which it is fitted."""
    mine, theirs = ([f["name"] for f in run.data(domain).get("features", [])] for run in runs)
    mend = "compare the records as they are: --condition clean"
    if mine != theirs:
        words = [
            f"{', '.join(only)} {where}"
            for only, where in (
                ([name for name in mine if name not in theirs], "in the first run alone"),
                ([name for name in theirs if name not in mine], "in the second alone"),
            )
            if only
        ]
        raise UserError(
            f"the records of {domain} hold other features, so that a condition changes them otherwise: "
            f"{'; '.join(words) or 'the same in another order'}",
            where=_where(labels),
            mend=mend,
        )
    if runs[0].fitted_on(domain) != runs[1].fitted_on(domain):
        raise UserError(
            f"the conditions of {domain} are fitted on other training cases in the two runs",
            where=_where(labels),
            mend=mend,
        )


def _named(parts: Any) -> str:
    return " ".join(str(part) for part in parts if part is not None)


def _where(labels: tuple[str, str]) -> str:
    return labels[0] if labels[0] == labels[1] else f"{labels[0]} and {labels[1]}"


def _same_cases(
    labels: tuple[str, str], place: Place, mine: Mapping[str, Sequence[Any]], theirs: Mapping[str, Sequence[Any]]
) -> None:
    """Refuses other cases, other patients of them and other labels, and says how many there are."""
    sides = [{row["case_id"]: row for row in next(iter(seeds.values()))} for seeds in (mine, theirs)]
    where = f"{_where(labels)}, {_named(place[1])}"
    only = [set(sides[i]) - set(sides[1 - i]) for i in (0, 1)]
    if any(only):
        raise UserError(
            f"the cases differ: {len(set(sides[0]) & set(sides[1]))} are in both runs, {len(only[0])} in the first "
            f"alone, {len(only[1])} in the second alone",
            where=where,
            mend="compare runs of the same data, split and --limit",
        )
    for column, what in (("label", "label"), ("patient_id", "patient")):
        other = [case_id for case_id in sides[0] if sides[0][case_id][column] != sides[1][case_id][column]]
        if other:
            raise UserError(
                f"{len(other)} of {len(sides[0])} cases have another {what} in the two runs",
                where=where,
                mend="compare runs of the same task on the same data",
            )


def _means(
    seeds: Mapping[str, list[dict[str, Any]]], metrics: Sequence[Mapping[str, Any]], intervals: Mapping[str, Any]
) -> SeedMeans:
    ordered = [sorted(rows, key=lambda row: str(row["case_id"])) for rows in seeds.values()]
    found = [evaluate(rows, metrics, intervals) for rows in ordered]
    return seed_means([p for p, _ in found], [d for _, d in found], [answered(rows) for rows in ordered])
