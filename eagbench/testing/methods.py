"""Conformance tests for methods. They really run a small benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from eagbench.config.loading import load_benchmark
from eagbench.contracts.answers import Prediction
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.stages import StageNode, StageRun
from eagbench.execution.progress import Reporter
from eagbench.execution.resolve import resolve
from eagbench.execution.runner import run_plan
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.testing.blocks import in_blocks
from eagbench.testing.cases import content
from eagbench.testing.component import ComponentConformance


@dataclass(frozen=True)
class Ran:
    """A method whose stages have run.

    Attributes:
        path: The benchmark's file.
        store: The store of its stages.
        node: Its stage `predict`.
        inputs: The inputs of that stage.
    """

    path: Path
    store: Store
    node: StageNode
    inputs: Mapping[str, Any]

    @property
    def cases(self) -> Cases:
        """The held-out cases."""
        cases: Cases = self.inputs["cases"]
        return cases

    def predict(self, cases: Cases, folder: Path) -> Sequence[Prediction]:
        """Predict cases with a new instance."""
        registry = load_registry()
        use = self.node.component
        assert use is not None
        params = registry.params("method", use.name, use.params)
        inputs = {**self.inputs, "cases": cases}
        folder.mkdir(parents=True, exist_ok=True)
        component = registry.create("method", use.name, use.params)
        run = StageRun(self.node.params, inputs, self.node.seed or 0, folder, component, params)
        return list(component.predict(cases, run))


class MethodConformance(ComponentConformance):
    """A method trains through declared stages, and answers a held-out case the same at any time and in any batch.

    The method must be registered, so install its package. You may override the fixtures `data` (the benchmark's
    `data:`; by default MIMIC-IV-shaped synthetic records, which take half a minute), `policy`, `store_folder` and
    `other_store_folder`.

    Attributes:
        patients: Number of patients in the benchmark.
    """

    kind: ClassVar[str] = "method"
    patients: ClassVar[int] = 120

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> Mapping[str, Any]:
        """Return the data set."""
        return {"name": "mimic4", "root": "synthetic"}

    @pytest.fixture(scope="class")
    @classmethod
    def policy(cls) -> Mapping[str, Any]:
        """Return the policy: small, and pre-trained for its format only briefly."""
        return {"name": "tiny", "steps": 120, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def store_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the folder of the store.

        A store that several classes share saves the stages that they have in common.
        """
        return tmp_path_factory.mktemp("store")

    @pytest.fixture(scope="class")
    @classmethod
    def other_store_folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the folder of an empty store, to train once more.

        Share it between classes if you share the first one.
        """
        return tmp_path_factory.mktemp("other_store")

    @pytest.fixture(scope="class")
    @classmethod
    def benchmark_file(
        cls,
        given_params: Mapping[str, Any],
        data: Mapping[str, Any],
        policy: Mapping[str, Any],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Path:
        """Write a benchmark with this method alone."""
        tree = {
            "name": "conformance",
            "data": {key: str(value) if isinstance(value, Path) else value for key, value in data.items()},
            "split": {"train": 0.5, "tuning": 0.2, "held_out": 0.3, "seed": 0},
            "policy": dict(policy),
            "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
            "answer": "expectation",
            "methods": [{"name": cls.component.name, **given_params}],
            "metrics": ["brier"],
        }
        path = tmp_path_factory.mktemp("benchmark") / "benchmark.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return path

    @classmethod
    def plan(cls, path: Path, store: Store, seed: int = 0) -> Plan:
        """Plan the benchmark."""
        return make_plan(load_benchmark(path, seeds=(seed,)), load_registry(), store, limit=cls.patients)

    @pytest.fixture(scope="class")
    @classmethod
    def ran(cls, benchmark_file: Path, store_folder: Path) -> Ran:
        """Train the method and predict the held-out cases."""
        assert load_registry().get("method", cls.component.name).component is cls.component
        store = Store.open(store_folder)
        plan = cls.plan(benchmark_file, store)
        result = run_plan(plan, store, Reporter(quiet=True))
        failed = [outcome.details or outcome.reason for outcome in result.outcomes.values() if outcome.reason]
        assert not failed, "\n".join(map(str, failed))
        node = _predict_node(plan)
        return Ran(benchmark_file, store, node, resolve(node, store.folder))

    def test_every_held_out_case_is_answered_once(self, ran: Ran) -> None:
        """Each answer has a probability, or None if it could not be parsed."""
        rows = pq.read_table(ran.store.folder(ran.node) / "predictions.parquet").to_pylist()
        assert [row["case_id"] for row in rows] == list(ran.cases.case_ids)
        assert len(rows) > 1
        assert all(row["probability"] is None or 0 <= row["probability"] <= 1 for row in rows)

    def test_asked_again_it_answers_the_same(self, ran: Ran, tmp_path: Path) -> None:
        """The folders of its stages are enough to answer again, and the cases stay unchanged."""
        stored = pq.read_table(ran.store.folder(ran.node) / "predictions.parquet")["probability"].to_pylist()
        before = content(ran.cases)
        assert [p.probability for p in ran.predict(ran.cases, tmp_path)] == stored
        assert content(ran.cases) == before

    def test_cases_of_a_large_cohort_do_as_well(self, ran: Ran, tmp_path: Path) -> None:
        """Cases that are read in blocks, and again in every pass, get the same answers."""
        stored = pq.read_table(ran.store.folder(ran.node) / "predictions.parquet")["probability"].to_pylist()
        assert [p.probability for p in ran.predict(in_blocks(ran.cases), tmp_path)] == stored

    def test_none_and_one(self, ran: Ran, tmp_path: Path) -> None:
        """An empty batch is allowed, and a case gets the same answer alone as in a batch."""
        stored = pq.read_table(ran.store.folder(ran.node) / "predictions.parquet")["probability"].to_pylist()
        assert list(ran.predict(ran.cases.select([]), tmp_path / "none")) == []
        [alone] = ran.predict(ran.cases.select([0]), tmp_path / "one")
        assert alone.case_id == ran.cases[0].case_id
        assert alone.probability == (None if stored[0] is None else pytest.approx(stored[0], abs=1e-3))

    def test_trained_again_it_answers_the_same(self, ran: Ran, other_store_folder: Path) -> None:
        """Training from scratch with the same seed, in another store, gives the same answers."""
        store = Store.open(other_store_folder)
        plan = self.plan(ran.path, store)
        result = run_plan(plan, store, Reporter(quiet=True))
        assert {result.cell_status(cell) for cell in plan.cells} == {"ok"}
        first, again = (
            pq.read_table(s.folder(node) / "predictions.parquet")["probability"].to_pylist()
            for s, node in ((ran.store, ran.node), (store, _predict_node(plan)))
        )
        assert again == first

    def test_a_case_whose_features_never_change_is_answered(self, ran: Ran, tmp_path: Path) -> None:
        """In the tested case, each feature has its first value at every time."""
        case: Case = ran.cases[0]
        measured = ~np.isnan(case.values)
        first = case.values[measured.argmax(axis=0), np.arange(len(case.features))]
        constant = replace(case, case_id="constant", values=np.where(measured, first, case.values))
        [answer] = ran.predict(ran.cases.with_items([constant]), tmp_path)
        assert answer.case_id == "constant"
        assert answer.probability is None or 0 <= answer.probability <= 1

    def test_a_case_without_a_measurement_is_answered(self, ran: Ran, tmp_path: Path) -> None:
        """One tested case has a time without a measurement, and one has no time at all."""
        case: Case = ran.cases[0]
        empty = [
            Case(
                f"empty-{n}",
                f"empty-{n}",
                case.features,
                case.times[:n].copy(),
                case.values[:n].copy() * np.float32("nan"),
                dict.fromkeys(case.static, float("nan")),
            )
            for n in (0, 1)
        ]
        answers = ran.predict(ran.cases.with_items(empty), tmp_path)
        assert [answer.case_id for answer in answers] == ["empty-0", "empty-1"]
        assert all(answer.probability is None or 0 <= answer.probability <= 1 for answer in answers)

    def test_the_plan_depends_on_the_seed_alone(self, ran: Ran) -> None:
        """The same seed gives the same stages; another seed gives other predictions."""
        first, again, other = (_predict_node(self.plan(ran.path, ran.store, seed)) for seed in (0, 0, 1))
        assert first.fingerprint == again.fingerprint != other.fingerprint


def _predict_node(plan: Plan) -> StageNode:
    [cell] = plan.cells
    assert cell.score is not None
    [fold] = cell.folds
    return fold.predict
