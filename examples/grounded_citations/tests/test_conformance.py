"""`grounded_citations` keeps the contract of its kind: pytest runs the inherited tests."""

from __future__ import annotations

from eagbench_grounded_citations.plugin import GroundedCitations

from eagbench.testing import RewardConformance


class TestGroundedCitations(RewardConformance):
    component = GroundedCitations
