"""Transfer between domains: what is shared, who is trained on, what is refused; known answers on planted domains."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from eagbench.api import Case, Cases, Cohort, Feature, Provenance, StrictParams, Task, vocabulary
from eagbench.config.loading import load_benchmark
from eagbench.contracts.stages import CasesInput, StageNode, StageRun, TrainingInput, no_progress
from eagbench.contracts.traits import DatasetTraits
from eagbench.errors import UserError
from eagbench.execution.computing import compute_stage
from eagbench.execution.resolve import resolve
from eagbench.execution.stage_files import file_hash
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry, registered
from eagbench.report.figures.transfer import UNREAD_MARK
from eagbench.report.page.blocks import FigureBlock
from eagbench.report.sections.comparisons import p_value
from eagbench.report.sections.transfer import coverage_table, gap_table, matrix_table, transfer
from eagbench.runs.reader import RunFolder
from eagbench.runs.schema import OWN_HASH, own_hash
from eagbench.runs.verify.verify import verify
from eagbench.stages.domains import covariate_shift, read_shift
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stats.bootstrap import patient_weights
from tests.builders import make_case, make_cohort_cases
from tests.conftest import Finished

Cli = Callable[..., Finished]
CONCEPTS = ("heart_rate", "glucose", "creatinine")
UNITS = ("north", "south", "west")


class Planted:
    """A small hospital: three concepts, death more likely with a higher heart rate and glucose."""

    name: ClassVar[str] = "planted"

    class Params(StrictParams):
        """`like_si` keeps glucose in mmol/L in the source; `reverse` lists concepts backwards; `extra` adds one.

        `faster` is added to every heart rate; `rows` is how often the same values are written down.
        """

        seed: int = 0
        like_si: bool = False
        reverse: bool = False
        extra: str | None = None
        wrong_unit: bool = False
        unsaid_unit: bool = False
        without: tuple[str, ...] = ()
        hospital: str | None = None
        hospital_unknown: bool = False
        task: str = "in_hospital_mortality"
        window_hours: float = 24.0
        rate: float = 0.4
        patients: int = 240
        faster: float = 0.0
        rows: int = 2

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def traits(self) -> DatasetTraits:
        named = () if self.params.hospital is None else (self.params.hospital,)
        return DatasetTraits(groups={"ward": UNITS}, hospitals=None if self.params.hospital_unknown else named)

    def access(self) -> Any:
        return "open"

    def files(self) -> list[Path]:
        return []

    def generate(self, run: Any) -> None:
        """Nothing is written: `load` draws."""

    def load(self, run: Any) -> Cohort:
        params, words = self.params, vocabulary()
        rng = np.random.default_rng(params.seed)
        n = params.patients
        level = {
            "heart_rate": rng.normal(85, 12, n),
            "glucose": rng.normal(140, 25, n),
            "creatinine": rng.normal(1, 0.1, n),
        }
        score = (level["heart_rate"] - 85) / 12 + (level["glucose"] - 140) / 25
        labels = (score + rng.normal(0, 0.5, n) > np.quantile(score, 1 - params.rate)).astype(int)
        level["heart_rate"] += params.faster
        ward = [UNITS[i % 3] for i in range(n)]
        names = [name for name in CONCEPTS if name not in params.without]
        if params.extra:
            names.append(params.extra)
            level[params.extra] = rng.normal(50, 5, n)
        if params.reverse:
            names.reverse()
        if params.like_si:
            in_mmol = level["glucose"] / words.to_canonical("glucose", 1.0, "mmol/L")
            level["glucose"] = words.to_canonical("glucose", in_mmol, "mmol/L")
        if params.unsaid_unit:
            level["glucose"] = level["glucose"] / words.to_canonical("glucose", 1.0, "mmol/L")
        features = tuple(_feature(name, params.wrong_unit) for name in names)
        items = [
            Case(
                case_id=f"c{i}",
                patient_id=f"p{i // 2}",  # two stays of each patient, in different wards
                features=tuple(names),
                times=np.arange(1.0, params.rows + 1),
                values=np.array([[level[name][i] for name in names]] * params.rows, dtype=np.float32),
                static={"age": 60.0 + i % 20, "sex": float(i % 2), "ward": float(i % 3)},
            )
            for i in range(n)
        ]
        task = Task(params.task, "die", "a physician", params.window_hours)
        provenance = Provenance("planted", "open", "nobody", False, n)
        cases = Cases(features, ("age", "sex", "ward"), task, tuple(items))
        return Cohort(cases, labels, provenance, groups={"ward": tuple(ward)})


def _feature(name: str, wrong_unit: bool) -> Feature:
    if name not in vocabulary().names:
        return Feature(name, name, "1", (0, 100))
    known = vocabulary().feature(name)
    return Feature(known.name, known.label, "mmol/L", known.plausible) if wrong_unit and name == "glucose" else known


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    item = registered("dataset", Planted, "tests", "eagbench")
    monkeypatch.setitem(load_registry().components, ("dataset", "planted"), (item,))  # type: ignore[arg-type]


HEAD = """\
name: crossed
split: {train: 0.6, tuning: 0.2, held_out: 0.2}
methods: [logistic_regression]
metrics: [auroc, brier]
intervals: {resamples: 100}
"""
TWO = """\
domains:
  a: {name: planted, seed: 1}
  b: {name: planted, seed: 2%s}
