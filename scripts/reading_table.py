"""Write the table of the claim that a policy reads the patient, from a run of benchmarks/reading_physionet2012.yaml.

    python scripts/reading_table.py RUN_FOLDER [--names]

Rows, tests and their order are fixed here, before the last run. Six rows are tests, two-sided, corrected together by
Holm; a test counts as shown if its corrected p is below 0.05 and every seed has the sign of the mean, and as shown
against the claim if that sign is below 0. A difference that is undefined (two methods that answer alike) has p = 1:

1. citations: overlap with the expert beyond the best of three controls, against 0;
2. and 3. Stage II minus Stage I, in that overlap and in AUROC;
4. EAG-RL minus the answer alone, in AUROC;
5. and 6. comprehensiveness of the citations beyond the matched control and beyond the frequency baseline, against 0.

The p-values and standard errors of differences are the run's own. Those of single metrics are by the normal
distribution, with the standard error that their interval implies. The other rows (AUROC, Brier skill, calibration
slope, loss under names that no training has met) have bars for the estimate, and intervals. Smallest detectable: 2.8
standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

import eagbench
from eagbench.stats.multiplicity import holm
from eagbench.stats.paired import DETECTABLE_STANDARD_ERRORS

POLICY, STAGE_ONE, ANSWERS = "eag_rl", "stage_one", "answer_only"
OVERLAP = "alignment_over_best_control"
BEYOND_CONTROL = "citation_comprehensiveness_over_control"
BEYOND_BASELINE = "citation_comprehensiveness_over_baseline"
NAMES = ("feature_synonyms", "feature_abbreviations")
LEVEL, SEEDS = 0.05, 3


@dataclass(frozen=True)
class Row:
    """A number with its interval, its standard error and its value per seed.

    `p_value` is NaN where the row is no test.
    """

    what: str
    value: float
    low: float
    high: float
    standard_error: float
    seeds: tuple[float, ...]
    p_value: float = float("nan")

    @property
    def alike(self) -> bool:
        """Whether all seeds have the sign of the mean."""
        return all(np.sign(seed) == np.sign(self.value) for seed in self.seeds)


class Run:
    """The numbers of a finished run: on unchanged records unless a condition is named, probabilities as answered."""

    def __init__(self, folder: Path) -> None:
        run = eagbench.open_run(folder)
        results = run.results
        self._results = results[(results["calibration"] == "none") & (results["subgroup"] == "all")]
        differences = run.comparisons
        self._differences = differences[(differences["condition"] == "clean") & (differences["calibration"] == "none")]

    def number(self, method: str, metric: str, condition: str = "clean") -> pd.DataFrame:
        """Return a metric's rows by seed and their mean (`mean`, or the only seed)."""
        found = self._results
        chosen = found[(found["method"] == method) & (found["metric"] == metric) & (found["condition"] == condition)]
        if chosen.empty:
            raise SystemExit(f"the run has no {metric} of {method} under {condition}")
        return chosen.set_index("seed")

    def seeds(self, method: str, metric: str, condition: str = "clean") -> tuple[float, ...]:
        """Return a metric's value of each seed."""
        rows = self.number(method, metric, condition)
        return tuple(float(value) for seed, value in rows["value"].items() if seed != "mean")

    def metric(self, method: str, metric: str, what: str) -> Row:
        """Return a metric with its interval; no test."""
        rows = self.number(method, metric)
        mean = rows.loc["mean" if "mean" in rows.index else rows.index[0]]
        implied = (mean["ci_high"] - mean["ci_low"]) / (2 * float(norm.ppf(1 - LEVEL / 2)))
        return Row(what, mean["value"], mean["ci_low"], mean["ci_high"], implied, self.seeds(method, metric))

    def beyond_zero(self, method: str, metric: str, what: str) -> Row:
        """Return a metric as a test against 0."""
        row = self.metric(method, metric, what)
        p = 2 * float(norm.sf(abs(row.value) / row.standard_error)) if row.standard_error > 0 else 1.0
        return replace(row, p_value=p)

    def difference(self, baseline: str, metric: str, what: str) -> Row:
        """Return the policy's difference from another method as a test."""
        found = self._differences
        row = found[(found["method"] == POLICY) & (found["baseline"] == baseline) & (found["metric"] == metric)].iloc[0]
        pairs = zip(self.seeds(POLICY, metric), self.seeds(baseline, metric), strict=True)
        seeds = tuple(ours - theirs for ours, theirs in pairs)
        p = 1.0 if np.isnan(row["p_value"]) else row["p_value"]
        return Row(what, row["difference"], row["ci_low"], row["ci_high"], row["standard_error"], seeds, p)


