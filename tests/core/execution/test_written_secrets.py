"""A component that writes its secret down fails, however deep it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eagbench.config.secrets import apart
from eagbench.contracts.stages import ComponentUse, StageNode
from eagbench.errors import UserError
from eagbench.execution.written_secrets import refuse_written_secrets


def stage(params: dict[str, Any]) -> StageNode:
    kept, secrets = apart(params)
    use = ComponentUse("expert", "x", kept, "", secrets | {"root": "/data/qwertyuiop"})
    return StageNode("expert", "x", "m:f", {}, {}, component=use)


@pytest.mark.parametrize(
    ("params", "written"),
    [
        ({"api_key": "qwertyuiop"}, "key=qwertyuiop"),
        ({"extra": {"headers": [{"authorization": "qwertyuiop"}]}}, "qwertyuiop"),
        ({"uri": "postgresql://ann:qwertyuiop@host/db", "n": 3}, '{"login": ["ann", "qwertyuiop"]}'),
    ],
)
def test_a_secret_in_a_file_is_refused_and_not_repeated(tmp_path: Path, params: dict[str, Any], written: str) -> None:
    refuse_written_secrets(stage(params), tmp_path)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.json").write_text(written)
    with pytest.raises(UserError, match=r"a\.json of the stage expert 'x' would hold the secret") as raised:
        refuse_written_secrets(stage(params), tmp_path)
    assert "qwertyuiop" not in raised.value.message


def test_what_is_no_secret_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("ann host /data/qwertyuiop 3 ***")
    refuse_written_secrets(stage({"uri": "postgresql://ann:hunter22@host/db", "n": 3}), tmp_path)