transfer: {train: each}
"""
GENERATED = """\
domains:
  a: {name: mimic4, root: synthetic}
  b: {name: mimic4, root: synthetic%s}
transfer: {train: each}
"""
OTHERS = "domains:\n  a: {name: planted, seed: 4, without: [glucose]}\n"
BY_WARD = """\
data: {name: planted, seed: 3, patients: 600}
domain_by: ward
transfer: {train: %s}
"""


def planned(folder: Path, where: str, head: str = HEAD) -> tuple[Plan, Store]:
    path = folder / "b.yaml"
    path.write_text(head + where)
    store = Store.open(folder / "store")
    return make_plan(load_benchmark(path), load_registry(), store), store


def computed(plan: Plan, store: Store, *kinds: str) -> None:
    for node in plan.nodes:
        if node.kind in kinds:
            outcome = compute_stage(node, store, fresh=False, progress=no_progress)
            if outcome.error is not None:
                raise outcome.error
            assert outcome.status == "computed", outcome.details


def nodes_of(plan: Plan, kind: str) -> list[StageNode]:
    return [node for node in plan.nodes if node.kind == kind]


DATA_STAGES = ("source", "cohort", "split", "domain", "shared_concepts")


def inputs_of(plan: Plan, kind: str, of: type) -> Iterator[Any]:
    for node in nodes_of(plan, kind):
        yield from (value for value in node.inputs.values() if isinstance(value, of))


def test_a_model_is_trained_once_and_asked_everywhere(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, BY_WARD % "[each, all, leave_one_out]")
    assert len(nodes_of(plan, "expert")) == 3 + 1 + 3
    assert len(nodes_of(plan, "predict")) == 3 * 3 + 1 * 3 + 3
    assert len(nodes_of(plan, "cohort")) == len(nodes_of(plan, "split")) == 1
    # One comparison of records for both directions; a pooled domain is compared with the one that it leaves out.
    assert len(nodes_of(plan, "covariate_shift")) == 3 + 3


def test_another_evaluated_domain_costs_inference_only(tmp_path: Path) -> None:
    """Domains of one data set share all concepts, so that training does not depend on where methods are evaluated."""
    few, _ = planned(tmp_path, BY_WARD % "[north], evaluate: [north, south]")
    more, _ = planned(tmp_path, BY_WARD % "[north], evaluate: each")
    new = {n.fingerprint for n in more.nodes} - {n.fingerprint for n in few.nodes}
    kinds = {node.kind for node in more.nodes if node.fingerprint in new}
    assert kinds == {"domain", "covariate_shift", "references", "predict", "score"}


def test_records_meet_in_the_shared_concepts_alone(tmp_path: Path) -> None:
    plan, store = planned(tmp_path, TWO % ", reverse: true, extra: only_here")
    computed(plan, store, *DATA_STAGES)
    for kind, of in (("expert", TrainingInput), ("predict", CasesInput)):
        for value in inputs_of(plan, kind, of):
            given = resolve(StageNode("x", "x", "x:x", {}, {"x": value}, ""), store.folder)["x"]
            for cases in (given.train.cases, given.tuning.cases) if of is TrainingInput else (given,):
                assert cases.feature_names == CONCEPTS
                assert all(case.features == CONCEPTS for case in cases)
                assert cases.static_names == ("age", "sex", "ward")


def test_order_and_units_of_a_domain_do_not_change_a_prediction(tmp_path: Path) -> None:
    """The same patients, listed backwards and measured in other units, get the same probabilities."""
    same = """\
