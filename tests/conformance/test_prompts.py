"""Every built-in prompt keeps the contract."""

from __future__ import annotations

from eagbench.testing import PromptConformance
from tests.built_in import conformance_classes

globals().update(conformance_classes("prompt", PromptConformance))
