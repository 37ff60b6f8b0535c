"""Careful edits of run folders: each changes one thing and adapts every hash, and `verify` has to notice it.

The editor knows eagbench: after an edit the hashes of files and of the manifest fit again, and the report is made anew.
What the store holds is not edited. A few edits leave the hashes alone, of what nothing but a hash can prove.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import SHARED_DATA
from tests.reliability.edit_catalogue import Edit, adapt_hashes, edits_of
from tests.reliability.rows import Row

SMALL, FULL = 40, 400

_OPEN = """\
name: edited
data: {{name: tjh, root: {root}, window_hours: 24}}
split: {{train: 0.4, tuning: 0.4, held_out: 0.2, seed: 0}}
policy: {{name: tiny, steps: {steps}, hidden_dim: 64, layers: 2}}
answer: {{mode: mean_of_n, samples: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
reference_expert: logistic_regression
methods:
  - logistic_regression
  - {{name: lightgbm, num_leaves: 4}}
  - {{name: prompt, max_new_tokens: 96}}
  - {{name: logistic_regression, as: broken, max_iterations: 1}}
conditions: [clean, {{name: missing_values, severity: [0.5]}}, {{name: feature_synonyms, severity: [1.0]}}]
comparisons: {{method: lightgbm, metric: auroc}}
recalibrate: true
subgroups: {{by: [sex], minimum_cases: 10, minimum_positive: 3}}
seeds: [0, 1]
metrics: [auroc, brier, ece, citation_jaccard, unparsed_rate]
intervals: {{resamples: 100}}
"""
_SYNTHETIC = """\
name: generated
data: {name: mimic4, root: synthetic}
split: {train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}
methods: [logistic_regression]
metrics: [auroc, brier]
intervals: {resamples: 100}
"""


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Make a run on real records and one on generated ones, edit them one after the other, and verify each."""
    with _store(folder / "store"):
        runs = make_runs(folder, seed)
        edits = [(run, edit) for run in runs for edit in edits_of(run)]
        chosen = _chosen(edits, times)
        lost: list[str] = []
        notes: dict[str, int] = {"careful": 0, "careless": 0}
        for run, edit in chosen:
            notes["careful" if edit.adapts else "careless"] += 1
            said = problem_of(run, edit, folder / "edited")
            if said is not None:
                lost.append(f"{run.name}, {edit.file}: {edit.what}: {said}")
    fault = f"an edit of a run folder ({notes['careful']} with all hashes adapted, {notes['careless']} without)"
    return [Row(fault, len(chosen), "`verify` names the file or the number and exits 1", tuple(lost))]


def make_runs(folder: Path, seed: int) -> list[Path]:
    """Make the run folders to edit.

    Args:
        folder: Where; their stages go into `$EAGBENCH_STORE`.
        seed: Unused: the same edits are careful whatever the numbers are.
    """
    del seed
    (folder / "open.yaml").write_text(_OPEN.format(root=SHARED_DATA / "tjh", steps=200))
    (folder / "synthetic.yaml").write_text(_SYNTHETIC)
    for name, limit, code in (("open", 340, 1), ("synthetic", 120, 0)):
        command = [sys.executable, "-m", "eagbench", "run", str(folder / f"{name}.yaml"), "--out", str(folder / name)]
        done = subprocess.run([*command, "--limit", str(limit), "--quiet"], capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        assert verified(folder / name) == "passed"
    return [folder / "open", folder / "synthetic"]


def verified(run: Path) -> str:
    """Verify a run folder in this process as the command does: `passed`, `noticed`, `refused`, or how it crashed."""
    from eagbench.errors import UserError
    from eagbench.report.verification import check_report
    from eagbench.runs.verify.verify import verify

    try:
        findings = verify(run)
        check_report(run, findings)
    except UserError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - that is what is measured here
        return f"crashed: {type(error).__name__}: {error}"
    return "passed" if findings.passed else "noticed"


def problem_of(run: Path, edit: Edit, scratch: Path) -> str | None:
    """Edit a copy of a run folder, and say how `verify` failed to notice it; None if it did."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(run, scratch)
    edit.do(scratch)
    if edit.adapts:
        adapt_hashes(scratch)
        remake_report(scratch)
    said = verified(scratch)
    if said in ("noticed", "refused"):
        return None if said == "noticed" or edit.may_be_refused else "refused as no run folder"
    return said


def remake_report(run: Path) -> None:
    """Make the report of an edited folder anew, where it can still be made."""
    from eagbench.report.html import write_report
    from eagbench.runs.reader import RunFolder

    with contextlib.suppress(Exception):
        write_report(RunFolder(run))


def _chosen(edits: Sequence[tuple[Path, Edit]], times: int) -> list[tuple[Path, Edit]]:
    """Take the edits that were once overlooked, then others spread evenly over the catalogue."""
    first = [pair for pair in edits if pair[1].was_overlooked]
    others = [pair for pair in edits if not pair[1].was_overlooked]
    n = max(0, min(times, len(edits)) - len(first))
    return first + [others[i * len(others) // n] for i in range(n)]


@contextlib.contextmanager
def _store(root: Path) -> Iterator[None]:
    before = os.environ.get("EAGBENCH_STORE")
    os.environ["EAGBENCH_STORE"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["EAGBENCH_STORE"]
        else:
            os.environ["EAGBENCH_STORE"] = before
