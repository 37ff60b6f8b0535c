"""The perturbation `copied_forward`: values were copied from the time before instead of measured."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from eagbench.api import Case, Cases, PerturbationTraits, Register, StrictParams, hookimpl


class CopiedForward:
    """A share of the values is replaced by the feature's value before; a feature's first value stays."""

    name: ClassVar[str] = "copied_forward"
    traits: ClassVar[PerturbationTraits] = PerturbationTraits(
        levels=(0.1, 0.2, 0.4, 0.6, 0.8), severity_unit="share of the values"
    )

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is a share from 0 to 1."""
        if not 0 <= severity <= 1:
            raise ValueError(f"a severity is a share from 0 to 1, not {severity:g}")

    def fit(self, cases: Cases) -> None:
        """Learn nothing from the unlabelled training cases."""

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Copy what one draw per value chooses: a higher severity copies what a lower one does, and more."""
        is_copied = np.random.default_rng(seed).random(case.values.shape) < severity  # (T, F)
        values = case.values.copy()
        for column in range(values.shape[1]):
            measured = np.flatnonzero(~np.isnan(case.values[:, column]))
            copied = np.flatnonzero(is_copied[measured[1:], column]) + 1  # positions among the measured
            values[measured[copied], column] = case.values[measured[copied - 1], column]
        return replace(case, values=values)


@hookimpl
def register_perturbations(register: Register) -> None:
    """Register the perturbation."""
    register(CopiedForward)
