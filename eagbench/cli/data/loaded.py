"""Loads a data set outside a benchmark, for `data check` and `data describe`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eagbench.config.loading import validate_params
from eagbench.config.yaml_source import Source, apply_set
from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.registry.plugins import answerable, load_registry
from eagbench.stages import cohort
from eagbench.stages.cohort_files import read_stored


@contextmanager
def stored_cohort(name: str, sets: tuple[str, ...]) -> Iterator[Cohort]:
    """Load a data set with the parameters that `--set` gave, as a run would, and store it for as long as it is needed.

    Its cases are read when they are needed, so that a cohort may be larger than memory.

    Raises:
        UserError: There is no such data set, a parameter is wrong, the data can't be read, or no case is left.
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
        with answerable("dataset", name):
            cohort.load(StageRun(params={}, inputs=inputs, seed=0, out=cohort_folder, component=dataset))
        yield read_stored(cohort_folder)
