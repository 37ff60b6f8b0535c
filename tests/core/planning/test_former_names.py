"""A YAML that asks by former names runs as before, and says what things are called now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import eagbench.api
from eagbench.contracts.records import Case
from eagbench.errors import UserError
from tests.builders import make_case
from tests.conftest import Finished

Cli = Callable[..., Finished]
OLD = """\
name: former_names
data: {{name: physionet2012, root: '{root}'}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {{name: tiny, steps: 20, hidden_dim: 32, layers: 1}}
record_text: {{values: quantile, periods: 1, instructions: short}}
reference_expert: logistic_regression
teacher_features: 3
methods:
  - {{name: prompt, as: one, style: vanilla, max_new_tokens: 32}}
  - {{name: prompt, as: two, style: think_answer, max_new_tokens: 32}}
comparisons: {{method: one, metric: attention_jaccard}}
metrics: [attention_jaccard]
intervals: {{resamples: 100}}
seeds: [0]
"""


def test_a_benchmark_with_former_names_runs_and_says_the_present_ones(
    cli: Cli, tmp_path: Path, store_folder: Path, physionet_root: Path
) -> None:
    (tmp_path / "b.yaml").write_text(OLD.format(root=physionet_root))
    done = cli("run", tmp_path / "b.yaml", "--limit", 80, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "b.yaml:7: the key 'teacher_features' is called 'reference_features' now" in done.err
    assert "b.yaml:12: the metric 'attention_jaccard' is called 'citation_jaccard' now" in done.err
    assert set(pd.read_csv(tmp_path / "out" / "results.csv").metric) == {"citation_jaccard"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["comparisons"] == {"method": "one", "metric": "citation_jaccard"}


def test_a_reward_inside_a_search_may_have_its_former_name(
    cli: Cli, tmp_path: Path, store_folder: Path, physionet_root: Path
) -> None:
    method = "{name: trajectory_distillation, expert: lightgbm, reward: attention_jaccard}"
    text = OLD.format(root=physionet_root)
    text = text[: text.index("methods:")] + f"methods: [{method}]\nmetrics: [auroc]\nseeds: [0]\n"
    (tmp_path / "b.yaml").write_text(text)
    done = cli("plan", tmp_path / "b.yaml", "--limit", 80)
    assert done.code == 0, done.err
    assert "the reward 'attention_jaccard' is called 'citation_jaccard' now" in done.err


def test_former_names_of_the_api_warn() -> None:
    with pytest.warns(DeprecationWarning, match=r"eagbench.api.WrittenAs is called eagbench.api.Rendering"):
        assert eagbench.api.WrittenAs is eagbench.api.Rendering
    with pytest.warns(DeprecationWarning, match=r"UserError\(mend=...\) is called hint="):
        error = UserError("it is wrong", mend="fix it")
    assert error.hint == "fix it"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        eagbench.api.Nothing  # noqa: B018


def test_former_fields_of_a_case_warn() -> None:
    case = make_case({"lactate": [1.0, 2.0]})
    with pytest.warns(DeprecationWarning, match=r"Case.written is called Case.renderings"):
        assert case.written == {}  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match=r"Case\(further=...\) is called distractors="):
        Case(case.case_id, case.patient_id, case.features, case.times, case.values, case.static, further=())  # type: ignore[call-arg]
