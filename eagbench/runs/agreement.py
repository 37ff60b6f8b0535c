"""Check that two runs differ in their methods only, and refuse to compare them, with the reason, if they don't.

They must agree in the cases with their labels and patients, in the records and what a condition makes of them, and, for
the alignment metrics, in the expert's lists that answers are compared with. Every `check_*` raises `UserError` for
what differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from eagbench.analysis.metric_uses import MetricUse
from eagbench.errors import UserError
from eagbench.runs.compared_run import Answers, ComparedRun
from eagbench.runs.predictions import Place, Seeds

_ROUNDED = 1e-4  # tolerance for weights that sum to 1


def check_settings(first: ComparedRun, second: ComparedRun) -> None:
    """Check that the interval settings are equal, so that both runs' numbers use the same resamples."""
    drawn = ("resamples", "level", "seed")
    mine, theirs = ({key: run.manifest["intervals"][key] for key in drawn} for run in (first, second))
    if mine != theirs:
        raise UserError(
            f"the intervals differ: {_settings(mine)} here, {_settings(theirs)} there; no resample is shared",
            where=f"{first.folder}, {second.folder}",
            hint="run one of them again with the other's `intervals`; the store keeps what was trained",
        )


def shared_metrics(first: ComparedRun, second: ComparedRun) -> list[MetricUse]:
    """List the metrics that both runs have.

    Raises:
        UserError: The two runs give a metric different parameters.
    """
    theirs = {use.name: use for use in second.metrics}
    shared = [use for use in first.metrics if use.name in theirs]
    for use in shared:
        if use.params != theirs[use.name].params:
            raise UserError(
                f"the metric '{use.name}' has other parameters in the two runs: "
                f"{_settings(use.params)} here, {_settings(theirs[use.name].params)} there",
                where=f"{first.folder}, {second.folder}",
            )
    return shared


def check_places(labels: tuple[str, str], answers: Sequence[Answers]) -> None:
    """Refuse different tasks, domains or conditions."""
    for what, of, hint in (
        ("tasks and domains", 0, "compare runs on the same data"),
        ("conditions", 1, "name the shared ones: --condition clean"),
    ):
        mine, theirs = ({place[of] for place in side} for side in answers)
        if mine != theirs:
            words = [
                f"{len(only)} {where} ({'; '.join(sorted(map(_named, only))[:3])})"
                for only, where in _alone(mine, theirs)
            ]
            raise UserError(f"the {what} differ: {', '.join(words)}", where=methods_words(labels), hint=hint)
    if set(answers[0]) != set(answers[1]):
        raise UserError("the conditions differ between domains", where=methods_words(labels), hint="--condition clean")


def check_records(runs: tuple[ComparedRun, ComparedRun], labels: tuple[str, str], answers: Answers) -> None:
    """Refuse cases with different records, and conditions of the same name that change the records differently."""
    is_perturbed = any(run.perturbation(condition) for run in runs for _, condition in answers)
    for domain in dict.fromkeys(setting[2] for setting, _ in answers):
        mine, theirs = (run.data(domain) for run in runs)
        hours = [data.get("task", {}).get("window_hours") for data in (mine, theirs)]
        if hours[0] != hours[1]:
            raise UserError(
                f"the cases of {domain} show {hours[0]:g} hours in the first run and {hours[1]:g} in the second",
                where=methods_words(labels),
                hint="compare runs with the same `window_hours`",
            )
        if mine.get("content") != theirs.get("content"):
            raise UserError(
                f"the cases of {domain} were read from files of another content in the two runs",
                where=methods_words(labels),
                hint="run one of them again on the other's data files",
            )
        if is_perturbed:
            _check_draws(domain, runs, labels)
    for condition in dict.fromkeys(condition for _, condition in answers):
        mine, theirs = ({**(run.perturbation(condition) or {})} for run in runs)
        other = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        if other:
            here, there = ({key: side.get(key) for key in other} for side in (mine, theirs))
            raise UserError(
                f"the condition {_named(condition)} is not the same change of the records: {_settings(here)} here, "
                f"{_settings(there)} there",
                where=methods_words(labels),
                hint="name the conditions that are: --condition clean",
            )


