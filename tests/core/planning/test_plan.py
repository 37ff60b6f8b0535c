"""The plan: what is shared, what is refused, what every method meets alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from eagbench.api import StageRun, StrictParams
from eagbench.config.loading import load_benchmark
from eagbench.contracts.records import Cases, TrainingData
from eagbench.contracts.stages import CasesInput, LabelsInput, StageNode, StageOutput, TrainingInput, no_progress
from eagbench.errors import UserError
from eagbench.execution.computing import compute_stage
from eagbench.execution.resolve import resolve
from eagbench.execution.store import Store
from eagbench.planning import stage_graph
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.code_versions import CodeVersion
from eagbench.registry.plugins import Registry, load_registry, registered

BENCHMARK = """\
name: planned
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2}}
reference_expert: logistic_regression
methods: {methods}
conditions:
  - clean
  - {{name: feature_order, severity: [0.5]}}
  - {{name: missing_values, level: [1, 3]}}
seeds: [0, 1]
metrics: [auroc]
"""


def planned(
    folder: Path, root: Path, methods: str = "[lightgbm, logistic_regression]", registry: Registry | None = None
) -> tuple[Plan, Store]:
    path = folder / "b.yaml"
    path.write_text(BENCHMARK.format(root=root, methods=methods))
    store = Store.open(folder / "store")
    return make_plan(load_benchmark(path), registry or load_registry(), store), store


def cohort_of(plan: Plan) -> str:
    return plan.transfer.domains[0].cohort.fingerprint


def nodes_of(plan: Plan, kind: str) -> list[StageNode]:
    return [node for node in plan.nodes if node.kind == kind]


def test_stages_are_shared_and_ordered(tmp_path: Path, physionet_root: Path) -> None:
    plan, _ = planned(tmp_path, physionet_root)
    assert len(nodes_of(plan, "cohort")) == len(nodes_of(plan, "split")) == 1
    # The reference expert is the method's own: one fit per expert and seed.
    assert len(nodes_of(plan, "expert")) == 2 * 2
    assert len(nodes_of(plan, "predict")) == len(nodes_of(plan, "score")) == 2 * 2 * 4
    position = {node.fingerprint: i for i, node in enumerate(plan.nodes)}
    assert all(position[up.fingerprint] < position[node.fingerprint] for node in plan.nodes for up in node.upstream())


def test_levels_are_the_perturbations_own_severities(tmp_path: Path, physionet_root: Path) -> None:
    plan, _ = planned(tmp_path, physionet_root)
    component: Any = load_registry().get("perturbation", "missing_values").component
    severities = [c.severity for c in plan.conditions if c.name == "missing_values"]
    assert severities == [component.traits.levels[0], component.traits.levels[2]]


def test_moved_data_are_the_same_data(tmp_path: Path, physionet_root: Path) -> None:
    import shutil

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    moved = shutil.copytree(physionet_root, tmp_path / "elsewhere")
    here, _ = planned(tmp_path / "a", physionet_root)
    there, _ = planned(tmp_path / "b", moved)
    assert cohort_of(here) == cohort_of(there)
    outcomes = moved / "Outcomes-a.txt"
    outcomes.write_text(outcomes.read_text() + "\n")
    changed, _ = planned(tmp_path / "b", moved)
    assert cohort_of(changed) != cohort_of(here)


def test_a_method_that_reads_text_needs_a_policy(tmp_path: Path, physionet_root: Path) -> None:
    with pytest.raises(UserError, match="names no policy"):
        planned(tmp_path, physionet_root, "[{name: prompt, style: vanilla}]")


def test_the_core_code_behind_a_stage_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, physionet_root: Path
) -> None:
    plan, _ = planned(tmp_path, physionet_root)
    original = stage_graph.code_version

    def changed(*modules: str) -> CodeVersion:
        found = original(*modules)
        return replace(found, version="changed") if modules[0] == "eagbench.stages.score" else found

    monkeypatch.setattr(stage_graph, "code_version", changed)
    other, _ = planned(tmp_path, physionet_root)
    assert nodes_of(plan, "predict")[0].fingerprint == nodes_of(other, "predict")[0].fingerprint
    assert nodes_of(plan, "score")[0].fingerprint != nodes_of(other, "score")[0].fingerprint


def peek(run: StageRun) -> None:
    """A stage that must never be allowed to run."""


class Cheat:
    name: ClassVar[str] = "cheat"
    reads: ClassVar[str] = "columns"

    class Params(StrictParams):
        how: str = "labels"

    def __init__(self, params: Any) -> None:
        self.params = params

    def stages(self, plan: Any) -> Mapping[str, StageNode]:
        split = plan.training.split
        forbidden: Any = {
            "labels": LabelsInput(split),
            "held_out": CasesInput(split, plan.fold, "held_out"),
        }
        if self.params.how == "hidden":
            inner = plan.stage("sft", "inner", peek, {}, {"x": CasesInput(split, plan.fold, "held_out")})
            return {"model": plan.stage("sft", "outer", peek, {}, {"inner": inner})}
        return {"model": plan.stage("sft", "peek", peek, {}, {"x": forbidden[self.params.how]})}

    def predict(self, cases: Any, run: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("how", ["labels", "held_out", "hidden"])
def test_a_method_can_not_see_held_out_cases_in_training(tmp_path: Path, physionet_root: Path, how: str) -> None:
    known = load_registry()
    cheat = registered("method", Cheat, "tests", "eagbench")
    registry = Registry({**known.components, ("method", "cheat"): (cheat,)}, ())
    with pytest.raises(ValueError, match="sees held-out cases"):
        planned(tmp_path, physionet_root, f"[{{name: cheat, how: {how}}}]", registry)


def test_inputs_are_what_they_are_declared_to_be(tmp_path: Path, physionet_root: Path) -> None:
    plan, store = planned(tmp_path, physionet_root)
    for node in (plan.transfer.domains[0].cohort, plan.transfer.domains[0].split):
        assert compute_stage(node, store, fresh=False, progress=no_progress).status == "computed"
    for node in plan.nodes:
        for name, value in node.inputs.items():
            if isinstance(value, StageOutput):
                continue
            given = resolve(StageNode("x", "x", "x:x", {}, {name: value}, ""), store.folder)[name]
            if isinstance(value, TrainingInput):
                assert isinstance(given, TrainingData)
            elif isinstance(value, CasesInput):
                assert isinstance(given, Cases)
                assert not hasattr(given, "labels")
            else:
                assert node.kind in {"score", "references"}


def test_every_method_meets_the_same_perturbed_records(tmp_path: Path, physionet_root: Path) -> None:
    plan, store = planned(tmp_path, physionet_root)
    for node in (plan.transfer.domains[0].cohort, plan.transfer.domains[0].split):
        compute_stage(node, store, fresh=False, progress=no_progress)
    by_severity: dict[float, list[Cases]] = {}
    for node in nodes_of(plan, "predict"):
        value = node.inputs["cases"]
        assert isinstance(value, CasesInput)
        if value.condition.name == "missing_values":
            assert value.condition.severity is not None
            given = resolve(StageNode("x", "x", "x:x", {}, {"cases": value}, ""), store.folder)["cases"]
            by_severity.setdefault(value.condition.severity, []).append(given)
    for group in by_severity.values():
        assert len(group) == 4  # two methods, two seeds
        for other in group[1:]:
            for a, b in zip(group[0], other, strict=True):
                np.testing.assert_array_equal(a.values, b.values)
    low, high = (by_severity[s][0] for s in sorted(by_severity))
    for a, b in zip(low, high, strict=True):
        assert not (np.isnan(a.values) & ~np.isnan(b.values)).any()  # what is lost stays lost


REREAD = """\
name: reread
data: {{name: physionet2012, root: {root}}}
{reference}
policy: {{name: {policy}}}
record_text: {{values: quantile, periods: 1, instructions: short}}
methods: [lightgbm, {{name: prompt, style: question_decomposition}}]
conditions: [clean, {{name: missing_values, severity: [0.5]}}]
metrics: [auroc{metrics}]
"""


def plan_to_reread(folder: Path, root: Path, metrics: str, reference: str = "lightgbm", policy: str = "tiny") -> Plan:
    path = folder / "reread.yaml"
    named = f"reference_expert: {reference}" if reference else ""
    path.write_text(REREAD.format(root=root, reference=named, metrics=metrics, policy=policy))
    return make_plan(load_benchmark(path), load_registry(), Store.open(folder / "store"))


def test_a_method_is_asked_again_about_unchanged_conditions_if_a_metric_reads_it(
    tmp_path: Path, physionet_root: Path
) -> None:
    metrics = ", citation_comprehensiveness, citation_sufficiency_over_control"
    plan = plan_to_reread(tmp_path, physionet_root, metrics)
    [expert, prompted] = nodes_of(plan, "reread")
    assert (expert.function, prompted.function) == (
        "eagbench.stages.reread:by_expert",
        "eagbench.stages.reread:by_method",
    )
    assert prompted.params["answer"]["mode"] == "expectation"
    assert prompted.params["readings"] == [
        "reread_as_is", "reread_swapped_all_but_cited", "reread_swapped_all_but_control", "reread_swapped_cited"
    ]  # fmt: skip
    assert sum("reread" in cell.score.inputs for cell in plan.cells if cell.score is not None) == 2
    plain = plan_to_reread(tmp_path, physionet_root, "")
    assert not nodes_of(plain, "reread")
    # Nothing else is computed anew because a metric asks again.
    before = {node.fingerprint for node in plain.nodes if node.kind not in {"score", "references"}}
    assert before <= {node.fingerprint for node in plan.nodes}
    assert not nodes_of(plan_to_reread(tmp_path, physionet_root, metrics, reference=""), "reread")


def test_a_policy_that_gives_no_probabilities_is_not_asked_again(tmp_path: Path, physionet_root: Path) -> None:
    policy = "openai, model: m, base_url: 'http://localhost:1/v1', logprobs: 0"
    with pytest.raises(UserError, match=r"citation_sufficiency asks again by expectation"):
        plan_to_reread(tmp_path, physionet_root, ", citation_sufficiency", policy=policy)
