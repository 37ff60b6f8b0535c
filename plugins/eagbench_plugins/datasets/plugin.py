"""Registers the built-in data sets."""

from __future__ import annotations

from eagbench.api import Register, hookimpl
from eagbench_plugins.datasets.eicu.dataset import Eicu
from eagbench_plugins.datasets.icu_demo import IcuDemo
from eagbench_plugins.datasets.long_csv.dataset import LongCsv
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012
from eagbench_plugins.datasets.tjh import Tjh


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the open data sets and the credentialed ones."""
    register(Eicu)
    register(IcuDemo)
    register(LongCsv)
    register(Meds)
    register(Mimic4)
    register(PhysioNet2012)
    register(Tjh)
