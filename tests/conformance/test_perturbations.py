"""Every built-in perturbation keeps the contract."""

from __future__ import annotations

from eagbench.testing import PerturbationConformance
from tests.built_in import conformance_classes

globals().update(conformance_classes("perturbation", PerturbationConformance))
