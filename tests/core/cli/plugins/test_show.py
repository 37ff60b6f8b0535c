"""`plugins show` says what a component is, its parameters, and a benchmark that plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.cli.plugins.show import show
from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from tests.conftest import Finished

Cli = Callable[..., Finished]


def test_a_component_is_shown_with_its_package_file_and_parameters(cli: Cli) -> None:
    shown = cli("plugins", "show", "lightgbm")
    assert shown.code == 0
    assert "lightgbm: expert" in shown.out
    assert "(plugin eagbench_experts, register_experts)" in shown.out
    assert "experts/gradient_boosting.py, line " in shown.out
    lines = [line.strip() for line in shown.out.splitlines()]
    at = next(i for i, line in enumerate(lines) if line.startswith("num_leaves "))
    assert lines[at].split(maxsplit=1)[1] == "int (>= 2), default 15"
    assert lines[at + 1] == "Number of leaves per tree."
    assert "num_leaves: 15" in shown.out


def test_an_unknown_name_gets_the_nearest(cli: Cli) -> None:
    refused = cli("plugins", "show", "lightgmb")
    assert refused.code == 2
    assert "did you mean 'lightgbm'?" in refused.err
    refused = cli("plugins", "show", "lightgbm", "--kind", "metric")
    assert refused.code == 2
    assert "there is no metric called 'lightgbm'" in refused.err


def test_what_only_the_reader_knows_is_to_be_filled_in(cli: Cli) -> None:
    shown = cli("plugins", "show", "tjh").out
    assert "fill in root:" in shown
    assert "root: FOLDER" in shown


BUILT_IN = [(item.kind, item.name) for item in load_registry()]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=[f"{kind}-{name}" for kind, name in BUILT_IN])
def test_the_benchmark_of_every_component_plans(kind: str, name: str, tmp_path: Path) -> None:
    shown = show(name, kind)
    assert "(it has no docstring)" not in shown
    file = tmp_path / "shown.yaml"
    file.write_text(shown[shown.index("# eagbench run FILE") :])
    benchmark = load_benchmark(file)
    if "fill in" not in shown.rpartition("# eagbench run FILE")[0]:
        plan = make_plan(benchmark, load_registry(), Store.open(tmp_path / "store"))
        assert any(cell.score is not None for cell in plan.cells)


def test_every_parameter_of_a_built_in_component_is_explained() -> None:
    silent = [
        f"{kind} {name}: {line.split()[0]}"
        for kind, name in BUILT_IN
        for line, below in _parameters(show(name, kind))
        if not below.startswith(" " * 25)
    ]
    assert not silent


def _parameters(shown: str) -> list[tuple[str, str]]:
    """Each line that names a parameter, and the one below."""
    section = shown.partition("\nparameters\n")[2].partition("\na benchmark with it")[0].split("\n")
    pairs = zip(section, [*section[1:], ""], strict=True)
    return [(line, below) for line, below in pairs if line.startswith("  ") and line[2:3].strip()]
