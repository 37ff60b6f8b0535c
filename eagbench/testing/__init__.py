"""Conformance tests for plugin authors: one class per kind of component. Subclass it in a test file.

A subclass names the component, and sets smaller parameters if the defaults are large::

    from eagbench.testing import ExpertConformance

    class TestMyExpert(ExpertConformance):
        component = MyExpert
        params = {"epochs": 2}

pytest runs the inherited tests. Anything a component needs beyond its parameters is a fixture, which a subclass may
override: each class says which. The built-in components are tested with the same classes. This package imports pytest,
and nothing else in eagbench imports this package.
"""

from __future__ import annotations

import pytest

# So that a failed assertion in here shows its values, as one in a test file does. Before the modules are imported.
_KINDS = (
    "datasets",
    "executors",
    "experts",
    "methods",
    "metrics",
    "perturbations",
    "policies",
    "prompts",
    "rewards",
    "searches",
    "trackers",
)
pytest.register_assert_rewrite("eagbench.testing.component", *(f"eagbench.testing.{kind}" for kind in _KINDS))

from eagbench.testing.cases import labelled_cases, odd_cases, training_data  # noqa: E402
from eagbench.testing.datasets import DatasetConformance  # noqa: E402
from eagbench.testing.executors import ExecutorConformance  # noqa: E402
from eagbench.testing.experts import ExpertConformance  # noqa: E402
from eagbench.testing.language_model import WrittenAnswers  # noqa: E402
from eagbench.testing.methods import MethodConformance  # noqa: E402
from eagbench.testing.metrics import MetricConformance  # noqa: E402
from eagbench.testing.perturbations import PerturbationConformance  # noqa: E402
from eagbench.testing.policies import PolicyConformance  # noqa: E402
from eagbench.testing.prompts import PromptConformance  # noqa: E402
from eagbench.testing.rewards import RewardConformance  # noqa: E402
from eagbench.testing.searches import SearchConformance  # noqa: E402
from eagbench.testing.trackers import TrackerConformance  # noqa: E402

__all__ = [
    "DatasetConformance",
    "ExecutorConformance",
    "ExpertConformance",
    "MethodConformance",
    "MetricConformance",
    "PerturbationConformance",
    "PolicyConformance",
    "PromptConformance",
    "RewardConformance",
    "SearchConformance",
    "TrackerConformance",
    "WrittenAnswers",
    "labelled_cases",
    "odd_cases",
    "training_data",
]
