"""Every built-in reward keeps the contract."""

from __future__ import annotations

from eagbench.testing import RewardConformance
from tests.built_in import conformance_classes

globals().update(conformance_classes("reward", RewardConformance))
