"""Registers the built-in experts."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.logistic_regression import LogisticRegression


@hookimpl
def register_experts(register: Register) -> None:
    """Registers `logistic_regression`, `lightgbm` and `concare`."""
    register(LogisticRegression)
    register(LightGBM)
    register(ConCare)
