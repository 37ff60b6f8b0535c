"""Every built-in reward keeps the contract."""

from __future__ import annotations

from typing import ClassVar

from eagbench.testing import RewardConformance
from eagbench_plugins.eagrl.rewards.citation_jaccard import CitationJaccardReward
from eagbench_plugins.eagrl.rewards.eag import EAGReward
from tests.built_in import conformance_classes

globals().update(conformance_classes("reward", RewardConformance))


class TestEagBeyondControls(RewardConformance):
    component = EAGReward
    params: ClassVar[dict[str, bool]] = {"beyond_controls": True}


class TestCitationJaccardBeyondControls(RewardConformance):
    component = CitationJaccardReward
    params: ClassVar[dict[str, bool]] = {"beyond_controls": True}
