"""Stages `reference_salience`, `frequency_baseline` and `salience`.

`reference_salience` gives the weight per feature of held-out cases, to compare with citations and attention.
`frequency_baseline` gives a list that ignores the case, as the baseline of that comparison. `salience` gives the
cross-fitted weights of training cases, which guide search and rewards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.components import Expert
from eagbench.contracts.records import Case, Cases, FloatArray, TrainingData
from eagbench.contracts.rules import check_probability, check_salience
from eagbench.contracts.stages import StageRun
from eagbench.stages.parquet_files import read_parquet

REFERENCE_FILE = "reference.parquet"
_BASELINE_FILE = "frequency_baseline.json"
_REFERENCE_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("features", pa.list_(pa.string())),
        ("salience", pa.map_(pa.string(), pa.float64())),
    ]
)


def cross_fitted(run: StageRun) -> None:
    """Write the salience of every training case by an expert that was not trained on its patient.

    The training patients are divided into `folds` parts. For each part, an expert is fitted on the others (the tuning
    part is used for early stopping, as always) and applied to it.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    data: TrainingData = run.inputs["training"]
    cases, labels = data.train.cases, data.train.labels
    splitter = StratifiedGroupKFold(run.params["folds"], shuffle=True, random_state=run.seed % 2**32)
    salience = np.zeros((len(cases), len(cases.features)))
    probability = np.zeros(len(cases))
    folds = list(splitter.split(np.zeros(len(cases)), labels, groups=list(cases.patient_ids)))
    for k, (rest, asked) in enumerate(run.progress(folds, "cross-fit", len(folds))):
        expert = type(run.component)(run.component_params)
        folder = run.checkpoints / f"fold{k}"
        folder.mkdir(exist_ok=True)
        part = StageRun(params=run.params, inputs={}, seed=run.seed, out=folder)
        expert.fit(TrainingData(data.train.select(rest), data.tuning), part)
        asked_cases = cases.select(asked)
        salience[asked] = _salience(expert, asked_cases)
        probability[asked] = found = expert.predict(asked_cases)
        check_probability(found, len(asked_cases))
    _write(cases, salience, probability, run.out)


def _salience(expert: Expert, cases: Cases) -> FloatArray:
    """Compute an expert's weights, and check that they follow its contract."""
    salience = expert.salience(cases)
    check_salience(salience, len(cases), len(cases.features))
    return salience


def _write(cases: Cases, salience: FloatArray, probability: FloatArray, folder: Path) -> None:
    columns: dict[str, object] = {"case_id": list(cases.case_ids), "probability": np.asarray(probability, float)}
    for j, name in enumerate(cases.feature_names):
        columns[f"salience:{name}"] = salience[:, j].astype(np.float64)
    pq.write_table(pa.table(columns), folder / "salience.parquet")


def read_salience(folder: Path) -> dict[str, dict[str, float]]:
    """Read the weight per feature, by case id."""
    table = read_parquet(folder / "salience.parquet")
    names = [c for c in table.column_names if c.startswith("salience:")]
    columns = {name.removeprefix("salience:"): table[name].to_pylist() for name in names}
    return {
        case_id: {name: values[i] for name, values in columns.items()}
        for i, case_id in enumerate(table["case_id"].to_pylist())
    }


def read_cross_fitted_probability(folder: Path) -> dict[str, float]:
    """Read the probability of each training case by an expert that was not trained on its patient.

    Args:
        folder: Folder of the stage that `plan.cross_fitted_salience` declared.
    """
    table = read_parquet(folder / "salience.parquet", columns=["case_id", "probability"])
    return dict(zip(table["case_id"].to_pylist(), table["probability"].to_pylist(), strict=True))


def top_observed(cases: Cases, weights: FloatArray, k: int) -> list[tuple[str, ...]]:
    """Return, for each case, the `k` observed features with the highest weights; break ties by the canonical order.

    Args:
        cases: N cases.
        weights: Shape (N, F), columns in canonical order.
        k: Maximum number of features per case.
    """
    column = {name: i for i, name in enumerate(cases.feature_names)}
    return [_top(case, row, column, k) for case, row in zip(cases, weights, strict=True)]


