"""An expert's output on cases: from the fitted expert for asked cases, cross-fitted for training cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.api import Cases, FloatArray, create_component, read_cross_fitted_probability, read_salience

# A component by name, or a mapping with `name` and its parameters.
ComponentSpec = str | dict[str, Any]

# Probabilities are cut here before their log odds are taken: an expert's 0 or 1 is no infinite certainty.
_EXTREME = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class ExpertOutput:
    """An expert's output on N cases.

    Attributes:
        probability: Probability of the outcome, shape (N,).
        salience: Weight per feature, each row summing to 1, shape (N, F), columns in canonical order.
        features: Name of each column of the salience, because another domain has other features.
    """

    probability: FloatArray
    salience: FloatArray
    features: tuple[str, ...]

    @property
    def log_odds(self) -> FloatArray:
        """Log odds of the probability, cut to [0.001, 0.999]. Shape (N,)."""
        cut = np.clip(self.probability, _EXTREME, 1 - _EXTREME)
        return np.asarray(np.log(cut) - np.log1p(-cut))

    def for_features(self, features: Sequence[str]) -> ExpertOutput:
        """Return the same output with one salience column for each of these features.

        Args:
            features: Names of the columns. A feature missing from this output gets weight 0. The weight of a feature
                not named here is dropped.
        """
        column = {name: j for j, name in enumerate(self.features)}
        salience = np.zeros((len(self.salience), len(features)))
        for j, name in enumerate(features):
            if name in column:
                salience[:, j] = self.salience[:, column[name]]
        return ExpertOutput(self.probability, salience, tuple(features))


def output_of_fitted(expert: ComponentSpec, folder: Path, cases: Cases) -> ExpertOutput:
    """Ask the expert that `plan.expert` fitted on the training cases about cases that it has not seen.

    Args:
        expert: The expert as given in the method's parameters.
        folder: Output folder of its stage.
        cases: N cases, none of them a training case.
    """
    spec = {"name": expert} if isinstance(expert, str) else dict(expert)
    name = spec.pop("name")
    component = type(create_component({"kind": "expert", "name": name, "params": spec}))
    fitted = component.load(component.Params.model_validate(spec), folder)
    probability, salience = np.asarray(fitted.predict(cases), float), np.asarray(fitted.salience(cases), float)
    return ExpertOutput(probability, salience, cases.feature_names)


def output_on_training(folder: Path, cases: Cases) -> ExpertOutput:
    """Read the cross-fitted output on training cases, from experts that were not trained on these patients.

    Args:
        folder: Output folder of the stage that `plan.cross_fitted_salience` declared.
        cases: N training cases.
    """
    probability, salience = read_cross_fitted_probability(folder), read_salience(folder)
    # Across domains the expert reads what all share, which may be less than stands in the cases.
    known = frozenset(next(iter(salience.values()), ()))
    features = tuple(name for name in cases.feature_names if name in known)
    return ExpertOutput(
        np.array([probability[case_id] for case_id in cases.case_ids], dtype=float),
        np.array([[salience[case_id][name] for name in features] for case_id in cases.case_ids], dtype=float).reshape(
            len(cases), len(features)
        ),
        features,
    )
