"""The executor `slurm`: what a job asks for, and the script that is submitted. There is no Slurm here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dask_jobqueue.slurm import SLURMJob

from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.executors.slurm import Slurm
from eagbench.execution.executors.slurm_job import read_job, script
from tests.conftest import Finished

FILE = """\
account: icu
partition: cpu
processes: 4
memory: 64G
walltime: "12:00:00"
jobs: 3
prologue: [module load python, ulimit -n 4096]
directives: ["--qos=long"]
"""


def job_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    return file


def stages(threads: int) -> list[StageNode]:
    return [StageNode("expert", "one", "nowhere:nothing", {}, {}, code="1", threads=n) for n in (1, threads)]


def test_a_job_asks_for_what_the_file_says_and_nothing_else(tmp_path: Path) -> None:
    written = script(read_job(job_file(tmp_path, FILE)), stages(1)).splitlines()
    assert [line for line in written if line.startswith("#SBATCH")] == [
        "#SBATCH -J eagbench",
        "#SBATCH -p cpu",
        "#SBATCH -A icu",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=64G",
        "#SBATCH -t 12:00:00",
        "#SBATCH --qos=long",
    ]
    assert written.index("module load python") < written.index("ulimit -n 4096") < len(written) - 1
    words = written[-1].split()
    assert words[:4] == [sys.executable, "-m", "distributed.cli.dask_worker", "tcp://THIS-MACHINE:PORT"]
    assert words[words.index("--nworkers") + 1] == "4"
    # The last one of a flag counts: one stage at a time per process, whose memory Dask does not watch.
    last = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
    assert last["--nthreads"] == "1"
    assert last["--memory-limit"] == "0"


def test_a_job_has_cores_for_the_threads_of_its_stages(tmp_path: Path) -> None:
    assert "#SBATCH --cpus-per-task=8" in script(read_job(job_file(tmp_path, FILE)), stages(2))
    job = read_job(job_file(tmp_path, FILE + "cores: 6\n"))
    assert "#SBATCH --cpus-per-task=6" in script(job, stages(1))
    with pytest.raises(UserError, match="4 processes of 2 threads need 8 cores, not 6"):
        script(job, stages(2))


def test_a_job_with_gpus_asks_for_them(tmp_path: Path) -> None:
    text = FILE.replace("processes: 4", "processes: 1") + "gpus: 2\n"
    assert "#SBATCH --gres=gpu:2" in script(read_job(job_file(tmp_path, text)), stages(1))


@pytest.mark.parametrize("lacking", ["processes", "memory", "walltime"])
def test_a_file_that_leaves_a_choice_to_dask_is_refused(tmp_path: Path, lacking: str) -> None:
    text = "".join(line for line in FILE.splitlines(keepends=True) if not line.startswith(lacking))
    with pytest.raises(UserError, match=lacking):
        read_job(job_file(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("64G", "64GB", "write it as Slurm does: 64G"),
        (
            '"12:00:00"',
            "12:00:00",
            "12:00:00 is a number to base 60 in YAML",
        ),  # which YAML reads as 43200, and Slurm as 30 days
        ('"12:00:00"', '"12 hours"', "write it as Slurm does"),
        ("jobs: 3", "gpus: 2", "processes of one job would share its GPUs"),
        ("jobs: 3", "partitions: gpu", "unknown key 'partitions'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        read_job(job_file(tmp_path, FILE.replace(old, new)))
    assert message in refused.value.message
    assert "cluster.yaml" in refused.value.message


def test_dask_jobqueue_still_chooses_what_it_is_not_told() -> None:
    """The trap in docs/pitfalls.md."""
    written = SLURMJob(scheduler="tcp://here:1", name="worker", cores=16, memory="64GB").job_script()
    assert "--nthreads 4" in written
    assert "--nworkers 4" in written
    assert "#SBATCH --mem=60G" in written
    assert "#SBATCH -t 00:30:00" in written


def test_the_executor_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(**params: object) -> None:
        Slurm(Slurm.Params(**params)).execute(stages(1), None, lambda node, outcome: True)  # type: ignore[arg-type]

    with pytest.raises(UserError, match="--cluster: the executor 'slurm' needs to know what a job asks for"):
        run()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no `sbatch` on this machine"):
        run(cluster=job_file(tmp_path, FILE))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(UserError, match=r"pip install \"eagbench\[slurm\]\""):
        run(cluster=job_file(tmp_path, FILE))


def test_plan_prints_the_job_script(cli: Callable[..., Finished], tmp_path: Path, store_folder: Path) -> None:
    file = tmp_path / "a.yaml"
    data = "{name: mimic4, root: synthetic, synthetic_patients: 10}"
    file.write_text(f"name: a\ndata: {data}\nmethods: [lightgbm]\nseeds: [0]\nmetrics: [auroc]\nthreads: 2\n")
    options = ("--executor", "slurm", "--cluster", job_file(tmp_path, FILE))
    done = cli("run", file, "--out", tmp_path / "out", *options, "--plan")
    assert done.code == 0, done.err
    assert "3 times this job:" in done.out
    assert "#SBATCH --cpus-per-task=8" in done.out
    assert not (tmp_path / "out").exists()
    refused = cli("run", file, "--cluster", tmp_path / "cluster.yaml")
    assert refused.code == 2
    assert "the executor 'local' reads no file about a cluster" in refused.err
