"""A sweep over many conditions trains each model once, and one condition more costs inference only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from tests.conftest import ROOT, Finished

Cli = Callable[..., Finished]
SUITES = ("mimic_robustness", "physionet2012_robustness")
TRAINING = {
    "expert",
    "policy",
    "record_text",
    "trajectories",
    "sft",
    "policy_optimisation",
    "salience",
    "frequency_baseline",
}
INFERENCE = {"predict", "reference_salience", "score"}

RUN = """\
name: swept
data: {{name: physionet2012, root: {root}}}
reference_expert: logistic_regression
methods: [logistic_regression, lightgbm]
conditions:
  - clean
  - {{name: missing_values, severity: [0.3]}}
  - {{name: contradictory_rows, severity: [0.3]}}
metrics: [auroc]
intervals: {{resamples: 100}}
"""


def suite(name: str, physionet_root: Path, folder: Path, *, only_clean: bool = False) -> Plan:
    sets = [f"data.root={physionet_root}"] if name.startswith("physionet") else []
    sets += ["conditions=[clean]"] if only_clean else []
    loaded = load_benchmark(ROOT / "benchmarks" / f"{name}.yaml", sets=sets)
    return make_plan(loaded, load_registry(), Store.open(folder / "store"))


@pytest.mark.parametrize("name", SUITES)
def test_the_suites_train_as_much_for_all_their_conditions_as_for_none(
    name: str, physionet_root: Path, tmp_path: Path
) -> None:
    swept, clean = suite(name, physionet_root, tmp_path), suite(name, physionet_root, tmp_path, only_clean=True)
    assert len(swept.conditions) >= 25
    everything, without = ({node.fingerprint: node.kind for node in plan.nodes} for plan in (swept, clean))
    assert set(without) <= set(everything)
    more = Counter(kind for fingerprint, kind in everything.items() if fingerprint not in without)
    assert set(more) == INFERENCE
    assert more["predict"] > 0
    assert TRAINING & set(without.values()) >= {"expert", "policy"}


@pytest.mark.parametrize("name", SUITES)
def test_the_suites_hold_every_perturbation_and_the_quick_profiles_stay_quick(name: str) -> None:
    path = ROOT / "benchmarks" / f"{name}.yaml"
    full, quick = (load_benchmark(path, profile=profile).benchmark for profile in (None, "quick"))
    of_records = set(load_registry().names("perturbation")) - {"prompt_wording"}  # its suite is wording_tjh
    assert {spec.name for spec in full.conditions} == {"clean", *of_records}
    assert sum(len(spec.severity or spec.level or (1,)) for spec in quick.conditions) <= 8


def computed(run: Path) -> Counter[str]:
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return Counter(entry["kind"] for entry in entries if entry.get("status") == "computed")


def test_a_run_with_one_condition_more_computes_its_predictions_and_scores_alone(
    cli: Cli, physionet_root: Path, store_folder: Path, tmp_path: Path
) -> None:
    benchmark = tmp_path / "swept.yaml"
    benchmark.write_text(RUN.format(root=physionet_root))
    first = cli("run", benchmark, "--out", tmp_path / "first")
    assert first.code == 0, first.err
    done = computed(tmp_path / "first")
    assert done["expert"] == 2  # one fit each for three conditions; the reference expert is a method's own
    assert done["predict"] == done["score"] == 2 * 3
    assert done["reference_salience"] == 3
    wider = "  - {name: time_jitter, severity: [6]}\nmetrics:"
    benchmark.write_text(benchmark.read_text().replace("metrics:", wider))
    second = cli("run", benchmark, "--out", tmp_path / "second")
    assert second.code == 0, second.err
    assert computed(tmp_path / "second") == {"predict": 2, "reference_salience": 1, "score": 2}
