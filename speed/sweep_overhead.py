"""Compare the cost of a trial of `eagbench sweep` and of bare Optuna, with the same storage and a constant objective.

    python speed/sweep_overhead.py [--trials 20] [--rounds 3] [--storage journal|sqlite] [--work FOLDER]

Three loops take turns over the same one-value space, with the same sampler, each on its own study:

- bare Optuna: `study.optimize` with an objective that returns a constant;
- the loop alone: eagbench's claim, lease, seeded sampler and attributes around the same constant;
- the whole trial: the same with the real objective, a logistic regression on SYNTHETIC records. Its stages are all in
  the store, so it is constant too, and what remains is planning, looking up the store and reading the score.

Prints milliseconds per trial (the median of the rounds) and both ratios. The cost of a trial depends on how fast
the disk of FOLDER confirms a write, most of all for bare Optuna.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BENCHMARK = """\
name: constant
data: {{name: mimic4, root: synthetic, synthetic_patients: {patients}, task: in_hospital_mortality, window_hours: 48}}
split: {{train: 0.5, tuning: 0.4, held_out: 0.1, seed: 0}}
methods: [logistic_regression]
conditions: [clean]
metrics: [auroc]
seeds: [0]
"""
SWEEP = """\
name: constant
benchmark: constant.yaml
space:
  data.window_hours: {categorical: [48]}
objectives: [{metric: auroc}]
sampler: {name: TPESampler, seed: 0}
trials: 1
tuning_folds: 2
"""
CONSTANT = 0.5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patients", type=int, default=400, help="of the synthetic hospital")
    parser.add_argument("--storage", choices=("journal", "sqlite"), default="journal")
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for store and studies (default: a temporary one)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        _measure(Path(work), args.trials, args.rounds, args.patients, args.storage)


def _measure(work: Path, trials: int, rounds: int, patients: int, kind: str) -> None:
    os.environ["EAGBENCH_STORE"] = str(work / "store")
    (work / "constant.yaml").write_text(BENCHMARK.format(patients=patients))
    (work / "sweep.yaml").write_text(SWEEP)
    n_steps = _swept(work, work / "warm", 1, kind)[1]  # the store is full from here on
    bare, loop, whole = [], [], []
    for i in range(rounds):
        bare.append(_bare(work / f"bare{i}", trials, kind))
        with _constant_objective():
            loop.append(_swept(work, work / f"loop{i}", trials, kind)[0])
        whole.append(_swept(work, work / f"whole{i}", trials, kind)[0])
    bare_ms, loop_ms, whole_ms = (statistics.median(times) / trials * 1000 for times in (bare, loop, whole))
    print(f"{trials} trials, median of {rounds} rounds, {kind} storage; a whole trial has {n_steps} plan(s)")
    print(f"bare Optuna      {bare_ms:8.1f} ms per trial")
    print(f"the loop alone   {loop_ms:8.1f} ms per trial, ratio {loop_ms / bare_ms:.2f}")
    print(f"the whole trial  {whole_ms:8.1f} ms per trial, ratio {whole_ms / bare_ms:.2f}")


def _storage(folder: Path, kind: str) -> str:
    return "study.journal" if kind == "journal" else f"sqlite:///{folder}/study.db"


def _bare(folder: Path, trials: int, kind: str) -> float:
    """Time `study.optimize` in seconds."""
    import optuna

    from eagbench.sweep.storage import open_storage

    folder.mkdir()
    study = optuna.create_study(
        study_name="constant",
        storage=open_storage(_storage(folder, kind), folder),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("data.window_hours", [48])
        return CONSTANT

    start = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return time.perf_counter() - start


def _swept(work: Path, folder: Path, trials: int, kind: str) -> tuple[float, int]:
    """Time the sweep's loop in seconds, and count the plans of a trial."""
    from eagbench.sweep.loop import work as run_trials
    from eagbench.sweep.session import SweepRequest, open_session

    folder.mkdir()
    storage = None if kind == "journal" else _storage(folder, kind)
    session = open_session(SweepRequest(work / "sweep.yaml", folder, trials=trials, storage=storage, quiet=True))
    start = time.perf_counter()
    run_trials(session)
    took = time.perf_counter() - start
    states = [trial.state.name for trial in session.study.get_trials()]
    if states != ["COMPLETE"] * trials:
        raise RuntimeError(f"the trials ended as {states}")
    return took, len(session.steps)


@contextmanager
def _constant_objective() -> Iterator[None]:
    """Replace a trial's stages with a constant."""
    from eagbench.sweep.trial_plan import TrialPlanner

    real = TrialPlanner.measure
    TrialPlanner.measure = lambda *_: [CONSTANT]  # type: ignore[method-assign]
    try:
        yield
    finally:
        TrialPlanner.measure = real  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