domains:
  a: {name: planted, seed: 1}
  b: {name: planted, seed: 1, reverse: true, like_si: true, extra: only_here}
transfer: {train: [a]}
"""
    plan, store = planned(tmp_path, same)
    computed(plan, store, *DATA_STAGES, "expert", "predict")
    first, second = (
        {r["case_id"]: r["probability"] for r in pq.read_table(store.folder(n) / "predictions.parquet").to_pylist()}
        for n in nodes_of(plan, "predict")
    )
    assert first.keys() == second.keys()
    np.testing.assert_allclose([first[i] for i in first], [second[i] for i in first], rtol=0, atol=1e-6)
    assert np.ptp(list(first.values())) > 0.1


def test_methods_that_read_text_see_all_of_their_record_or_what_is_shared(tmp_path: Path) -> None:
    head = HEAD.replace("[logistic_regression]", "[{name: prompt, style: vanilla}]") + "policy: tiny\n"
    alone, _ = planned(tmp_path, "data: {name: planted, seed: 1}\n", head)
    whole, _ = planned(tmp_path, TWO % ", extra: only_here", head)
    shared, _ = planned(tmp_path, (TWO % ", extra: only_here").replace("each", "each, features: {text: shared}"), head)
    # A policy that reads the whole record is the same work whether or not it is then asked about another domain.
    [policy] = nodes_of(alone, "policy")
    assert policy.fingerprint in {node.fingerprint for node in nodes_of(whole, "policy")}
    assert policy.fingerprint not in {node.fingerprint for node in nodes_of(shared, "policy")}
    assert {value.concepts for value in inputs_of(whole, "predict", CasesInput)} == {None}
    assert {value.concepts for value in inputs_of(shared, "predict", CasesInput)} == {shared.transfer.shared}


def test_the_expert_in_a_method_that_reads_text_is_the_one_that_stands_beside_it(tmp_path: Path) -> None:
    """Text may show all of a record; an expert sees what the domains share, inside of a hybrid or a search as well."""
    methods = """\
methods:
  - logistic_regression
  - {name: hybrid_embedding, expert: logistic_regression}
  - {name: hybrid_prompt, expert: logistic_regression}
  - {name: few_shot, selection: nearest, expert: logistic_regression}
  - {name: trajectory_distillation, expert: logistic_regression, search: expert_mcts}
policy: tiny
"""
    head = HEAD.replace("methods: [logistic_regression]\n", methods)
    plan, _ = planned(tmp_path, (TWO % ", extra: only_here").replace("each", "[b], evaluate: each"), head)
    assert len(nodes_of(plan, "expert")) == len(nodes_of(plan, "salience")) == 1
    for kind in ("expert", "salience"):
        assert {value.concepts for value in inputs_of(plan, kind, TrainingInput)} == {plan.transfer.shared}
    assert {value.concepts for value in inputs_of(plan, "head", TrainingInput)} == {None}


def test_a_hybrid_is_trained_on_further_features_than_its_expert(tmp_path: Path) -> None:
    """The whole path: the shared concepts' salience joins a text that shows one more, and both domains are asked."""
    methods = """\
methods:
  - {name: hybrid_embedding, expert: logistic_regression}
  - {name: few_shot, selection: nearest, expert: logistic_regression, shots: 2}
policy: tiny
record_text: {values: quantile, periods: 1, bins: 4, instructions: short}
"""
    head = HEAD.replace("methods: [logistic_regression]\n", methods)
    where = (TWO % ", extra: only_here, patients: 80").replace("each", "[b], evaluate: each")
    plan, store = planned(tmp_path, where, head)
    computed(plan, store, *{node.kind for node in plan.nodes})
    for node in nodes_of(plan, "salience"):
        names = pq.read_schema(store.folder(node) / "salience.parquet").names
        assert [name for name in names if name.startswith("salience:")] == [f"salience:{name}" for name in CONCEPTS]
    [head_stage] = nodes_of(plan, "head")
    assert json.loads((store.folder(head_stage) / "features.json").read_text()) == list(CONCEPTS)


