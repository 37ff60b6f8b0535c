"""Stage `policy`: prepares the base policy's folder from unlabelled training cases."""

from __future__ import annotations

import json

from eagbench.contracts.stages import StageRun
from eagbench.prompting.record import RecordText


def prepare(run: StageRun) -> None:
    """Let the policy write its model folder, and record which component opens it."""
    run.component.prepare(run.inputs["cases"], RecordText.load(run.inputs["record_text"]), run)
    note = {"name": run.component.name, "params": run.component_params.model_dump(mode="json")}
    (run.out / "policy.json").write_text(json.dumps(note, indent=1, sort_keys=True))
