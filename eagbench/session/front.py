"""What a script or a notebook calls: `eagbench.run`, `eagbench.open_run` and `eagbench.list_runs`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eagbench.errors import UserError
from eagbench.execution.threads import limited_threads
from eagbench.session import running
from eagbench.session.edited_code import guarded_against_edits
from eagbench.session.run import Run
from eagbench.session.run_list import runs_table, runs_under

if TYPE_CHECKING:
    import pandas as pd

AnyPath = str | os.PathLike[str]


def run(
    benchmark: AnyPath,
    *,
    out: AnyPath | None = None,
    profile: str | None = None,
    set: Mapping[str, Any] | None = None,
    limit: int | None = None,
    seeds: Sequence[int] | None = None,
    fresh: bool = False,
    executor: str = "local",
    workers: int | None = None,
    stage_timeout: str | float | None = None,
    executor_options: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Run:
    """Run a benchmark, or take up an interrupted one, as `eagbench run` does: finished stages are reused.

    Args:
        benchmark: The benchmark's YAML file.
        out: The run folder; None for `runs/<name>`.
        profile: One of the benchmark's profiles to lay on it, e.g. `quick`.
        set: Values to change, by path: `{"data.root": "/data", "methods.small_trees.num_leaves": 15}`.
        limit: Take so many patients before the split; the run is stamped.
        seeds: Seeds instead of the benchmark's own.
        fresh: Do not read the store: compute everything anew.
        executor: What computes the stages.
        workers: Processes that work on stages; None for the executor's default. In a script, call it then under
            `if __name__ == "__main__":`, because each process begins by importing the script.
        stage_timeout: Seconds after which a stage is ended (also `"30m"` or `"2h"`); None for no limit.
        executor_options: Other parameters of the executor: `{"scheduler": "tcp://host:8786"}` for `dask`,
            `{"cluster": "cluster.yaml"}` for `slurm`.
        quiet: Show no progress on stderr.

    Returns:
        The finished run. Cells that failed are in its `failed`; everything else is there.

    Raises:
        UserError: The benchmark, the data or the output folder has a problem that you can fix, or code was edited after
            this process had imported it.
    """
    if limit is not None and limit < 1:
        raise UserError(f"{limit} patients are none", where="limit", hint="give 1 or more, or leave it out")
    request = running.Request(
        Path(benchmark),
        tuple(f"{path}={_as_yaml(path, value)}" for path, value in (set or {}).items()),
        limit,
        profile,
        None if seeds is None else tuple(seeds),
    )
    with guarded_against_edits(), limited_threads(1):  # as the command begins; a stage has what its benchmark declares
        flags = {"workers": workers, "stage_timeout": None if stage_timeout is None else str(stage_timeout)}
        options = tuple(f"{key}={_as_yaml(key, value)}" for key, value in (executor_options or {}).items())
        chosen = running.make_executor(executor, flags, options)
        finished = running.run(request, None if out is None else Path(out), chosen, fresh=fresh, quiet=quiet)
    return Run(finished.folder)


def open_run(folder: AnyPath) -> Run:
    """Open the folder of a finished run.

    Args:
        folder: What `eagbench run` named at its end, e.g. `runs/first`.

    Raises:
        UserError: It is not a run folder, the run was not finished, or a newer eagbench wrote it.
    """
    return Run(Path(folder))


def list_runs(folder: AnyPath = "runs") -> pd.DataFrame:
    """List the runs in a folder and its subfolders, as `eagbench runs` does.

    Args:
        folder: Where to look.

    Returns:
        A row per run and method (one row for a run without numbers): folder, name, state (`finished`, `unfinished`,
        `damaged`, `newer`), reason, created, version, data, stamp, n_failed, domain_train, domain_eval, method, metric
        (the benchmark's first, or that of its comparisons), value, ci_low, ci_high, n_cases, n_positive.

    Raises:
        UserError: There is no such folder.
    """
    return runs_table(runs_under(Path(folder)))


def _as_yaml(path: str, value: Any) -> str:
    """Write a value as JSON, which YAML reads as the same value.

    Raises:
        UserError: YAML has no such value.
    """
    try:
        return json.dumps(value, default=os.fspath, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"{value!r} is no value of a benchmark", where=f"set {path}") from error
