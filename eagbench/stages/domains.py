"""Stages of a benchmark across domains: a domain's part of a split, what domains share, and how they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.records import Cases, FloatArray
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages import unit_mismatch
from eagbench.stages.cohort_files import read_cases, read_facts, read_group, read_labels
from eagbench.stages.given_split import read_notes, write_notes
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import OneClass, read_assignment, write_assignment

SHIFT_FILE = "covariate_shift.json"
_SHIFT_FOLDS = 5
_SHIFT_INVERSE_PENALTY = 0.1


def select(run: StageRun) -> None:
    """Select the cases of a split that belong to one domain, and write them in the format of the stage `split`.

    Patients were split over the whole data set before, so a held-out patient is held out in every domain.

    Raises:
        UserError: No case has the fact, or a part of the domain would have only one class.
    """
    fact, values = run.params["fact"], frozenset(run.params["values"])
    cohort: Path = run.inputs["cohort"]
    mine = {case_id for case_id, value in read_group(cohort, fact).items() if value in values}
    labels = read_labels(cohort)
    rows = [
        (row["fold"], row["part"], row["case_id"], row["patient_id"])
        for row in read_assignment(run.inputs["split"]).to_pylist()
        if row["case_id"] in mine
    ]
    name = run.params["domain"]
    write_assignment(
        run.out,
        rows,
        labels,
        run.params["folds"] or 1,
        OneClass(
            lambda _: f"part of the domain '{name}'",
            "domain_by",
            "take more patients (--limit), other shares or fewer folds, or leave the domain out of `transfer`",
        ),
    )
    if notes := read_notes(run.inputs["split"]):
        write_notes(run.out, notes)


def share(run: StageRun) -> None:
    """Write what the records of all domains have in common.

    Raises:
        UserError: The domains share no concept, measure one in different units or seem to (`unit_mismatch`), or ask
            different questions.
    """
    names: list[str] = run.params["domains"]
    facts = [read_facts(run.inputs[f"cohort{i}"]) for i in range(len(names))]
    _check_tasks(names, facts, run.params["outcomes"])
    shared = SharedConcepts.of(facts, run.params["without"])
    if not shared.features:
        listed = "; ".join(
            f"{name}: {', '.join(f['name'] for f in domain['features'])}"
            for name, domain in zip(names, facts, strict=True)
        )
        raise UserError(
            f"the domains share no concept ({listed})",
            where="transfer",
            hint="name the features of both data sets after the concepts of the vocabulary (docs/vocabulary.md)",
        )
    cohorts = [read_cases(run.inputs[f"cohort{i}"]) for i in range(len(names))]
    # What two domains share need not be in all of them: methods that read text may be shown it nevertheless.
    for i, j in combinations(range(len(names)), 2):
        pair = (names[i], names[j])
        _check_units(pair, (facts[i], facts[j]))
        common = [name for name in cohorts[i].feature_names if name in cohorts[j].feature_names]
        looked_at = tuple(name for name in common if name not in run.params["units_confirmed"])
        unit_mismatch.check(pair, (cohorts[i], cohorts[j]), looked_at)
    shared.write(run.out)


def _check_tasks(names: list[str], facts: Sequence[Mapping[str, Any]], outcomes: str) -> None:
    for name, domain in zip(names[1:], facts[1:], strict=True):
        first, other = facts[0]["task"], domain["task"]
        if first["window_hours"] != other["window_hours"]:
            raise UserError(
                f"the domains '{names[0]}' and '{name}' show different hours: the first {first['window_hours']:g} and "
                f"the first {other['window_hours']:g}",
                where="domains",
                hint="give every domain the same `window_hours`",
            )
        if outcomes == "same" and first["name"] != other["name"]:
            raise UserError(
                f"the domains '{names[0]}' and '{name}' ask different questions: {first['name']} and {other['name']}",
                where="domains",
                hint="give every domain the same `task`, or write `transfer: {outcomes: may_differ}`",
            )


def _check_units(names: tuple[str, str], facts: tuple[Mapping[str, Any], Mapping[str, Any]]) -> None:
    expected, found = ({feature["name"]: feature["unit"] for feature in domain["features"]} for domain in facts)
    for concept, unit in expected.items():
        if found.get(concept, unit) != unit:
            raise UserError(
                f"{concept} is in {found[concept]} in the domain '{names[1]}', expected {unit} as in the domain "
                f"'{names[0]}'",
                where="domains",
                hint="convert on load, with `vocabulary().to_canonical` (docs/vocabulary.md)",
            )


def covariate_shift(run: StageRun) -> None:
    """Measure how well a classifier tells two domains apart.

    It gets the unlabelled training records of both, restricted to the shared concepts and static facts.

    The measure is the cross-validated AUROC of a logistic regression. Its inputs are the standardised mean, lowest,
    highest and last value and number of values of each concept, and the static facts. All cases of a patient are in the
    same part of the cross-validation. At 0.5 no shift is found; at 1 every record gives its domain away.

    The AUROC is computed once with the numbers of values and once without (the mean replaces missing values), because
    how often something is measured is a habit of a hospital. It captures linear differences only, so it is a lower
    bound of the shift.
    """
    first, second = run.inputs["first"], run.inputs["second"]
    domain = np.repeat([0, 1], [len(first), len(second)])
    # Of one data set the same id is the same patient, who may have stays in both domains; of two it is a coincidence.
    sides = ("", "") if run.params["one_data_set"] else ("first:", "second:")
    patients = [side + p for side, cases in zip(sides, (first, second), strict=True) for p in cases.patient_ids]
    values = np.concatenate([_value_summary(first), _value_summary(second)])
    counts = np.concatenate([_counts(first), _counts(second)])
    result = {
        "n": [len(first), len(second)],
        "auroc": _domain_auroc(np.concatenate([values, counts], axis=1), domain, patients, run.seed),
        "auroc_values": _domain_auroc(values, domain, patients, run.seed),
    }
    (run.out / SHIFT_FILE).write_text(json.dumps(result, indent=1))


def read_shift(folder: Path) -> Mapping[str, Any]:
    """Read what `covariate_shift` wrote."""
    content: Mapping[str, Any] = json.loads((folder / SHIFT_FILE).read_text())
    return content


def _value_summary(cases: Cases) -> FloatArray:
    """Compute the mean, lowest, highest and last value of each concept, and append the static facts.

    Shape (N, 4 F + S); NaN without a value.
    """
    rows = []
    for case in cases:
        values = case.values_in_order(cases.feature_names).astype(np.float64)  # (T, F)
        summary = np.full((4, values.shape[1]), np.nan)
        for j, column in enumerate(values.T):
            known = column[~np.isnan(column)]
            if len(known):
                summary[:, j] = known.mean(), known.min(), known.max(), known[-1]
        rows.append(np.concatenate([summary.ravel(), [case.static.get(name, np.nan) for name in cases.static_names]]))
    return np.array(rows)


def _counts(cases: Cases) -> FloatArray:
    """Count the values of each concept, as log(1 + n). Shape (N, F)."""
    names = cases.feature_names
    return np.log1p([(~np.isnan(case.values_in_order(names))).sum(axis=0) for case in cases])


def _domain_auroc(table: FloatArray, domain: Any, patients: list[str], seed: int) -> float:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    score = np.zeros(len(domain))
    folds = min(_SHIFT_FOLDS, *np.bincount(domain).tolist())
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for rest, asked in splitter.split(table, domain, groups=patients):
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(C=_SHIFT_INVERSE_PENALTY, class_weight="balanced", max_iter=5000),
        )
        score[asked] = model.fit(table[rest], domain[rest]).decision_function(table[asked])
    return float(roc_auc_score(domain, score))
