"""The prior that training teaches: written by every stage that teaches answers, corrected in a whole run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy.special import logit
from sklearn.metrics import brier_score_loss

from eagbench.execution.stage_files import file_hash
from eagbench.runs.verify.verify import verify
from eagbench_plugins.eagrl.optimisation import Optimisation
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from tests.plugins.eagrl.conftest import Prepared, stage_run


@pytest.mark.parametrize("balance", [True, False])
def test_stage_two_counts_the_cases_of_its_batches(prepared: Prepared, tmp_path: Path, balance: bool) -> None:
    optimisation = Optimisation(steps=2, cases=4, group_size=2, mini_batches=2, balance=balance)
    params = {
        "reward": {"kind": "reward", "name": "brier", "params": {}},
        "style": "question_decomposition",
        "max_new_tokens": 24,
        "max_training_cases": 40,
        "optimisation": optimisation.model_dump(mode="json"),
    }
    optimise_policy(stage_run(tmp_path, prepared.inputs, params))
    prior = json.loads((tmp_path / "prior.json").read_text())
    assert prior["population"] == pytest.approx(prepared.training.train.prevalence)  # of all cases, not of the 40
    assert prior["learnt"] in ({0.5} if balance else {n / 8 for n in range(9)})


def test_a_whole_run_corrects_what_balanced_training_taught(
    cli, tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = tmp_path / "benchmark.yaml"
    benchmark = {
        "name": "corrected",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"train": 0.6, "tuning": 0.1, "held_out": 0.3, "seed": 0},
        "policy": {"name": "tiny", "steps": 240, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
        "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
        "answer": "expectation",
        "methods": ["prompt", {"name": "sft", "max_training_cases": 60, "sft": {"steps": 40}}],
        "metrics": ["auroc", "brier", "ece", "unparsed_rate"],
        "comparisons": {"method": "sft", "metric": "auroc"},
    }
    path.write_text(yaml.safe_dump(benchmark))
    out = tmp_path / "out"
    done = cli("run", path, "--out", out)
    assert done.code == 0, done.err
    findings = verify(out)
    assert findings.passed, findings.problems

    prior = json.loads(next(store_folder.glob("sft/*/prior.json")).read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    train = next(part for part in manifest["parts"] if part["part"] == "train")
    assert prior == {"learnt": 0.5, "population": pytest.approx(train["n_positive"] / train["n_cases"])}

    table = pq.read_table(out / "predictions" / "sft.parquet").to_pylist()
    parsed = [row for row in table if row["parsed"]]
    assert len(parsed) > 50
    for row in parsed:  # the odds fall by the training cases' odds, since 0.5 was taught
        assert logit(row["prior_corrected"]) == pytest.approx(logit(row["probability"]) + logit(prior["population"]))
    for row in table:
        if not row["parsed"]:
            assert row["prior_corrected"] == row["probability"] == pytest.approx(prior["population"])
    base = pq.read_table(out / "predictions" / "prompt.parquet").to_pylist()
    assert {row["prior_corrected"] for row in base} == {None}  # taught no answer by a label

    with (out / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["seed"] == "mean"]
    corrected = {r["metric"]: r for r in rows if (r["method"], r["calibration"]) == ("sft", "prior_corrected")}
    answered = {r["metric"]: r for r in rows if (r["method"], r["calibration"]) == ("sft", "none")}
    assert set(corrected) == {metric for metric in answered if metric != "unparsed_rate"}
    assert not [r for r in rows if r["method"] == "prompt" and r["calibration"] != "none"]
    brier = float(corrected["brier"]["value"])
    assert brier == pytest.approx(brier_score_loss([r["label"] for r in table], [r["prior_corrected"] for r in table]))
    # One death in eight: answers taught on one in two are far too high, corrected ones are not.
    assert np.mean([r["probability"] for r in table]) > 2 * np.mean([r["label"] for r in table])
    assert brier < float(answered["brier"]["value"])

    with (out / "comparisons.csv").open(newline="") as stream:
        compared = list(csv.DictReader(stream))
    assert {r["calibration"] for r in compared} == {"none"}  # the base policy has no corrected answers to compare with
    page = (out / "report.html").read_text()
    assert "corrected for the prior of training" in page
    assert page.count('id="performance') == 1
    assert "prior_corrected" in cli("report", out, "--format", "csv").out

    changed = shutil.copytree(out, tmp_path / "changed")
    text = (changed / "results.csv").read_text()
    line = next(line for line in text.splitlines() if ",prior_corrected,all,brier," in line)
    (changed / "results.csv").write_text(text.replace(line, line.replace("brier,0.", "brier,0.9", 1)))
    manifest["files"]["results.csv"] = file_hash(changed / "results.csv")
    (changed / "manifest.json").write_text(json.dumps(manifest))
    assert "clean brier prior_corrected: value is" in verify(changed).text()
