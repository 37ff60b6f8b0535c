"""Every built-in tracker keeps the contract; those whose package is not installed are skipped."""

from __future__ import annotations

from eagbench.testing import TrackerConformance
from tests.built_in import conformance_classes

globals().update(
    conformance_classes(
        "tracker",
        TrackerConformance,
        {
            "tensorboard": {"requires": "tensorboard"},
            "mlflow": {"requires": "mlflow"},
            "wandb": {"requires": "wandb", "params": {"mode": "offline"}},
        },
    )
)