def shift(store: Store, plan: Plan) -> dict[str, float]:
    computed(plan, store, *DATA_STAGES, "covariate_shift")
    [node] = nodes_of(plan, "covariate_shift")
    found: dict[str, float] = json.loads((store.folder(node) / "covariate_shift.json").read_text())
    return found


@pytest.mark.parametrize(
    ("difference", "by_values", "by_all"),
    [
        ("", (0.35, 0.65), (0.35, 0.65)),
        (", faster: 30", (0.9, 1.0), (0.9, 1.0)),
        (", faster: 12", (0.65, 0.9), (0.65, 0.9)),  # one standard deviation: an AUROC of 0.76 by definition
        (", rows: 5", (0.35, 0.65), (0.99, 1.0)),  # the same values, written down more often
    ],
)
def test_a_shift_of_values_and_one_of_habits_are_told_apart(
    tmp_path: Path, difference: str, by_values: tuple[float, float], by_all: tuple[float, float]
) -> None:
    plan, store = planned(tmp_path, (TWO % difference).replace("each", "[a]"))
    found = shift(store, plan)
    assert by_values[0] <= found["auroc_values"] <= by_values[1]
    assert by_all[0] <= found["auroc"] <= by_all[1]


def test_stays_of_one_patient_in_two_domains_are_not_divided_by_the_domain_classifier(tmp_path: Path) -> None:
    """A classifier that has seen a patient's other stay would call this one by that one's domain: an AUROC near 0."""
    rng = np.random.default_rng(0)
    names = tuple(vocabulary().names[:40])
    level = rng.normal(size=(80, len(names)))  # a patient's, the same in both stays
    first, second = (
        make_cohort_cases(
            [
                make_case(dict(zip(names, ([v] for v in row), strict=True)), case_id=f"{side}{i}", patient_id=f"p{i}")
                for i, row in enumerate(level + 0.1 * rng.normal(size=level.shape))
            ],
            names,
        )
        for side in "ab"
    )
    found = {}
    for one_data_set in (True, False):
        folder = tmp_path / str(one_data_set)
        folder.mkdir()
        inputs = {"first": first, "second": second}
        covariate_shift(StageRun({"one_data_set": one_data_set}, inputs, 0, folder))
        found[one_data_set] = read_shift(folder)["auroc"]
    assert 0.35 < found[True] < 0.65
    assert found[False] < 0.2  # what the ids of two data sets would hide, were they one


def test_a_share_of_moved_features_stays_one_in_the_shared_order() -> None:
    names = tuple(vocabulary().names[:10])
    own = names[::-1]
    concepts = SharedConcepts(names, ())
    case = make_case({name: [float(i)] for i, name in enumerate(own)}, case_id="c")
    swapped = (own[1], own[0], *own[2:])
    moved = dataclasses.replace(case, features=swapped, values=case.values_in_order(swapped))
    gone = dataclasses.replace(case, features=own[1:], values=case.values_in_order(own[1:]))
    clean, found, fewer = concepts.restrict(make_cohort_cases([case, moved, gone], own)).items
    assert clean.features == names
    assert found.features == (names[1], names[0], *names[2:])
    assert fewer.features == names[:-1]  # own[0] is the last in the shared order
    for restricted, before in zip((clean, found, fewer), (case, moved, gone), strict=True):
        np.testing.assert_array_equal(restricted.values_in_order(names), before.values_in_order(names))


def test_nobody_sees_what_divides_the_domains(tmp_path: Path) -> None:
    plan, store = planned(tmp_path, BY_WARD % "[north]")
    computed(plan, store, *DATA_STAGES)
    for value in (*inputs_of(plan, "expert", TrainingInput), *inputs_of(plan, "predict", CasesInput)):
        given = resolve(StageNode("x", "x", "x:x", {}, {"x": value}, ""), store.folder)["x"]
        cases = given if isinstance(given, Cases) else given.train.cases
        assert cases.static_names == ("age", "sex")
        assert all("ward" not in case.static for case in cases)


