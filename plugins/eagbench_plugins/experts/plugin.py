"""Register the built-in experts."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.experts.adacare import AdaCare
from eagbench_plugins.experts.clinical_score import ClinicalScore
from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.experts.ensemble import Ensemble
from eagbench_plugins.experts.extreme_gradient_boosting import XGBoost
from eagbench_plugins.experts.gradient_boosting import LightGBM
from eagbench_plugins.experts.gru import GRU
from eagbench_plugins.experts.gru_d import GRUD
from eagbench_plugins.experts.logistic_regression import LogisticRegression
from eagbench_plugins.experts.retain import RETAIN
from eagbench_plugins.experts.tcn import TCN
from eagbench_plugins.experts.transformer import Transformer


@hookimpl
def register_experts(register: Register) -> None:
    """Register every expert that comes with eagbench."""
    register(LogisticRegression)
    register(LightGBM)
    register(ConCare)
    register(XGBoost)
    register(Ensemble)
    register(ClinicalScore)
    register(RETAIN)
    register(AdaCare)
    register(GRU)
    register(GRUD)
    register(Transformer)
    register(TCN)
