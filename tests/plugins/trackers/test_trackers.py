"""What each tracker is told stands in its own files, also after it was stopped and started again."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eagbench.api import UserError
from eagbench_plugins.trackers.mlflow_tracker import MLflow
from eagbench_plugins.trackers.tensorboard_tracker import TensorBoard
from eagbench_plugins.trackers.wandb_tracker import WeightsAndBiases

STAGE = "policy_optimisation/eag_rl, eag, seed 0"


def tell(tracker: Any, folder: Path, steps: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tracker.start("a_benchmark", folder)
    for step in steps:
        tracker.log(STAGE, step, {"reward": step / 4, "kl": 0.5})
    tracker.finish()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of a log folder by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tell(TensorBoard(TensorBoard.Params()), tmp_path / "tb", range(1, 4))
    tell(TensorBoard(TensorBoard.Params()), tmp_path / "tb", range(4, 6))
    (folder,) = {path.parent for path in (tmp_path / "tb").rglob("events.out.*")}
    assert folder == tmp_path / "tb" / "policy_optimisation" / "eag_rl_eag_seed_0"
    assert scalars(folder) == {
        "reward": [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0), (5, 1.25)],
        "kl": [(step, 0.5) for step in range(1, 6)],
    }


def test_tensorboard_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tell(TensorBoard(TensorBoard.Params(folder=tmp_path / "logs")), tmp_path / "run", range(1, 2))
    assert list((tmp_path / "logs" / "a_benchmark").rglob("events.out.*"))
    assert not list((tmp_path / "run").iterdir())


def wandb_records(path: Path) -> Iterator[bytes]:
    """The records of W&B's local file: LevelDB's log format behind a header of 7 bytes."""
    data, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:  # a header never spans two blocks
            position += 32768 - position % 32768
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_wandb_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    # Each attempt in a process of its own, as in life: W&B names its folders by the second in which one began.
    for first, last in ((1, 3), (4, 5)):
        code = (
            "from pathlib import Path; from eagbench_plugins.trackers.wandb_tracker import WeightsAndBiases as W\n"
            "tracker = W(W.Params(mode='offline', project='a_project'))\n"
            f"tracker.start('a_benchmark', Path({str(tmp_path)!r}))\n"
            f"for step in range({first}, {last} + 1):\n"
            f"    tracker.log({STAGE!r}, step, {{'reward': step / 4, 'kl': 0.5}})\n"
            "tracker.finish()"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        time.sleep(1.1)
    rows, runs, kinds = [], set(), set()
    for path in sorted(tmp_path.rglob("run-*.wandb")):
        for data in wandb_records(path):
            record = Record.FromString(data)
            kinds.add(record.WhichOneof("record_type"))
            if record.HasField("run"):
                runs.add((record.run.run_id, record.run.project, record.run.display_name))
                assert not record.run.git.remote_url
                assert record.run.host == "-"
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if items:
                rows.append((int(items[f"{STAGE}/step"]), float(items[f"{STAGE}/reward"])))
    assert sorted(rows) == [(1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0), (5, 1.25)]
    ((_, project, name),) = runs  # one run, though it was taken up
    assert (project, name) == ("a_project", "a_benchmark")
    assert {"history", "metric"} <= kinds
    assert not kinds & {"stats", "output", "output_raw", "environment"}


def test_mlflow_in_a_local_file(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    tell(MLflow(MLflow.Params()), tmp_path, range(1, 4))
    tell(MLflow(MLflow.Params()), tmp_path, range(4, 6))
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("eagbench")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("a_benchmark", "FINISHED")
    assert {name.rpartition("/")[2] for name in run.data.metrics} == {"reward", "kl"}
    (name,) = [name for name in run.data.metrics if name.endswith("/reward")]
    assert name == "policy_optimisation/eag_rl_ eag_ seed 0/reward"
    history = client.get_metric_history(run.info.run_id, name)
    assert sorted((m.step, m.value) for m in history) == [(step, step / 4) for step in range(1, 6)]


def test_mlflow_keeps_a_loss_that_is_not_a_number(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    tracker = MLflow(MLflow.Params())
    tracker.start("a_benchmark", tmp_path)
    tracker.log("sft/a", 1, {"loss": math.nan})
    tracker.finish()
    run_id = (tmp_path / "run_id").read_text()
    (metric,) = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_metric_history(run_id, "sft/a/loss")
    assert math.isnan(metric.value)


def test_mlflow_that_refuses_is_the_users_to_mend(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(UserError, match="MLflow refuses"):
        MLflow(MLflow.Params(tracking_uri="nosuch://place")).start("a_benchmark", tmp_path)


@pytest.mark.parametrize(
    ("tracker", "package"), [(TensorBoard, "tensorboard"), (WeightsAndBiases, "wandb"), (MLflow, "mlflow")]
)
def test_a_missing_package_is_named_with_what_to_type(
    tracker: Any, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(UserError, match=f"pip install {package}"):
        tracker(tracker.Params()).start("a_benchmark", tmp_path)


@pytest.mark.parametrize(
    ("uri", "leaves"),
    [
        (None, False),
        ("sqlite:////tmp/mlflow.db", False),
        ("file:///tmp/mlruns", False),
        ("mlruns", False),
        ("http://127.0.0.1:5000", True),
        ("https://mlflow.example.org", True),
        ("file://server/share", True),
        ("databricks", False),
        ("databricks://profile", True),
        ("postgresql://localhost/mlflow", True),
    ],
)
def test_where_mlflow_writes(uri: str | None, leaves: bool) -> None:
    assert MLflow(MLflow.Params(tracking_uri=uri)).traits.leaves_machine is leaves


def test_wandb_stays_only_when_offline() -> None:
    assert WeightsAndBiases(WeightsAndBiases.Params()).traits.leaves_machine
    assert not WeightsAndBiases(WeightsAndBiases.Params(mode="offline")).traits.leaves_machine


def test_the_hook_imports_none_of_the_packages() -> None:
    code = (
        "import sys; import eagbench_plugins.trackers.plugin; "
        "print(sorted({'torch', 'tensorboard', 'wandb', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BENCHMARK = {
    "name": "followed",
    "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2, "seed": 0},
    "trackers": ["tensorboard"],
    "metrics": ["auroc"],
}


def written(folder: Path, root: Path, **changes: Any) -> Path:
    path = folder / "benchmark.yaml"
    data = {"name": "physionet2012", "root": str(root), "task": "in_hospital_mortality"}
    path.write_text(yaml.safe_dump({**BENCHMARK, "data": data, **changes}))
    return path


def test_a_run_tells_tensorboard_how_long_its_stages_took(
    cli: Any, tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    pytest.importorskip("tensorboard")
    benchmark = written(tmp_path, physionet_root, methods=["logistic_regression"])
    assert cli("run", benchmark, "--out", tmp_path / "out", "--quiet").code == 0
    n_stages = len(json.loads((tmp_path / "out" / "manifest.json").read_text())["stages"])
    logs = tmp_path / "out" / "trackers" / "tensorboard" / "stages"
    assert [step for step, _ in scalars(logs)["seconds"]] == list(range(1, n_stages + 1))
    # Again into the same folder, as after a kill that left nothing but the trackers' files: the store has it all.
    for path in (tmp_path / "out").iterdir():
        if path.is_file():
            path.unlink()
        elif path.name != "trackers":
            shutil.rmtree(path)
    assert cli("run", benchmark, "--out", tmp_path / "out", "--quiet").code == 0
    assert len(scalars(logs)["seconds"]) == n_stages
    # Anew: the numbers are other ones, and the old ones go.
    assert cli("run", benchmark, "--out", tmp_path / "out", "--quiet", "--fresh").code == 0
    assert len(scalars(logs)["seconds"]) == n_stages


@pytest.mark.slow
def test_a_killed_run_tells_every_line_of_both_stages_once(
    run_command: Callable[..., Any], tmp_path: Path, physionet_root: Path
) -> None:
    """The whole way, with a real SIGKILL in Stage II: YAML, worker processes, the store, event files."""
    pytest.importorskip("tensorboard")
    method = {
        "name": "eag_rl",
        "expert": "logistic_regression",
        "search": "best_of_n",
        "token_budget": 200,
        "max_new_tokens": 100,
        "max_training_cases": 40,
        "sft": {"steps": 20},
        "policy_optimisation": {"steps": 10, "cases": 4, "group_size": 4, "mini_batches": 2, "checkpoint_every": 3},
    }
    benchmark = written(
        tmp_path,
        physionet_root,
        policy={"name": "tiny", "steps": 120, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
        record_text={"values": "quantile", "periods": 1, "instructions": "short"},
        answer="expectation",
        methods=[method],
    )
    store, out = tmp_path / "store", tmp_path / "out"
    options = ("run", str(benchmark), "--out", str(out), "--workers", "2")
    victim = subprocess.Popen(
        [sys.executable, "-m", "eagbench", *options],
        env={**os.environ, "EAGBENCH_STORE": str(store)},
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "victim.log").open("w"),
        start_new_session=True,
    )
    heard, deadline = out / "trackers" / "heard.json", time.monotonic() + 300
    while not (heard.is_file() and "curves.jsonl" in heard.read_text()):
        assert victim.poll() is None, (tmp_path / "victim.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1.0)  # not in the instant between noting a line and telling it, which costs that line
    os.killpg(victim.pid, signal.SIGKILL)  # its workers too
    victim.wait()
    told = max(json.loads(heard.read_text()).values())
    assert sorted(path.name for path in out.iterdir()) == [".eagbench-run", "trackers"]  # begun, and no result yet

    done = run_command(*options, env={"EAGBENCH_STORE": str(store)})
    assert done.code == 0, done.err
    (curves,) = store.glob("policy_optimisation/*/curves.jsonl")
    lines = [json.loads(line) for line in curves.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 11))
    assert told > 0
    logs = out / "trackers" / "tensorboard"
    (stage_two,) = (logs / "policy_optimisation").iterdir()
    found = scalars(stage_two)
    for name in ("reward", "entropy", "kl", "length", "unparsed_rate", "clip_above_fixed"):
        assert found[name] == [(line["step"], pytest.approx(line[name], rel=1e-5)) for line in lines]
    (stage_one,) = (logs / "sft").iterdir()
    assert [step for step, _ in scalars(stage_one)["loss"]] == [10, 20]
    manifest = json.loads((out / "manifest.json").read_text())
    assert not [name for name in manifest["files"] if name.startswith("trackers")]
    assert {"training.parquet", "training_summaries.jsonl"} <= manifest["files"].keys()
