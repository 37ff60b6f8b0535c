"""SIGKILL in every kind of stage and in the writing of the run folder, one after the other, until the run ends.

A chain is a run that is killed again and again and begun again each time, with one store. In the end it must be the
undisturbed run, to the byte. Targeted kills come from inside (`interrupting/sitecustomize.py`), at a drawn step of what
the stage writes, or a drawn time after it. Others come from outside, at a drawn time.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from eagbench.execution.store import file_hash
from tests.conftest import SHARED_DATA
from tests.reliability.command import Command
from tests.reliability.rows import Row
from tests.reliability.run_folders import differences, finished_rows

SMALL, FULL = 6, 200
WRITING, ANY_TIME = "in the writing of the run folder", "at any time"
# These go on from their checkpoints, so there is something to kill more than once.
LONG = {"trajectories": 3, "sft": 3, "policy_optimisation": 3}
_SHARE_AT_ANY_TIME = 0.15
_LIMIT = 150
BENCHMARK = """\
name: killed
data: {{name: tjh, root: {root}, task: in_hospital_mortality, window_hours: 24}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
policy: {{name: tiny, steps: 120, hidden_dim: 48, intermediate_dim: 96, layers: 2}}
record_text: {{values: quantile, periods: 1, bins: 10, instructions: short}}
answer: expectation
methods:
  - lightgbm
  - name: eag_rl
    expert: logistic_regression
    search: {{name: expert_mcts, parallel: 2}}
    token_budget: 400
    max_new_tokens: 100
    max_training_cases: 24
    batch_cases: 8
    sft: {{steps: 30, checkpoint_every: 10}}
    policy_optimisation:
      {{steps: 4, cases: 4, group_size: 4, passes: 2, mini_batches: 1, checkpoint_every: 1}}
metrics: [auroc, brier, unparsed_rate]
intervals: {{resamples: 100}}
"""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The benchmark, and what a run of it leaves that nobody kills.

    Attributes:
        benchmark: Its file.
        folder: Holds the store and the run folder.
        steps: How many steps each stage takes in the store, by `<kind>/<fingerprint>`, in the order of the stages; last
            those of the run folder.
    """

    benchmark: Path
    folder: Path
    steps: dict[str, int]

    @classmethod
    def run(cls, benchmark: Path, folder: Path) -> Undisturbed:
        """Run the benchmark and count its steps."""
        folder.mkdir()
        report = folder / "steps"
        hook = {"INTERRUPT_PLACE": str(folder), "INTERRUPT_REPORT": str(report)}
        command = _start(benchmark, folder, 1, hook)
        code = command.wait()
        assert code == 0, (folder / "printed").read_text()
        store, out = folder / "store", folder / "out"
        places = [Path(line) for line in report.read_text().splitlines()]
        counted = Counter(
            f"{p.relative_to(store).parts[0]}/{p.relative_to(store).parts[1].partition('.')[0]}"
            for p in places
            if p.is_relative_to(store) and len(p.relative_to(store).parts) > 1
        )
        steps = {key: counted[key] for key in _stages(out)}
        return cls(benchmark, folder, {**steps, WRITING: sum(p.is_relative_to(out) for p in places)})


@dataclass(slots=True)
class Tally:
    """What the kills of one fault came to.

    Attributes:
        killed: How often each process was killed.
        lost: What was lost by it.
    """

    killed: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Chain:
    """A run that is killed again and again.

    Attributes:
        undisturbed: What it must be in the end.
        folder: Its own folder.
        workers: In how many processes it computes.
        draw: Draws when and whom to kill.
        tallies: What came of the kills, by fault.
        finished: The manifests of the stages that were finished before the last process began.
    """

    undisturbed: Undisturbed
    folder: Path
    workers: int
    draw: random.Random
    tallies: dict[str, Tally]
    finished: dict[str, bytes] = field(default_factory=dict)
    _last_fault: str = ANY_TIME

    def run(self, n_kills: int) -> int:
        """Kill the run up to `n_kills` times, let it end, compare; return how often it was killed."""
        self.folder.mkdir()
        n_done, is_over = 0, False
        for place in self._targets(n_kills):
            if n_done == n_kills or is_over:
                break
            if place != WRITING and (self.folder / "store" / place / "manifest.json").is_file():
                continue  # the other worker was quicker
            killed, code = self._kill_at(place)
            n_done += killed
            # Nothing was left to do, or one stage of many had failed by the death of its worker.
            is_over = code == 0
        self._end()
        return n_done

    def _targets(self, n_kills: int) -> list[str]:
        """Choose the stages to kill in, in their order."""
        targets = [key for key in self.undisturbed.steps for _ in range(LONG.get(key.partition("/")[0], 1))]
        # Some more than wanted: a stage may be over before its turn comes.
        return [targets[i] for i in sorted(self.draw.sample(range(len(targets)), min(len(targets), n_kills + 1)))]

    def _kill_at(self, place: str) -> tuple[bool, int | None]:
        """Start the run, kill it there or at any time, and look at what is left; return its code too."""
        has_workers = self.workers > 1 and place != WRITING  # the main process writes the run folder
        whom = self.draw.choice(["main", "group", "worker"] if has_workers else ["main", "group"])
        if place != WRITING and self.draw.random() < _SHARE_AT_ANY_TIME:
            fault = ANY_TIME
            command = _start(self.undisturbed.benchmark, self.folder, self.workers, {})
            code = command.wait(self.draw.uniform(0.2, 12.0))
            killed = code is None and command.kill(whom, self.draw)
        else:
            fault = WRITING if place == WRITING else f"in a stage {place.partition('/')[0]}"
            report = self.folder / "report"
            report.unlink(missing_ok=True)
            command = _start(self.undisturbed.benchmark, self.folder, self.workers, self._hook(place, whom, report))
            code = command.wait()
            killed = "interrupted" in report.read_text().splitlines() if report.is_file() else False
        code = command.wait()
        tally = self.tallies.setdefault(fault, Tally())
        tally.killed[whom] += killed
        tally.lost += self._left_wrong(command, code)
        self._last_fault = fault
        return killed, code

    def _hook(self, place: str, whom: str, report: Path) -> dict[str, str]:
        at = self.draw.randint(1, self.undisturbed.steps[place])
        is_long = place.partition("/")[0] in {*LONG, "policy"}
        after = self.draw.uniform(0.05, 0.8) if is_long and self.draw.random() < 0.5 else 0.0
        where = self.folder / ("out" if place == WRITING else f"store/{place}")
        return {
            "INTERRUPT_PLACE": str(where),
            # What goes on from checkpoints takes fewer steps.
            "INTERRUPT_AT": str(max(1, at // 3) if is_long else at),
            "INTERRUPT_BY": "kill" if whom == "worker" else whom,
            "INTERRUPT_AFTER": f"{after:.3f}",
            "INTERRUPT_REPORT": str(report),
        }

    def _left_wrong(self, command: Command, code: int | None) -> list[str]:
        """Name what is wrong after a kill: processes that go on, stages that were done again, wrong numbers."""
        lost = ["it hung"] if code is None else []
        lost += command.orphans()
        now = _manifests(self.folder / "store")
        lost += [f"done again: {key}" for key, before in self.finished.items() if now.get(key) != before]
        self.finished = now
        wrong = finished_rows(self.folder / "out") - finished_rows(self.undisturbed.folder / "out")
        return lost + [f"a wrong number: {row}" for row in sorted(wrong)[:3]]

    def _end(self) -> None:
        """Let the run end, and compare it with the undisturbed one."""
        command = _start(self.undisturbed.benchmark, self.folder, self.workers, {})
        code = command.wait()
        lost = self.tallies.setdefault(self._last_fault, Tally()).lost
        lost += self._left_wrong(command, code)
        if code != 0:
            lost.append(f"the last run ended with {code}: {(self.folder / 'printed').read_text()[-300:]}")
            return
        out, whole = self.folder / "out", self.undisturbed.folder / "out"
        lost += [f"differs: {name}" for name in differences(out, whole)]
        mine, other = (_stage_files(f / "store") for f in (self.folder, self.undisturbed.folder))
        lost += [f"differs in the store: {key}" for key in sorted({*mine, *other}) if mine.get(key) != other.get(key)]
        left = [*(self.folder / "store").glob("*/*.partial"), *out.rglob(".*")]
        lost += [f"left behind: {path.relative_to(self.folder)}" for path in left]


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Kill chains of runs, in turn with one and with two workers, as often in all."""
    benchmark = folder / "killed.yaml"
    benchmark.write_text(BENCHMARK.format(root=SHARED_DATA / "tjh"))
    undisturbed = Undisturbed.run(benchmark, folder / "undisturbed")
    draw, tallies, n_done, n_chains = random.Random(seed), dict[str, Tally](), 0, 0
    longest = sum(LONG.get(key.partition("/")[0], 1) for key in undisturbed.steps)
    while n_done < times:
        n_kills = min(times - n_done, longest, max(1, times // 2))
        chain = Chain(undisturbed, folder / f"chain_{n_chains}", 1 + n_chains % 2, draw, tallies)
        n_done += chain.run(n_kills)
        n_chains += 1
        n_lost = sum(len(tally.lost) for tally in tallies.values())
        print(f"kills: {n_done} of {times} in {n_chains} chains, {n_lost} lost", flush=True)
    return [_row(fault, tallies[fault]) for fault in sorted(tallies)]


def _row(fault: str, tally: Tally) -> Row:
    named = {"main": "the main process {} x", "group": "all processes {} x", "worker": "a worker {} x"}
    whom = ", ".join(text.format(tally.killed[key]) for key, text in named.items() if tally.killed[key])
    happened = f"{whom}: resumed, and ended with the bytes of an undisturbed run; no process left after 10 s"
    return Row(f"SIGKILL {fault}", tally.killed.total(), happened, tuple(tally.lost))


def _start(benchmark: Path, folder: Path, workers: int, hook: dict[str, str]) -> Command:
    arguments = ["run", benchmark, "--out", folder / "out", "--limit", _LIMIT, "--workers", workers, "--quiet"]
    return Command(*arguments, store=folder / "store", printed=folder / "printed", environment=hook)


def _stages(out: Path) -> list[str]:
    """List the stages in the order in which one process computes them, as `<kind>/<fingerprint>`."""
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [f"{entry['kind']}/{entry['stage']}" for entry in entries]


def _manifests(store: Path) -> dict[str, bytes]:
    return {path.parent.relative_to(store).as_posix(): path.read_bytes() for path in store.glob("*/*/manifest.json")}


def _stage_files(store: Path) -> dict[str, str]:
    """Hash every file of every finished stage, but for the manifests, which hold times."""
    return {
        path.relative_to(store).as_posix(): file_hash(path)
        for stage in _manifests(store)
        for path in sorted((store / stage).rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
