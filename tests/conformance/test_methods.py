"""Every built-in method keeps the contract, on real records and with one policy for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eagbench.testing import MethodConformance
from tests.built_in import built_in, conformance_classes, permitted

# A method takes what it has parameters for.
SMALL: Mapping[str, Any] = {
    "expert": "logistic_regression",
    "search": "best_of_n",
    "token_budget": 200,
    "max_new_tokens": 100,
    "max_training_cases": 40,
    "sft": {"steps": 4},
    "policy_optimisation": {"steps": 1, "cases": 4, "group_size": 4, "passes": 2, "mini_batches": 1},
}
# An expert is refused where nothing asks for one.
MORE: Mapping[str, Mapping[str, Any]] = {"few_shot": {"selection": "nearest", "shots": 2}}


class OnPhysioNet2012(MethodConformance):
    """On 400 real records; stages that methods have in common are made once."""

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, physionet_root: Path) -> Mapping[str, Any]:
        return {"name": "physionet2012", "root": physionet_root}

    @pytest.fixture(scope="class")
    @classmethod
    def store_folder(cls, shared_folder: Path) -> Path:
        return shared_folder / "conformance_store"

    @pytest.fixture(scope="class")
    @classmethod
    def other_store_folder(cls, shared_folder: Path) -> Path:
        return shared_folder / "other_conformance_store"


globals().update(
    conformance_classes(
        "method",
        OnPhysioNet2012,
        {c.name: {"params": {**permitted(c, SMALL), **MORE.get(c.name, {})}} for c in built_in("method")},
    )
)