def _top(case: Case, weights: FloatArray, column: Mapping[str, int], k: int) -> tuple[str, ...]:
    """Return the `k` observed features of a case with the highest weights, shape (F,)."""
    return tuple(sorted(case.observed(), key=lambda name: (-weights[column[name]], column[name]))[:k])


def reference(run: StageRun) -> None:
    """Write the reference expert's weights and top features of each case, under one condition.

    Only features observed in the case count.
    """
    cases: Cases = run.inputs["cases"]
    weights = _salience(type(run.component).load(run.component_params, run.inputs["expert"]), cases)
    column = {name: i for i, name in enumerate(cases.feature_names)}
    tables = []
    start = 0
    for part in cases.partitions():
        rows = [
            {
                "case_id": case.case_id,
                "features": list(_top(case, row, column, run.params["k"])),
                "salience": [(name, float(row[column[name]])) for name in case.observed()],
            }
            for case, row in zip(part, weights[start : start + len(part)], strict=True)
        ]
        tables.append(pa.Table.from_pylist(rows, schema=_REFERENCE_SCHEMA))  # a tenth of the rows' memory
        start += len(part)
    pq.write_table(pa.concat_tables(tables), run.out / REFERENCE_FILE)


def frequency_baseline(run: StageRun) -> None:
    """Write the `k` features that are most often among the reference expert's top `k` of a training case.

    This is only a frequency table. The expert is applied to the cases that it was fitted on, which is harmless because
    the list is the same for every case. No held-out case is used. Ties are broken by the canonical order. The mean
    weight of each feature is kept beside them.
    """
    cases: Cases = run.inputs["cases"]
    weights = _salience(type(run.component).load(run.component_params, run.inputs["expert"]), cases)
    on_top = Counter(name for names in top_observed(cases, weights, run.params["k"]) for name in names)
    order = {name: (-on_top[name], i) for i, name in enumerate(cases.feature_names) if on_top[name]}
    listed = sorted(order, key=order.__getitem__)[: run.params["k"]]
    mean = dict(zip(cases.feature_names, weights.mean(axis=0).tolist(), strict=True)) if len(cases) else {}
    result = {"features": listed, "times_on_top": dict(on_top), "mean_salience": mean, "n_cases": len(cases)}
    result["order"] = list(cases.feature_names)  # sorted keys lose it
    (run.out / _BASELINE_FILE).write_text(json.dumps(result, indent=1, sort_keys=True))


def read_frequency_baseline(folder: Path) -> list[str]:
    """Read the features of the baseline, the most frequent first."""
    features: list[str] = json.loads((folder / _BASELINE_FILE).read_text())["features"]
    return features


@dataclass(frozen=True, slots=True)
class GlobalImportance:
    """How important each feature is to the reference expert, whoever the patient.

    Attributes:
        ranking: All features that it reads: those most often on top in training first, then, of those never on top, the
            ones of the highest mean weight.
        mean: The mean weight of each over the training cases.
    """

    ranking: tuple[str, ...]
    mean: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path) -> GlobalImportance:
        """Read it from the folder of a stage `frequency_baseline`."""
        found = json.loads((folder / _BASELINE_FILE).read_text())
        on_top, mean = found["times_on_top"], found["mean_salience"]
        place = {name: i for i, name in enumerate(found["order"])}

        def key(name: str) -> tuple[int, float, int]:
            times = on_top.get(name, 0)
            return -times, 0.0 if times else -mean[name], place[name]

        return cls(tuple(sorted(mean, key=key)), mean)

    def refilled(self, measured: Collection[str], k: int) -> tuple[str, ...]:
        """Return the first `k` of the ranking that were measured in a case, or fewer if fewer were."""
        seen = frozenset(measured)
        return tuple(name for name in self.ranking if name in seen)[:k]
