"""Every built-in data set keeps the contract, on real files where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from eagbench.testing import DatasetConformance
from eagbench_plugins.datasets.eicu.dataset import Eicu
from eagbench_plugins.datasets.icu_demo import IcuDemo
from eagbench_plugins.datasets.long_csv.dataset import LongCsv
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012
from eagbench_plugins.datasets.tjh import Tjh
from tests.built_in import built_in


def test_every_data_set_is_tested() -> None:
    tested = {kind.component for kind in (TestMimic4, TestPhysioNet2012, TestTjh, TestIcuDemo, TestEicu)}
    # MEDS and CSV beside the files that their tests write: tests/plugins/datasets/test_meds.py, test_long_csv.py
    assert set(built_in("dataset")) == {*tested, Meds, LongCsv}


class TestMimic4(DatasetConformance):
    component = Mimic4
    params: ClassVar[Mapping[str, Any]] = {"root": "synthetic", "synthetic_patients": 60}


class TestPhysioNet2012(DatasetConformance):
    component = PhysioNet2012

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, physionet_root: Path) -> Mapping[str, Any]:
        return {"root": physionet_root}


class TestTjh(DatasetConformance):
    component = Tjh

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, shared_data: Path) -> Mapping[str, Any]:
        return {"root": shared_data / "tjh"}


class TestIcuDemo(DatasetConformance):
    component = IcuDemo

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, shared_data: Path) -> Mapping[str, Any]:
        return {"root": shared_data / "icu-demo" / "mimic_demo"}


class TestEicu(DatasetConformance):
    component = Eicu

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, shared_data: Path) -> Mapping[str, Any]:
        return {"root": shared_data / "eicu-crd-demo", "tables": ["lab"], "access": "open"}
