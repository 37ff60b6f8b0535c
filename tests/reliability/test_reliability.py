"""Every part of the harness, with CI's small counts: nothing is lost, doubled, left behind or unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.reliability.parts import NAMES, load_part


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the open data (../shared/data) are not here")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost(name: str, tmp_path: Path) -> None:
    part = load_part(name)
    rows = part.measure(part.small, 0, tmp_path)
    assert sum(row.times for row in rows) >= part.small
    assert [(row.fault, lost) for row in rows for lost in row.lost] == []
