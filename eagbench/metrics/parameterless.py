"""A metric that takes no parameters."""

from __future__ import annotations

from eagbench.contracts.components import StrictParams


class ParameterlessMetric:
    """What metrics without parameters have in common."""

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params
