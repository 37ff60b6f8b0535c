"""`plugins check` says every check of a package's components, in real processes, and fails with code 2."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished

Run = Callable[..., Finished]

PLUGIN = """\
import numpy as np

from eagbench.api import MetricTraits, StrictParams, hookimpl


class Params(StrictParams):
    pass


class Sound:
    name = "sound"
    traits = MetricTraits(better="higher")
    Params = Params

    def __init__(self, params):
        pass

    def __call__(self, scored, weights):
        total = weights.sum(axis=1)
        return np.divide(weights @ scored.label, total, out=np.full(len(total), np.nan), where=total > 0)


class Unsound(Sound):
    name = "unsound"

    def __call__(self, scored, weights):
        return weights / {}["nothing"]


class NeedsMore(Sound):
    name = "needs_more"

    class Params(StrictParams):
        threshold: float


@hookimpl
def register_metrics(register):
    for metric in METRICS:
        register(metric)
"""


@pytest.fixture
def env(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The variables that add a package with these metrics."""

    def add(metrics: str) -> dict[str, str]:
        (tmp_path / "plugin_to_check.py").write_text(PLUGIN.replace("METRICS", metrics))
        facts = tmp_path / "wards-0.1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: wards\nVersion: 0.1\n")
        (facts / "entry_points.txt").write_text("[eagbench]\nwards = plugin_to_check\n")
        return {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}

    return add


@pytest.mark.slow  # a process per component
def test_a_sound_component_passes_check_by_check(env: Callable[[str], dict[str, str]], run_command: Run) -> None:
    checked = run_command("plugins", "check", "wards", env=env("(Sound,)"))
    assert checked.code == 0, checked.out + checked.err
    assert "metric 'sound'" in checked.out
    lines = checked.out.splitlines()
    assert "  ok          can be registered" in lines
    n_ok = sum(line.startswith("  ok ") for line in lines)
    assert n_ok > 5
    assert lines[-1].startswith(f"wards: {n_ok} ok")


def test_an_unsound_one_fails_with_file_and_line(env: Callable[[str], dict[str, str]], run_command: Run) -> None:
    checked = run_command("plugins", "check", "wards", env=env("(Sound, Unsound)"))
    assert checked.code == 2
    assert "FAILED" in checked.out
    line = PLUGIN.splitlines().index('        return weights / {}["nothing"]') + 1
    assert f"plugin_to_check.py:{line}: in __call__" in checked.out
    assert "KeyError: 'nothing'" in checked.out


@pytest.mark.slow  # a process per component
def test_what_can_not_be_made_is_not_passed_over(env: Callable[[str], dict[str, str]], run_command: Run) -> None:
    variables = env("(NeedsMore,)")
    checked = run_command("plugins", "check", "wards", env=variables)
    assert checked.code == 2
    assert "give --set needs_more.threshold=..." in checked.out
    assert run_command("plugins", "check", "wards", "--set", "needs_more.threshold=0.5", env=variables).code == 0
    refused = run_command("plugins", "check", "wards", "--set", "other.threshold=0.5", env=variables)
    assert refused.code == 2
    assert "choices: needs_more" in refused.err


def test_a_plugin_that_can_not_be_loaded_shows_its_traceback(third_party: dict[str, str], run_command: Run) -> None:
    listed = run_command("plugins", "list", env=third_party)
    assert "(eagbench_broken/plugin.py, line " in listed.out
    assert "traceback: `eagbench plugins check eagbench-broken`" in listed.out
    checked = run_command("plugins", "check", "eagbench-broken", env=third_party)
    assert checked.code == 2
    assert "Traceback (most recent call last)" in checked.out
    assert "a_package_that_nobody_has" in checked.out


def test_an_unknown_package_is_refused(run_command: Run) -> None:
    refused = run_command("plugins", "check", "nobody")
    assert refused.code == 2
    assert "choices: " in refused.err
    assert "eagbench" in refused.err
