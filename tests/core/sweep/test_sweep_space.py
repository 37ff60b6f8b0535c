"""The search space: conditions, whole components, what the benchmark as written is in it, and what is tried first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.config.loading import LoadedBenchmark, load_benchmark
from eagbench.registry.plugins import load_registry
from eagbench.sweep.defaults import default_drawn, value_at
from eagbench.sweep.file import DistributionSpec, LoadedSweep, load_sweep
from eagbench.sweep.sampling import make_pruner, make_sampler
from eagbench.sweep.space import Parameter, Space, is_same

BENCHMARK = """\
name: small
extends: [{tiny}]
data: {{name: physionet2012, root: nowhere}}
methods:
  - {{name: lightgbm, num_leaves: 7}}
  - {{name: eag_rl, as: guided, expert: lightgbm, policy_optimisation: {{steps: 4}}}}
metrics: [auroc]
"""
SWEEP = """\
name: tuned
benchmark: small.yaml
space:
  methods.guided.search.exploration: {float: [0.1, 3.0], log: true, when: {methods.guided.search: expert_mcts}}
  methods.guided.search: {categorical: [expert_mcts, {name: best_of_n, temperature: 0.5}, {name: greedy}]}
  methods.guided.policy_optimisation.steps: {int: [2, 10], step: 4}
  methods.guided.reward: {categorical: [eag, {name: eag, preset: released_code}, brier]}
  methods.lightgbm.num_leaves: {int: [4, 64], log: true}
