"""Every built-in expert keeps the contract."""

from __future__ import annotations

from eagbench.testing import ExpertConformance
from tests.built_in import built_in, conformance_classes, permitted

# A network is made small by the parameters that networks share.
SMALL = {"epochs": 2, "periods": 4, "hidden_dim": 8, "heads": 2}

globals().update(
    conformance_classes(
        "expert",
        ExpertConformance,
        {component.name: {"params": permitted(component, SMALL)} for component in built_in("expert")},
    )
)
