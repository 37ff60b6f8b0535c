"""`trials.csv` and `log.jsonl`, written from the study, so that it does not matter which process ran a trial."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from eagbench.execution.whole_files import write_text
from eagbench.sweep.claims import finished
from eagbench.sweep.folder import LOG, OBJECTIVE_PREFIX, PARAMETER_PREFIX, TRIALS, SweepRecord, rungs_climbed

_STATUSES = ("computed", "reused")


def write_tables(folder: Path, record: SweepRecord, trials: Sequence[FrozenTrial]) -> None:
    """Write `trials.csv` and `log.jsonl`."""
    write_text(folder / TRIALS, trials_csv(record, trials))
    lines = [_line(record, trial) for trial in trials]
    sums: dict[str, Any] = {
        "event": "sweep",
        "finished": finished(trials),
        "wanted": record.trials,
        "stages": stage_sums(trials),
    }
    write_text(folder / LOG, "".join(json.dumps(line) + "\n" for line in [*lines, sums]))


def stage_sums(trials: Sequence[FrozenTrial]) -> dict[str, dict[str, int]]:
    """Count the stages of each kind that the trials computed, and those that they reused."""
    sums: dict[str, dict[str, int]] = {}
    for trial in trials:
        for kind, counts in trial.user_attrs.get("stages", {}).items():
            mine = sums.setdefault(kind, dict.fromkeys(_STATUSES, 0))
            for status in _STATUSES:
                mine[status] += counts[status]
    return dict(sorted(sums.items()))


def trials_csv(record: SweepRecord, trials: Sequence[FrozenTrial]) -> str:
    """Write one CSV row per trial.

    A parameter that was not drawn, and an unknown number, are empty. With rungs, the column `rungs` says how many of
    them the trial has climbed.
    """
    parameters, objectives = list(record.space), [objective.name for objective in record.objectives]
    columns = [
        "number",
        "state",
        "origin",
        *(PARAMETER_PREFIX + path for path in parameters),
        *(OBJECTIVE_PREFIX + name for name in objectives),
        *([] if record.rungs is None else ["rungs"]),
        "seconds",
        *_STATUSES,
        "reason",
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=columns, lineterminator="\n", restval="")
    writer.writeheader()
    for trial in trials:
        counts = trial.user_attrs.get("stages", {}).values()
        writer.writerow(
            {
                "number": trial.number,
                "state": trial.state.name,
                "origin": origin_text(trial),
                **{PARAMETER_PREFIX + path: _plain(value) for path, value in trial.params.items()},
                **{OBJECTIVE_PREFIX + n: repr(v) for n, v in zip(objectives, trial.values or (), strict=False)},
                **({} if record.rungs is None else {"rungs": rungs_climbed(trial)}),
                "seconds": trial.user_attrs.get("seconds", ""),
                **({s: sum(c[s] for c in counts) for s in _STATUSES} if counts else {}),
                "reason": _reason(trial),
            }
        )
    return stream.getvalue()


def origin_text(trial: FrozenTrial) -> str:
    """Say in a word or two where a trial's parameters come from."""
    origin = trial.user_attrs.get("origin", {})
    if "retry_of" in origin:
        return f"retry of {origin['retry_of']}"
    return "default" if "default" in origin else f"fixed {origin['fixed']}" if "fixed" in origin else "sampled"


def _plain(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else json.dumps(value) if value is None else value


def _reason(trial: FrozenTrial) -> str:
    """Return the last line of a failed trial's message; the traceback is in the log."""
    text = str(trial.user_attrs.get("reason", "")).strip()
    return f"{trial.user_attrs['failure']}: {text.splitlines()[-1].strip()}" if text else ""


def _line(record: SweepRecord, trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    return {
        "event": "trial",
        "number": trial.number,
        "state": trial.state.name,
        "origin": attributes.get("origin", {}),
        "started": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "ended": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
        "process": {key: attributes["lease"][key] for key in ("place", "pid")} if "lease" in attributes else None,
        "parameters": trial.params,
        "values": trial.values,
        **({} if record.rungs is None else {"rungs": rungs_climbed(trial)}),
        **{key: attributes[key] for key in ("seconds", "steps", "stages", "failure", "reason") if key in attributes},
    }
