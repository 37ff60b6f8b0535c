"""Base class of metrics without parameters."""

from __future__ import annotations

from eagbench.contracts.components import StrictParams


class ParameterlessMetric:
    """Base class of metrics without parameters."""

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params
