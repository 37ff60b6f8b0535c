"""The picture of the rooms shows the imports as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_the_picture_of_the_rooms_is_not_stale(tmp_path: Path) -> None:
    drawn = tmp_path / "rooms.svg"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "rooms"), str(drawn)], check=True, timeout=120)
    kept = ROOT / "docs" / "rooms.svg"
    assert drawn.read_text() == kept.read_text(), "draw it again: .venv/bin/python scripts/rooms"
