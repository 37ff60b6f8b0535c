"""Adds plausible measurements to the record that are unrelated to the outcome."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, Cases, Distractor, Feature, FeatureVocabulary, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_number

# Name, unit, adult reference limits. None is a concept of the clinical vocabulary.
_TABLE = (
    ("thyroid_stimulating_hormone", "mIU/L", 0.4, 4.0),
    ("vitamin_b12", "pmol/L", 150, 650),
    ("intraocular_pressure", "mmHg", 10, 21),
    ("zinc", "umol/L", 10, 18),
    ("immunoglobulin_g", "g/L", 7, 16),
    ("glycated_hemoglobin", "%", 4.0, 5.6),
    ("vitamin_d", "nmol/L", 50, 125),
    ("transferrin", "g/L", 2.0, 3.6),
    ("copper", "umol/L", 11, 22),
    ("parathyroid_hormone", "ng/L", 15, 65),
    ("free_thyroxine", "pmol/L", 12, 22),
    ("folate", "nmol/L", 10, 45),
    ("immunoglobulin_a", "g/L", 0.8, 4.0),
    ("iron", "umol/L", 10, 30),
    ("hdl_cholesterol", "mmol/L", 1.0, 2.2),
    ("selenium", "umol/L", 0.7, 1.5),
    ("haptoglobin", "g/L", 0.3, 2.0),
    ("homocysteine", "umol/L", 5, 15),
    ("ceruloplasmin", "g/L", 0.2, 0.6),
    ("prolactin", "ug/L", 4, 15),
)
_MOST_TIMES = 3

DISTRACTORS = tuple(
    Feature(name, name.replace("_", " "), unit, plausible=(0.0, 10.0 * high), reference=(low, high))
    for name, unit, low, high in _TABLE
)


class DistractorFeatures(RecordChange):
    """Further measurements are added to the record, all normal and drawn independently of the patient.

    Stands for a record system that shows everything it has: thyroid and vitamin levels of an outpatient visit among the
    results of intensive care. Each added feature is measured at one to three of the record's times, with values inside
    the reference range, at a random position among the features. A model with fixed columns never sees it, so it
    applies to text only. It does not belong to the cohort's features: an answer that cites it counts as citing a
    hallucinated feature, and attention to it counts for no feature. A text in quantile bins gives its number, because
    training cases have no bins for it.
    """

    name = "distractor_features"
    traits = PerturbationTraits(
        levels=(1.0, 3.0, 5.0, 10.0, 20.0), severity_unit="further features", applies_to=frozenset({"text"})
    )
    _distractors: tuple[Feature, ...]

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is a whole number of available features."""
        check_number(severity, len(DISTRACTORS))

    def fit(self, cases: Cases) -> None:
        """Leave out distractors that are features of the cohort."""
        known = FeatureVocabulary(cases.features)
        self._distractors = tuple(
            feature for feature in DISTRACTORS if not known.match(feature.name) and not known.match(feature.label)
        )

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Add `severity` further lines to the case. A higher severity adds to these."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self._distractors))
        lines = [
            _line(self._distractors[i], case, np.random.default_rng([seed, int(i)])) for i in order[: int(severity)]
        ]
        return replace(case, distractors=(*case.distractors, *lines))


def _line(feature: Feature, case: Case, rng: np.random.Generator) -> Distractor:
    """Draw values from a normal distribution whose central 95 % is the reference range, clipped to that range."""
    low, high = (float(limit) for limit in feature.reference if limit is not None)
    before = int(rng.integers(len(case.features) + 1))
    rows = rng.permutation(len(case.times))[: int(rng.integers(1, _MOST_TIMES + 1))]
    values = np.full(len(case.times), np.nan, dtype=np.float32)  # (T,)
    values[rows] = np.clip(rng.normal((low + high) / 2, (high - low) / 4, len(rows)), low, high)
    return Distractor(feature, values, before)
