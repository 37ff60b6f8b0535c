"""Equal seeds, equal bytes: every built-in kind of method, on real records, from two empty stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished

BENCHMARK = """\
name: repeated
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.1, held_out: 0.3}}
policy: {{name: tiny, steps: 60, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
answer: {{mode: {mode}, samples: 2}}
reference_expert: {{name: concare, epochs: 2, hidden_dim: 8, periods: 4}}
methods:
  - lightgbm
  - {{name: concare, epochs: 2, hidden_dim: 8, periods: 4}}
  - {{name: prompt, as: vanilla, style: vanilla}}
  - {{name: prompt, as: pqd, style: question_decomposition}}
conditions: [clean, {{name: missing_values, severity: [0.4]}}]
seeds: [3]
metrics: [auroc, auprc, brier, ece, citation_jaccard, unparsed_rate]
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["expectation", "mean_of_n"])
def test_two_runs_from_empty_stores_agree_to_the_byte(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished], mode: str
) -> None:
    benchmark = tmp_path / "repeated.yaml"
    benchmark.write_text(BENCHMARK.format(root=physionet_root, mode=mode))
    results = []
    for name in ("a", "b"):
        env = {"EAGBENCH_STORE": str(tmp_path / f"store-{name}"), "PYTHONHASHSEED": str(len(results))}
        done = run_command("run", benchmark, "--limit", 200, "--out", tmp_path / name, env=env)
        assert done.code == 0, done.err
        assert "0 reused" in done.out
        results.append((tmp_path / name / "results.csv").read_bytes())
    assert results[0] == results[1]
    for path in (tmp_path / "a" / "trajectories").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "trajectories" / path.name).read_bytes()