def test_patients_are_divided_once_over_all_domains(tmp_path: Path) -> None:
    plan, store = planned(tmp_path, BY_WARD % "[each, leave_one_out]")
    computed(plan, store, *DATA_STAGES)
    trained, held_out, wards = set(), set(), {}
    for domain in plan.transfer.domains:
        table = pq.read_table(store.folder(domain.split) / "parts.parquet").to_pylist()
        held_out |= {row["patient_id"] for row in table if row["part"] == "held_out"}
        trained |= {row["patient_id"] for row in table if row["part"] != "held_out"}
        wards[domain.name] = {row["case_id"] for row in table}
    assert not trained & held_out
    # A patient of two wards would be trained on in one and held out in the other, if wards were divided on their own.
    assert wards["all but north"] == wards["south"] | wards["west"]
    assert not wards["north"] & wards["all but north"]


def test_a_perturbation_is_fitted_where_it_is_evaluated(tmp_path: Path) -> None:
    head = HEAD + "conditions: [clean, {name: missing_values, severity: [0.5]}]\n"
    plan, store = planned(tmp_path, TWO % ", extra: only_here", head)
    computed(plan, store, *DATA_STAGES)
    target = next(d for d in plan.transfer.domains if d.name == "b")
    value = next(
        v for v in inputs_of(plan, "predict", CasesInput) if v.split is target.split and v.condition.name != "clean"
    )
    seen: list[Cases] = []
    component: Any = load_registry().get("perturbation", "missing_values").component
    original = component.fit

    def fit(self: Any, cases: Cases) -> None:
        seen.append(cases)
        original(self, cases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component, "fit", fit)
        given = resolve(StageNode("x", "x", "x:x", {}, {"x": value}, ""), store.folder)["x"]
    table = pq.read_table(store.folder(target.split) / "parts.parquet").to_pylist()
    assert set(seen[0].case_ids) == {row["case_id"] for row in table if row["part"] == "train"}
    assert "only_here" in seen[0].feature_names  # the record as it is, before what others lack is hidden
    assert given.feature_names == CONCEPTS
    assert np.isnan(np.concatenate([case.values.ravel() for case in given])).any()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (TWO % ", wrong_unit: true", "glucose is in mmol/L in the domain 'b', expected mg/dL as in the domain 'a'"),
        (
            TWO % ", unsaid_unit: true",
            "glucose seems to be in mmol/L in the domain 'b', expected mg/dL: its median there is 7.[0-9]+, and 1",
        ),
        (
            (TWO % "").replace("seed: 1", "seed: 1, unsaid_unit: true"),
            "glucose seems to be in mmol/L in the domain 'a', expected mg/dL",
        ),
        # The first domain does not measure it, the other two do: what text may show is looked at in every pair.
        *(
            (
                (TWO % f", {how}: true").replace("a: {", "z: {").replace("domains:\n", OTHERS),
                f"glucose {said} in the domain 'b'",
            )
            for how, said in (("unsaid_unit", "seems to be in mmol/L"), ("wrong_unit", "is in mmol/L"))
        ),
        (TWO % ", without: [heart_rate, glucose, creatinine], extra: x", "the domains share no concept"),
        (TWO % ", task: death_in_unit", "ask different questions: in_hospital_mortality and death_in_unit"),
        (TWO % ", window_hours: 48", "show different hours: the first 24 and the first 48"),
    ],
)
def test_domains_that_do_not_fit_stop_the_run(tmp_path: Path, where: str, said: str) -> None:
    plan, store = planned(tmp_path, where)
    assert nodes_of(plan, "shared_concepts")[0].fingerprint in plan.shared()
    with pytest.raises(UserError, match="(?s)" + said.replace("(", r"\(")):
        computed(plan, store, *DATA_STAGES)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("wrong_unit", "glucose is in mmol/L in the domain 'b', expected mg/dL as in the domain 'a'"),
        ("unsaid_unit", "glucose seems to be in mmol/L in the domain 'b', expected mg/dL"),
    ],
)
def test_the_command_stops_at_a_wrong_unit_before_anything_is_trained(
    tmp_path: Path, cli: Cli, store_folder: Path, how: str, said: str
) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(HEAD + TWO % f", {how}: true")
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert not (tmp_path / "out" / "results.csv").exists()
    assert not {"expert", "predict"} & {folder.name for folder in store_folder.iterdir()}


