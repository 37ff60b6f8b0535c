"""A bedside score as an expert: the first baseline that clinicians compare a model with.

NEWS2: Royal College of Physicians, "National Early Warning Score (NEWS) 2: Standardising the assessment of
acute-illness severity in the NHS", London 2017; points by its chart 1, with oxygen saturation by scale 1.

Departures, numbered:
1. The score is designed for one set of observations. Here each of the seven parameters takes its worst value in the
   last 24 hours of the window, and the points are summed.
2. A parameter without a value in these hours counts as normal; so does one that the data set lacks.
3. If a case has no pulse oximetry, the saturation of the arterial blood gas replaces it.
4. A patient counts as receiving oxygen if the inspired fraction is above 21 %; no other criterion is used.
5. "Not alert" (C, V, P or U) means a Glasgow coma scale below 15. If a case has no total, it means any of the three
   parts below its best value. A ventilated patient's verbal response, lowered by the tube, counts as well.
6. Scale 2 of oxygen saturation is not used: it needs a clinician's decision that the record does not contain.
7. Values are rounded to the chart's precision: whole numbers, and tenths of a degree.

SAPS-I (Le Gall et al., Critical Care Medicine 1984) and SOFA (Vincent et al., Intensive Care Medicine 1996) are not
computed. They are taken from the data set if it provides them (PhysioNet 2012). A case without one gets the median of
the training cases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np

from eagbench.api import Case, Cases, FloatArray, StageRun, StrictParams, TrainingData, UserError
from eagbench_plugins.experts.salience import as_salience

HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Chart:
    """The points for a parameter's values.

    Attributes:
        limits: Upper limits of all bands but the last, inclusive and increasing.
        points: Points of each band, one more than limits.
        decimals: Decimals of the chart, to which values are rounded.
    """

    limits: tuple[float, ...]
    points: tuple[int, ...]
    decimals: int = 0

    def worst(self, values: FloatArray) -> int:
        """Return the highest points of any value; 0 if there is no value."""
        seen = np.round(values[~np.isnan(values)].astype(np.float64), self.decimals)
        if not len(seen):
            return 0
        return int(np.asarray(self.points)[np.searchsorted(self.limits, seen, side="left")].max())


# For each parameter the features that may give it, in order of precedence: the first with a value counts.
Parameter = Mapping[str, Chart]
_SATURATION = Chart((91, 93, 95), (3, 2, 1, 0))
NEWS2: tuple[Parameter, ...] = (
    {"respiratory_rate": Chart((8, 11, 20, 24), (3, 1, 0, 2, 3))},
    {"oxygen_saturation": _SATURATION, "arterial_oxygen_saturation": _SATURATION},
    {"fraction_inspired_oxygen": Chart((21,), (0, 2))},
    {"systolic_blood_pressure": Chart((90, 100, 110, 219), (3, 2, 1, 0, 3))},
    {"heart_rate": Chart((40, 50, 90, 110, 130), (3, 1, 0, 1, 2, 3))},
    {"temperature": Chart((35.0, 36.0, 38.0, 39.0), (3, 1, 0, 1, 2), decimals=1)},
)
_COMA_TOTAL = "gcs_total"
_COMA_PARTS = {"gcs_eye": 4, "gcs_verbal": 5, "gcs_motor": 6}
_NOT_ALERT = 3
NEWS2_FEATURES: tuple[str, ...] = (*(name for parameter in NEWS2 for name in parameter), _COMA_TOTAL, *_COMA_PARTS)


def news2_points(case: Case, window_hours: float) -> FloatArray:
    """Compute the NEWS2 points of each feature; their sum is the score, from 0 to 20.

    Args:
        case: The case.
        window_hours: End of the window; the last 24 hours before it count.

    Returns:
        Shape (len(NEWS2_FEATURES),), in that order. Points for consciousness that depend on several parts of the coma
        scale are split equally between the parts below their best value.
    """
    recent = case.values_in_order(NEWS2_FEATURES)[case.times >= window_hours - HOURS]  # (T, P)
    values = dict(zip(NEWS2_FEATURES, recent.T, strict=True))
    points = dict.fromkeys(NEWS2_FEATURES, 0.0)
    for parameter in NEWS2:
        for name, chart in parameter.items():
            if not np.isnan(values[name]).all():
                points[name] = chart.worst(values[name])
                break
    if not np.isnan(values[_COMA_TOTAL]).all():
        points[_COMA_TOTAL] = _NOT_ALERT * float(np.nanmin(values[_COMA_TOTAL]) < 15)
    else:
        lowered = [name for name, best in _COMA_PARTS.items() if (values[name] < best).any()]
        for name in lowered:
            points[name] = _NOT_ALERT / len(lowered)
    return np.array([points[name] for name in NEWS2_FEATURES])


class ClinicalScore:
    """A score, converted to a probability by a logistic regression of the outcome on the score in the training cases.

    Salience is each feature's share of the points. If a case has no points, its observed NEWS2 features share the
    weight equally. For scores provided by the data set, all observed features that training had share it. The fit uses
    neither tuning cases nor the seed.
    """

    name: ClassVar[str] = "clinical_score"

    class Params(StrictParams):
        """Parameters.

        Attributes:
            score: Which score; `news2` is computed from the vital signs of a record, `saps_i` and `sofa` come from the
                data set.
        """

        score: Literal["news2", "saps_i", "sofa"] = "news2"

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Fit intercept and slope on the training cases.

        Raises:
            UserError: The training cases have one outcome only, or the data set has nothing that the score reads.
        """
        del run
        from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

        cases, labels = data.train.cases, data.train.labels
        self.features = tuple(
            name for name in cases.feature_names if self.params.score != "news2" or name in NEWS2_FEATURES
        )
        if len(np.unique(labels)) < 2:
            raise UserError(
                "clinical_score needs both outcomes among its training cases",
                hint="Use more patients, or another split seed.",
            )
        score = self._scores(cases)
        if np.isnan(score).all():
            raise UserError(
                f"clinical_score: the data set has nothing that the score '{self.params.score}' can be read from",
                hint="Leave the method out, or choose a score that the data hold: news2 needs some of "
                f"{', '.join(NEWS2_FEATURES)}; saps_i and sofa come with physionet2012.",
            )
        self.median = float(np.nanmedian(score))
        score = np.where(np.isnan(score), self.median, score)[:, None]  # (N, 1)
        # scikit-learn's mild L2 penalty on the slope keeps it finite where a few cases are perfectly separated.
        model = SklearnLogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(score, labels)
        self.intercept, self.slope = float(model.intercept_[0]), float(model.coef_[0, 0])

    def predict(self, cases: Cases) -> FloatArray:
        """Predict the probability of the outcome. Shape (N,)."""
        score = self._scores(cases)
        logit = self.intercept + self.slope * np.where(np.isnan(score), self.median, score)
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logit)))  # the logistic function, without overflow

    def salience(self, cases: Cases) -> FloatArray:
        """Compute each feature's share of the points; equal for a score provided by the data set. Shape (N, F)."""
        if self.params.score != "news2":
            return as_salience(np.zeros((len(cases), len(self.features))), self.features, cases)
        points = self._points(cases)[:, [NEWS2_FEATURES.index(name) for name in self.features]]
        return as_salience(points, self.features, cases)

    def _scores(self, cases: Cases) -> FloatArray:
        """Compute or look up the score of each case, NaN where there is none. Shape (N,)."""
        if self.params.score != "news2":
            return np.array([case.static.get(f"score_{self.params.score}", np.nan) for case in cases])
        if not set(cases.feature_names) & set(self.features):
            return np.full(len(cases), np.nan)
        return np.asarray(self._points(cases).sum(axis=1))

    def _points(self, cases: Cases) -> FloatArray:
        """Compute the NEWS2 points per case, from the features that training had. Shape (N, len(NEWS2_FEATURES))."""
        own = [replace(case, features=self.features, values=case.values_in_order(self.features)) for case in cases]
        rows: Sequence[FloatArray] = [news2_points(case, cases.task.window_hours) for case in own]
        return np.stack(rows) if rows else np.zeros((0, len(NEWS2_FEATURES)))

    def save(self, folder: Path) -> None:
        """Write `clinical_score.json`."""
        content = {
            "intercept": self.intercept, "slope": self.slope, "median": self.median, "features": list(self.features)
        }  # fmt: skip
        (folder / "clinical_score.json").write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, params: Params, folder: Path) -> Self:
        """Read the fitted expert that `save` wrote."""
        content = json.loads((folder / "clinical_score.json").read_text(encoding="utf-8"))
        expert = cls(params)
        expert.features = tuple(content["features"])
        expert.intercept, expert.slope, expert.median = (float(content[k]) for k in ("intercept", "slope", "median"))
        return expert