objectives: [{metric: auroc, method: guided}]
trials: 3
"""


def loaded(folder: Path, sweep: str = SWEEP) -> tuple[LoadedSweep, LoadedBenchmark]:
    tiny = Path(__file__).parents[3] / "configs" / "policies" / "tiny.yaml"
    (folder / "small.yaml").write_text(BENCHMARK.format(tiny=tiny))
    (folder / "sweep.yaml").write_text(sweep)
    return load_sweep(folder / "sweep.yaml"), load_benchmark(folder / "small.yaml")


def test_the_documented_sweep_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text()
    block, rungs, storage = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    (tmp_path / "sweep.yaml").write_text(block)
    documented = load_sweep(tmp_path / "sweep.yaml")
    assert len(list(Space(documented))) == len(documented.sweep.space) == 4
    monkeypatch.setenv("SWEEP_STORAGE", "postgresql://me@dbhost/sweeps")
    climbing, _ = loaded(tmp_path, SWEEP + rungs + storage)
    assert climbing.sweep.storage == "postgresql://me@dbhost/sweeps"
    assert climbing.sweep.rungs == {"training_share": (0.25, 0.5, 1.0)}
    make_pruner(climbing)


def test_a_condition_decides_what_is_drawn(tmp_path: Path) -> None:
    space = Space(loaded(tmp_path)[0])
    search, exploration = "methods.guided.search", "methods.guided.search.exploration"
    for choice in space[search].choices.values():
        values = space.draw(lambda p, choice=choice: choice if p.path == search else p.extremes()[0])  # type: ignore[misc]
        assert (exploration in values) == (choice == "expert_mcts")


def test_values_reach_the_benchmark_as_the_user_would_have_written_them(tmp_path: Path) -> None:
    sweep, benchmark = loaded(tmp_path)
    space = Space(sweep)
    values = {
        "methods.guided.search.exploration": 0.5,
        "methods.guided.search": "expert_mcts",
        "methods.guided.policy_optimisation.steps": 6,
        "methods.lightgbm.num_leaves": 12,
    }
    before = repr(benchmark.source.tree)
    tree = space.put(benchmark.source, values).tree
    assert tree["methods"] == [
        {"name": "lightgbm", "num_leaves": 12},
        {
            "name": "eag_rl",
            "as": "guided",
            "expert": "lightgbm",
            "search": {"name": "expert_mcts", "exploration": 0.5},
            "policy_optimisation": {"steps": 6},
        },
    ]
    assert repr(benchmark.source.tree) == before


def test_a_method_that_is_exchanged_keeps_its_label(tmp_path: Path) -> None:
    text = SWEEP[: SWEEP.index("  methods.guided.search.e")] + (
        "  methods.lightgbm: {categorical: [lightgbm, {name: logistic_regression}]}\n"
        "objectives: [{metric: auroc, method: lightgbm}]\ntrials: 3\n"
    )
    sweep, benchmark = loaded(tmp_path, text)
    tree = Space(sweep).put(benchmark.source, {"methods.lightgbm": {"name": "logistic_regression"}}).tree
    assert tree["methods"][0] == {"as": "lightgbm", "name": "logistic_regression"}


def test_the_benchmark_as_written_is_found_among_defaults(tmp_path: Path) -> None:
    sweep, benchmark = loaded(tmp_path)
    registry = load_registry()
    # Written, a component's default, and a default within a component that itself is a default.
    assert value_at("methods.lightgbm.num_leaves", benchmark, registry) == 7
    assert value_at("methods.lightgbm.subsample", benchmark, registry) == 0.8
    assert value_at("methods.guided.search.exploration", benchmark, registry) == 1.0
    assert value_at("methods.guided.policy_optimisation.steps", benchmark, registry) == 4
    assert value_at("record_text.bins", benchmark, registry) == 10
    assert value_at("data.window_hours", benchmark, registry) == 48
    with pytest.raises(LookupError):
        value_at("methods.lightgbm.depth", benchmark, registry)
    # 4 is not among 2, 6, 10.
    with pytest.raises(ValueError, match=r"policy_optimisation.steps: 4 is not in \[2, 10\] in steps of 4"):
        default_drawn(Space(sweep), benchmark, registry)
    sweep, benchmark = loaded(tmp_path, SWEEP.replace("step: 4", "step: 2"))
    assert default_drawn(Space(sweep), benchmark, registry) == {
        "methods.guided.search": "expert_mcts",
        "methods.guided.search.exploration": 1.0,
        "methods.guided.policy_optimisation.steps": 4,
        "methods.guided.reward": "eag",
        "methods.lightgbm.num_leaves": 7,
    }


def test_every_end_and_choice_is_tried_under_its_conditions(tmp_path: Path) -> None:
    probes = list(Space(loaded(tmp_path)[0]).probes())
    tried = {(path, repr(values[path])) for values in probes for path in values}
    assert ("methods.guided.policy_optimisation.steps", "10") in tried
    assert ("methods.guided.reward", "'brier'") in tried
    exploring = [values for values in probes if "methods.guided.search.exploration" in values]
    assert sorted(values["methods.guided.search.exploration"] for values in exploring) == [0.1, 3.0]
    assert {values["methods.guided.search"] for values in exploring} == {"expert_mcts"}


@given(low=st.integers(-20, 20), steps=st.integers(1, 9), step=st.integers(1, 7), value=st.integers(-30, 90))
def test_what_is_in_a_distribution_is_what_optuna_accepts(low: int, steps: int, step: int, value: int) -> None:
    width = steps * step
    spec = DistributionSpec.model_validate({"int": [low, low + width], "step": step})
    parameter = Parameter("p", spec, "here")
    if (value - low) % step == 0 and low <= value <= low + width:
        assert parameter.drawn_of(value) == value
        study = optuna.create_study()
        study.enqueue_trial({"p": value})
        assert parameter.suggest(study.ask()) == value
    else:
        with pytest.raises(ValueError, match="is not in"):
            parameter.drawn_of(value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("lightgbm", {"name": "lightgbm"}, True),
        ("lightgbm", {"name": "lightgbm", "seed": 1}, False),
        (1, True, False),
        (0, False, False),
        (1, 1.0, True),
        (None, None, True),
        ([1, 2], [1, 2], True),
    ],
)
def test_what_is_the_same(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is is_same(other, one) is same


def test_each_trial_draws_anew_and_the_same_again(tmp_path: Path) -> None:
    sweep, _ = loaded(tmp_path)
    space = Space(sweep)

    def drawn(number: int) -> dict[str, Any]:
        study = optuna.create_study(sampler=make_sampler(sweep, number))
        trial = study.ask()
        return space.draw(lambda parameter: parameter.suggest(trial))

    assert drawn(3) == drawn(3)
    assert len({repr(drawn(number)) for number in range(6)}) == 6