def test_somebody_may_have_looked_at_the_units(tmp_path: Path) -> None:
    confirmed = (TWO % ", unsaid_unit: true").replace("train: each", "train: each, units_confirmed: [glucose]")
    plan, store = planned(tmp_path, confirmed)
    computed(plan, store, *DATA_STAGES)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (TWO % ", hospital: x" + "", None),
        ((TWO % ", hospital: x").replace("seed: 1", "seed: 1, hospital: x"), "may share patients of x"),
        (GENERATED % ", synthetic_seed: 1", None),
        (GENERATED % ", min_age: 30", "may share patients of generated hospital, seed 0"),
        (TWO % ", hospital_unknown: true", "nothing says where the patients of the domain 'b' were treated"),
        (BY_WARD % "[nroth]", "'ward' has no value 'nroth'.*did you mean 'north'"),
        ((BY_WARD % "each").replace("domain_by: ward", "domain_by: wrad"), "declares no fact 'wrad'.*'ward'"),
        ((TWO % "").replace("each", "leave_one_out"), "pools the cases of one data set"),
        ((TWO % "").replace("each", "[c]"), "the domain 'c' is not in this benchmark; choices: a, b, each"),
        ((TWO % "").replace("each}", "[a], evaluate: [a]}"), "nothing is transferred"),
        ((TWO % "").replace("transfer: {train: each}", ""), "`transfer` says where"),
        ("", "the key 'data' is missing"),
        ((TWO % "") + "data: planted\n", "either `data` or `domains`"),
        ("data: planted\ntransfer: {train: each}\n", "`transfer` says where"),
        ((TWO % "").replace("train: each", "train: each, features: {columns: all}"), "columns"),
    ],
)
def test_what_can_not_be_transferred_is_refused(tmp_path: Path, where: str, said: str | None) -> None:
    if said is None:
        planned(tmp_path, where)
        return
    with pytest.raises(UserError, match="(?s)" + said):
        planned(tmp_path, where)