def _check_draws(domain: str, runs: tuple[ComparedRun, ComparedRun], labels: tuple[str, str]) -> None:
    """Refuse records with different features, which perturbations draw among, or fitted on different training cases."""
    mine, theirs = ([f["name"] for f in run.data(domain).get("features", [])] for run in runs)
    hint = "compare the records as they are: --condition clean"
    if mine != theirs:
        words = [f"{', '.join(only)} {where}" for only, where in _alone(mine, theirs)]
        raise UserError(
            f"the records of {domain} hold other features, so that a condition changes them otherwise: "
            f"{'; '.join(words) or 'the same in another order'}",
            where=methods_words(labels),
            hint=hint,
        )
    if runs[0].fitted_on(domain) != runs[1].fitted_on(domain):
        raise UserError(
            f"the conditions of {domain} are fitted on other training cases in the two runs",
            where=methods_words(labels),
            hint=hint,
        )


def check_cases(labels: tuple[str, str], place: Place, mine: Seeds, theirs: Seeds) -> None:
    """Refuse different cases, or the same cases with different patients or labels, and say how many differ."""
    sides = [{row["case_id"]: row for row in next(iter(seeds.values()))} for seeds in (mine, theirs)]
    where = f"{methods_words(labels)}, {_named(place[1])}"
    only = [set(sides[i]) - set(sides[1 - i]) for i in (0, 1)]
    if any(only):
        raise UserError(
            f"the cases differ: {len(set(sides[0]) & set(sides[1]))} are in both runs, {len(only[0])} in the first "
            f"alone, {len(only[1])} in the second alone",
            where=where,
            hint="compare runs of the same data, split and --limit",
        )
    for column, what in (("label", "label"), ("patient_id", "patient")):
        other = [case_id for case_id in sides[0] if sides[0][case_id][column] != sides[1][case_id][column]]
        if other:
            raise UserError(
                f"{len(other)} of {len(sides[0])} cases have another {what} in the two runs",
                where=where,
                hint="compare runs of the same task on the same data",
            )


def is_same_yardstick(mine: Seeds, theirs: Seeds) -> bool:
    """Say whether both runs compare answers with the same lists, and the same weights where both measured attention.

    The reference expert is trained with a run's seeds, so different seeds may give a different yardstick or the same.
    """
    sides = list(mine.values()), list(theirs.values())
    return all(any(_equal(one, other) for other in sides[1 - i]) for i in (0, 1) for one in sides[i])


def _equal(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> bool:
    for one, other in zip(mine, theirs, strict=True):
        if any(one[column] != other[column] for column in ("teacher_features", "constant_features")):
            return False
        if one["teacher_salience"] is None or other["teacher_salience"] is None:
            continue
        weights, others = dict(one["teacher_salience"]), dict(other["teacher_salience"])
        # A different processor may change a weight's last digits.
        if weights.keys() != others.keys() or any(abs(weights[name] - others[name]) > _ROUNDED for name in weights):
            return False
    return True


def methods_words(labels: tuple[str, str]) -> str:
    """Name the compared methods, once if both have the same label."""
    return labels[0] if labels[0] == labels[1] else f"{labels[0]} and {labels[1]}"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _named(parts: Any) -> str:
    return " ".join(str(part) for part in parts if part is not None)


def _alone[Item](mine: Collection[Item], theirs: Collection[Item]) -> Iterator[tuple[list[Item], str]]:
    """Yield the items that only one side has, with words for which side it is; skip a side that has none."""
    for first, second, where in ((mine, theirs, "in the first run alone"), (theirs, mine, "in the second alone")):
        only = [item for item in first if item not in second]
        if only:
            yield only, where
