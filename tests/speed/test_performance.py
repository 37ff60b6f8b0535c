"""`make performance`: sections between markers, tables as Markdown, slopes and estimates of known growth."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT

SPEED = ROOT / "speed"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The modules of speed/, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SPEED))
        import growth
        import measured
        import performance
        import process_cost

        yield {m.__name__: m for m in (growth, measured, performance, process_cost)}


def test_every_part_has_its_place_and_its_script(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    performance = scripts["performance"]
    for name, part in performance.PARTS.items():
        page = tmp_path / part.page
        page.write_text((ROOT / "docs" / part.page).read_text(encoding="utf-8"), encoding="utf-8")
        before = page.read_text(encoding="utf-8")
        performance.write_section(page, name, "new\n")
        after = page.read_text(encoding="utf-8")
        assert f"<!-- measured: {name} -->\nnew\n<!-- end of {name} -->\n" in after
        assert after.splitlines()[0] == before.splitlines()[0]
        assert after.splitlines()[-1] == before.splitlines()[-1]
    for script in sorted({part.script for part in performance.PARTS.values()}):
        command = [sys.executable, str(SPEED / f"{script}.py"), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert "--json FILE" in done.stdout
        given = {
            word for part in performance.PARTS.values() if part.script == script for word in part.full + part.small
        }
        assert all(word in done.stdout for word in given if word.startswith("--"))


def test_a_page_without_the_markers_is_left_alone(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n<!-- measured: growth -->\n")
    with pytest.raises(ValueError, match="has no markers of 'growth'"):
        scripts["performance"].write_section(page, "growth", "new")
    assert page.read_text() == "# A page\n<!-- measured: growth -->\n"


def test_what_was_measured_is_read_again_with_its_machine(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, file = scripts["measured"], tmp_path / "found.json"
    parser = argparse.ArgumentParser()
    measured.add_json(parser)
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/speed/growth.py", "--seeds", "1", "--json", str(file), "--stays", "5"]
    )
    found = parser.parse_args(["--json", str(file)])
    measured.write(found.json, measured.Table(("side", "GB"), [("here", 1234.5), ("there", None)], "A note.", "Memory"))
    measured.write(None, measured.Table((), []))  # without --json nothing is written
    text = scripts["performance"].section(json.loads(file.read_text()))
    assert "python speed/growth.py --seeds 1 --stays 5\n" in text
    assert "**Memory**\n\n| side | GB |\n| --- | ---: |\n| here | 1,234 |\n| there |  |\n\nA note.\n" in text
    machine = measured.machine()
    assert f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:g} GB of memory" in text
    assert measured.revision() in text


def test_what_takes_too_long_is_stopped_with_its_children(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    log = tmp_path / "log.txt"
    with pytest.raises(TimeoutError, match="longer than 2 s"):
        scripts["process_cost"].cost_of([sys.executable, "-c", code], dict(os.environ), log, most_seconds=2)
    child = int(log.read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def runs_of(scripts: dict[str, ModuleType]) -> list[tuple[str, Any]]:
    """Runs whose training costs n ** 1.5, whose other stages are linear, and that cost 3 s besides, and 0.01 a cell."""
    growth, cost = scripts["growth"], scripts["process_cost"].Cost
    small = {"patients": 1000, "conditions": 5, "methods": 2, "seeds": 1}
    found = []
    series = {"patients": (1000, 4000, 16_000), "conditions": (5, 10), "methods": (2, 4), "seeds": (1, 3)}
    for factor, sizes in series.items():
        for number in sizes:
            size = {**small, factor: number}
            n, cells = size["patients"], size["conditions"] * size["methods"] * size["seeds"]
            seconds = {
                "cohort": [n / 1000] if factor == "patients" else [],
                "expert": [1e-5 * n**1.5] * size["methods"] * size["seeds"],
                "predict": [9.0, *[n / 1e5] * (cells - 1)],  # the first one imports
                "score": [9.0, *[n / 1e6] * (cells - 1)],
            }
            seconds = {kind: of for kind, of in seconds.items() if of}
            wall = sum(map(sum, seconds.values())) + 3 + 0.01 * cells
            found.append((factor, growth.Run(size, n, cost(0.5, wall, wall, 0.1), seconds)))
    return found


def test_slopes_and_estimates_are_those_of_the_growth(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    growth, runs = scripts["growth"], runs_of(scripts)
    slopes = {row[1]: row[3] for row in growth.table_of_slopes(runs).rows if row[0] == "cases"}
    assert slopes["training a method"] == pytest.approx(1.5)
    assert slopes["making the cohort"] == pytest.approx(1)
    assert slopes["most memory of the run"] == pytest.approx(0, abs=1e-9)
    table = growth.estimate(runs, 94_000, (20, 25), None)
    each = {row[0]: row[2] for row in table.rows}
    hours = {row[0]: row[3] for row in table.rows}
    assert each["training a method"] == pytest.approx(1e-5 * 94_000**1.5)
    assert each["scoring them"] == pytest.approx(0.094)
    assert each["beside the stages (imports, planning, tables, report)"] == pytest.approx(3 + 0.01 * 500)
    expected = 94 + 20 * 1e-5 * 94_000**1.5 + 500 * (0.94 + 0.094) + 8
    assert hours["**in all, one process with one thread**"] == pytest.approx(expected / 3600)
    assert "Extrapolated: the largest cohort that was measured has 16,000 cases" in table.note
    assert "Interpolated" in growth.estimate(runs, 16_000, (20, 25), None).note
    assert any("not measured (no GPU" in str(row[0]) for row in table.rows)
    assert growth.estimate(runs, 160_001, (20, 25), None).rows == []

    step = {"generated_tokens_per_second": [10.0, 100.0, 120.0], "tokens_per_answer": 55.0}
    (tmp_path / "policy.json").write_text(
        json.dumps({"shape": "small", "device": "a GPU", "policy_optimisation": step})
    )
    one, eight = growth.estimate(runs, 94_000, (20, 25), tmp_path / "policy.json").rows[-2:]
    assert one[2] == pytest.approx(0.5)  # 55 tokens at 110 a second: the first step warms up
    assert one[3] == pytest.approx(18_800 * 500 * 0.5 / 3600) == pytest.approx(8 * eight[3])


def test_the_benchmark_of_a_size_has_that_size(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    from eagbench.config.loading import load_benchmark

    size = {"patients": 300, "conditions": 4, "methods": 5, "seeds": 3}
    (tmp_path / "growth.yaml").write_text(scripts["growth"].benchmark_of(size))
    benchmark = load_benchmark(tmp_path / "growth.yaml").benchmark
    assert len(benchmark.methods) == 5
    assert sum(len(np.atleast_1d(condition.severity)) for condition in benchmark.conditions) == 4
    assert list(benchmark.seeds) == [0, 1, 2]