def rows_of(run: Path, name: str) -> list[dict[str, str]]:
    with (run / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def crossed_run(tmp_path: Path, cli: Cli, store_folder: Path) -> Path:
    path = tmp_path / "b.yaml"
    path.write_text(HEAD + BY_WARD % "[each, all, leave_one_out]")
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    return tmp_path / "out"


def test_a_run_across_domains(crossed_run: Path, tmp_path: Path, cli: Cli) -> None:
    results = rows_of(crossed_run, "results.csv")
    pairs = {(row["domain_train"], row["domain_eval"]) for row in results}
    assert len(pairs) == 9 + 3 + 3
    assert {row["n_cases"] for row in results if row["domain_eval"] == "north"} != {""}
    # The planted association is the same in every ward: it is found wherever a model comes from.
    assert all(float(row["value"]) > 0.8 for row in results if row["metric"] == "auroc")
    domains = {(row["domain_train"], row["domain_eval"]): row for row in rows_of(crossed_run, "domains.csv")}
    assert domains.keys() == pairs
    assert domains["north", "south"]["shared"].split() == list(CONCEPTS)
    assert 0.3 < float(domains["north", "south"]["shift_auroc"]) < 0.7  # wards do not differ
    assert domains["north", "north"]["shift_auroc"] == domains["all", "north"]["shift_auroc"] == ""

    auroc = {
        (row["domain_train"], row["domain_eval"]): float(row["value"])
        for row in results
        if (row["metric"], row["seed"]) == ("auroc", "mean")
    }
    gaps = [row for row in rows_of(crossed_run, "gaps.csv") if row["metric"] == "auroc"]
    assert {(row["domain_train"], row["domain_eval"]): row["in_domain"] for row in gaps} == {
        (train, target): "all" if train.startswith("all but") else target
        for train, target in pairs
        if train not in (target, "all")
    }
    for row in gaps:
        expected = auroc[row["in_domain"], row["domain_eval"]] - auroc[row["domain_train"], row["domain_eval"]]
        assert float(row["gap"]) == pytest.approx(expected, abs=1e-12)
        assert float(row["ci_low"]) <= float(row["ci_high"])
        assert row["cases"] == "same"

    found = verify(crossed_run)
    assert found.passed, found.problems
    assert found.checked["gaps between domains recomputed"] == len(gaps) * 2
    assert found.checked["pairs of domains recomputed"] == len(pairs)
    assert found.checked["predictions with unseen patients"] == 15
    for format in ("md", "latex", "csv"):
        assert cli("report", crossed_run, "--format", format).code == 0
    page = (crossed_run / "report.html").read_text()
    assert "Transfer between domains" in page
    assert "all others" in page


def answers_of(run: Path, train: str, target: str) -> list[dict[str, Any]]:
    """The scored rows of a pair of domains in the order of case ids, in which patients are resampled."""
    rows = pq.read_table(run / "predictions" / "logistic_regression.parquet").to_pylist()
    mine = [row for row in rows if (row["domain_train"], row["domain_eval"]) == (train, target)]
    return sorted(mine, key=lambda row: str(row["case_id"]))


def auroc_draws(rows: list[dict[str, Any]], weights: Any) -> list[float]:
    label, probability = ([row[key] for row in rows] for key in ("label", "probability"))
    return [float(roc_auc_score(label, probability, sample_weight=w)) for w in weights]


def test_the_interval_of_a_gap_is_that_of_joint_resamples(crossed_run: Path) -> None:
    rows = rows_of(crossed_run, "gaps.csv")
    tested = [row for row in rows if row["metric"] in ("auroc", "brier")]
    expected = multipletests([float(row["p_value"]) for row in tested], method="fdr_bh")[1]
    assert [float(row["p_corrected"]) for row in tested] == pytest.approx(list(expected))
    for row in (row for row in rows if row["metric"] == "auroc"):
        elsewhere = answers_of(crossed_run, row["domain_train"], row["domain_eval"])
        at_home = answers_of(crossed_run, row["in_domain"], row["domain_eval"])
        assert [r["case_id"] for r in elsewhere] == [r["case_id"] for r in at_home]
        weights = patient_weights([r["patient_id"] for r in elsewhere], 100, 0)
        draws = np.subtract(auroc_draws(at_home, weights), auroc_draws(elsewhere, weights))
        ends = np.quantile(draws, [0.025, 0.975])
        assert (float(row["ci_low"]), float(row["ci_high"])) == pytest.approx(tuple(ends), abs=1e-9)
        assert float(row["standard_error"]) == pytest.approx(np.std(draws, ddof=1), abs=1e-9)


def test_the_page_puts_every_number_in_its_row_and_column(crossed_run: Path) -> None:
    run = RunFolder(crossed_run)
    value = {
        (row["domain_train"], row["domain_eval"]): f"{float(row['value']):.3f}"
        for row in rows_of(crossed_run, "results.csv")
        if (row["metric"], row["seed"], row["subgroup"]) == ("auroc", "0", "all")
    }
    matrix = matrix_table(run, "auroc")
    assert matrix is not None
    place = {"all others": lambda target: f"all but {target}"}
    shown = {}
    for line in matrix.lines:
        trained, *entries = line.entries
        for heading, entry in zip(matrix.columns[2:], entries, strict=True):
            target = heading.removeprefix("on ").split(" ")[0]
            shown[place.get(trained.text, lambda _, t=trained.text: t)(target), target] = entry.text
    assert shown == value
    coverage = {line.name: [entry.text for entry in line.entries] for line in coverage_table(run).lines}
    [row] = [r for r in rows_of(crossed_run, "domains.csv") if (r["domain_train"], r["domain_eval"]) == UNITS[:2]]
    assert coverage["north to south"][:2] == ["3 / 0 / 0", row["n_train"]]
    assert coverage["north to south"][-2:] == [f"{float(row[k]):.3f}" for k in ("shift_auroc", "shift_auroc_values")]
    gaps = gap_table(run, "auroc")
    assert gaps is not None
    drawn = {line.entries[0].text: [entry.text for entry in line.entries[1:]] for line in gaps.lines}
    for row in (r for r in rows_of(crossed_run, "gaps.csv") if r["metric"] == "auroc"):
        elsewhere, at_home, gap, *p_values = drawn[f"{row['domain_train']} to {row['domain_eval']}"]
        assert (elsewhere, at_home) == (f"{float(row['value']):.3f}", f"{float(row['in_domain_value']):.3f}")
        assert float(gap.replace("\u2212", "-")) == pytest.approx(float(row["gap"]), abs=5.1e-4)
        assert p_values == [p_value(float(row[key] or "nan")) for key in ("p_value", "p_corrected")]


def test_a_field_of_answers_that_nobody_could_read_is_marked(crossed_run: Path) -> None:
    def figure(run: Path) -> FigureBlock:
        section = transfer(RunFolder(run))
        assert section is not None
        return next(block for block in section.blocks if isinstance(block, FigureBlock))

    assert UNREAD_MARK not in figure(crossed_run).svg + figure(crossed_run).caption
    rows = rows_of(crossed_run, "results.csv")
    for row in rows:
        if (row["domain_train"], row["domain_eval"]) == ("south", "north"):
            row["n_unparsed"] = str(int(row["n_cases"]) // 5)
    with (crossed_run / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    marked = figure(crossed_run)
    [value] = [
        f"{float(row['value']):.3f}"
        for row in rows
        if (row["domain_train"], row["domain_eval"], row["metric"], row["seed"]) == ("south", "north", "auroc", "0")
    ]
    assert marked.svg.count(UNREAD_MARK) == 1
    assert f">{value}{UNREAD_MARK}<" in marked.svg
    assert "10 % or more of the answers could not be read" in marked.caption.replace("10.0 %", "10 %")


def test_verify_notices_a_patient_of_the_target_who_was_trained_on_elsewhere(crossed_run: Path) -> None:
    table = pq.read_table(crossed_run / "patients.parquet").to_pylist()
    held_out = next(r for r in table if (r["domain"], r["part"]) == ("north", "held_out"))
    table.append({**held_out, "domain": "south", "part": "train"})
    pq.write_table(pa.Table.from_pylist(table), crossed_run / "patients.parquet")
    path = crossed_run / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["patients.parquet"] = file_hash(crossed_run / "patients.parquet")
    path.write_text(json.dumps(manifest))
    assert "is asked about patients who were trained on for it" in verify(crossed_run).text()


def test_verify_notices_another_prevalence_of_a_domain(crossed_run: Path) -> None:
    path = crossed_run / "domains.csv"
    rows = rows_of(crossed_run, "domains.csv")
    rows[0]["prevalence_eval"] = "0.123"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    manifest = json.loads((crossed_run / "manifest.json").read_text())
    manifest["files"]["domains.csv"] = file_hash(path)
    manifest[OWN_HASH] = own_hash(manifest)
    (crossed_run / "manifest.json").write_text(json.dumps(manifest))
    [problem] = verify(crossed_run).problems
    assert problem.startswith("domains.csv")
    assert "prevalence_eval is '0.123'" in problem


def test_the_source_of_unpaired_gaps_is_named(tmp_path: Path, cli: Cli, store_folder: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(HEAD + (TWO % ", rate: 0.2, extra: only_here").replace("each", "[a]"))
    assert cli("run", path, "--out", tmp_path / "out").code == 0
    [gap] = [row for row in rows_of(tmp_path / "out", "gaps.csv") if row["metric"] == "auroc"]
    assert (gap["domain_train"], gap["domain_eval"], gap["in_domain"], gap["cases"]) == ("a", "b", "a", "other")
    rows = {row["domain_eval"]: row for row in rows_of(tmp_path / "out", "domains.csv")}
    assert rows["b"]["only_eval"] == "only_here"
    assert float(rows["b"]["prevalence_train"]) == pytest.approx(0.4, abs=0.05)
    assert float(rows["b"]["prevalence_eval"]) == pytest.approx(0.2, abs=0.06)
    assert verify(tmp_path / "out").passed


def test_an_unreadable_answer_is_scored_with_the_prevalence_of_training(tmp_path: Path) -> None:
    plan, store = planned(tmp_path, TWO % ", rate: 0.2")
    computed(plan, store, *DATA_STAGES)
    for cell in plan.cells:
        assert cell.score is not None
        value = cell.score.inputs["labels"]
        labels = resolve(StageNode("x", "x", "x:x", {}, {"labels": value}, ""), store.folder)["labels"]
        parts = json.loads((store.folder(cell.pair.train.split) / "parts.json").read_text())
        [train] = [part for part in parts if part["part"] == "train"]
        assert labels.training_prevalence == {0: train["n_positive"] / train["n_cases"]}
        held_out = pq.read_table(store.folder(cell.pair.evaluate.split) / "parts.parquet").to_pylist()
        assert labels.label.keys() == {row["case_id"] for row in held_out if row["part"] == "held_out"}
