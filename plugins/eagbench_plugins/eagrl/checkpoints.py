"""Find the checkpoint from which an interrupted training resumes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"checkpoint-(\d+)")
_WRITTEN_LAST = "trainer_state.json"


def last_complete_checkpoint(folder: Path) -> str | None:
    """Find the newest checkpoint that a transformers trainer finished writing; None if there is none.

    A trainer writes directly into the checkpoint's final folder, so a kill during saving leaves a partial checkpoint
    that can't be resumed. This function deletes partial checkpoints.

    Args:
        folder: The trainer's output folder.
    """
    found = [(int(name[1]), path) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))]
    for _, path in sorted(found, reverse=True):
        if _is_complete(path):
            return str(path)
        shutil.rmtree(path)
    return None


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _WRITTEN_LAST).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True
