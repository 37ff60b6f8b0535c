"""Loads a data set outside a benchmark, for `data check` and `data describe`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from eagbench.config.loading import validate_params
from eagbench.config.yaml_source import Source, apply_set
from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.registry.plugins import load_registry
from eagbench.stages.cohort import check_static, read_cohort


def load_cohort(name: str, sets: tuple[str, ...]) -> Cohort:
    """Load a data set with the parameters that `--set` gave.

    Raises:
        UserError: There is no such data set, a parameter is wrong, or the data can't be read.
    """
    component: Any = load_registry().get("dataset", name).component
    source = Source()
    for assignment in sets:
        apply_set(source, assignment)
    dataset = component(validate_params(component.Params, source.tree, source, ()))
    files = list(dataset.files())
    with tempfile.TemporaryDirectory() as folder:
        cohort_folder, source_folder = Path(folder) / "cohort", Path(folder) / "source"
        cohort_folder.mkdir()
        inputs = {}
        if not files:
            source_folder.mkdir()
            dataset.generate(StageRun(params={}, inputs={}, seed=0, out=source_folder))
            inputs["source"] = source_folder
        cohort = read_cohort(dataset, StageRun(params={}, inputs=inputs, seed=0, out=cohort_folder))
    check_static(cohort, dataset)
    return cohort
