"""The package's components keep the contracts of their kinds."""

from __future__ import annotations

from eagbench_example.plugin import Brevity, FreshProcesses, OldestDies, TokensPerCase, TwoSamples

from eagbench.testing import (
    ExecutorConformance,
    ExpertConformance,
    MetricConformance,
    RewardConformance,
    SearchConformance,
)


class TestOldestDies(ExpertConformance):
    component = OldestDies
    params = {"slope_per_year": 0.1}


class TestTwoSamples(SearchConformance):
    component = TwoSamples


class TestBrevity(RewardConformance):
    component = Brevity


class TestTokensPerCase(MetricConformance):
    component = TokensPerCase


class TestFreshProcesses(ExecutorConformance):
    component = FreshProcesses