def tests(run: Run) -> list[Row]:
    """Compute the six tests, in the order that is fixed above."""
    return [
        run.beyond_zero(POLICY, OVERLAP, "citation overlap beyond the best of three controls"),
        run.difference(STAGE_ONE, OVERLAP, "Stage II minus Stage I, that overlap"),
        run.difference(STAGE_ONE, "auroc", "Stage II minus Stage I, AUROC"),
        run.difference(ANSWERS, "auroc", "EAG-RL minus answers alone, AUROC"),
        run.beyond_zero(POLICY, BEYOND_CONTROL, "comprehensiveness beyond the matched control"),
        run.beyond_zero(POLICY, BEYOND_BASELINE, "comprehensiveness beyond the frequency baseline"),
    ]


def written(row: Row, corrected: float | None = None) -> str:
    """Write a line of the table."""
    seeds = " ".join(f"{seed:+.3f}" for seed in row.seeds)
    tested = ["", ""]
    if corrected is not None:
        verdict = "not shown"
        if corrected < LEVEL and row.alike:
            verdict = "shown" if row.value > 0 else "shown against it"
        tested = [f"{corrected:.3f}" if corrected >= 0.001 else "< 0.001", verdict]
    interval = f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
    detectable = f"{DETECTABLE_STANDARD_ERRORS * row.standard_error:.3f}"
    return "| " + " | ".join([row.what, interval, seeds, detectable, *tested]) + " |"


def losses(run: Run, methods: Sequence[str]) -> list[str]:
    """Write the loss of AUROC of each method under names that no training has met."""
    lines = ["", "| AUROC lost under test names | " + " | ".join(NAMES) + " |", "| --- " * (len(NAMES) + 1) + "|"]
    for method in methods:
        clean = np.mean(run.seeds(method, "auroc"))
        lost = [f"{clean - np.mean(run.seeds(method, 'auroc', condition)):.3f}" for condition in NAMES]
        lines.append("| " + " | ".join([method, *lost]) + " |")
    return lines


def main() -> None:
    """Read a run and print its table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--names", action="store_true", help="the run has the profile `names`: show the losses")
    args = parser.parse_args()
    run = Run(args.run)
    if len(run.seeds(POLICY, "auroc")) < SEEDS:
        raise SystemExit(f"the table is about {SEEDS} seeds whose signs agree, and the run has fewer")
    tested = tests(run)
    corrected = holm(np.array([row.p_value for row in tested]))
    some = run.number(POLICY, "auroc").iloc[0]
    print(f"{some['n_cases']} held-out cases, {some['n_positive']} events\n")
    print("| what | estimate (95 %) | per seed | smallest detectable | p by Holm | |\n" + "| --- " * 6 + "|")
    for metric in ("auroc", "brier_skill", "calibration_slope"):
        print(written(run.metric(POLICY, metric, f"EAG-RL, {metric}")))
    for row, p in zip(tested, corrected, strict=True):
        print(written(row, p))
    print(written(run.metric("lightgbm", BEYOND_CONTROL, "the expert's own comprehensiveness beyond the control")))
    if args.names:
        print("\n".join(losses(run, (ANSWERS, STAGE_ONE, POLICY))))


if __name__ == "__main__":
    main()
