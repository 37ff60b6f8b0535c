"""Every built-in search keeps the contract."""

from __future__ import annotations

from eagbench.testing import SearchConformance
from tests.built_in import conformance_classes

globals().update(conformance_classes("search", SearchConformance))
