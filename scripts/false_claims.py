"""Simulate how often a difference of two methods without skill is "shown" at 5 %, by the number of events.

    python scripts/false_claims.py [--cases 200] [--events 1 2 3 4 5 10] [--samples 2000] [--resamples 1000]

Both methods answer at random, each case is another patient, and the test is that of the tables: the paired bootstrap of
the difference in AUROC. The share should be 5 %. Beside it: how often the 95 % interval of one method's AUROC holds the
true 0.5. This is why nothing is resampled below `LEAST_PATIENTS` of either outcome (eagbench/stats/bootstrap.py).
"""

from __future__ import annotations

import argparse

import numpy as np

from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.discrimination import Auroc
from eagbench.stats.bootstrap import logit_interval, patient_weights
from eagbench.stats.paired import paired_difference

LEVEL = 0.95


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--events", type=int, nargs="+", default=[1, 2, 3, 4, 5, 10])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    for events in args.events:
        claimed, held = simulate(args.cases, events, args.samples, args.resamples)
        print(f"n {args.cases}, {events:3d} events: a difference shown in {claimed:.1%}, interval held {held:.1%}")


def simulate(cases: int, events: int, samples: int, resamples: int) -> tuple[float, float]:
    """Return the share of samples with p < 0.05, and of those whose interval of the first method's AUROC holds 0.5."""
    rng = np.random.default_rng(0)
    auroc, ones = Auroc(Auroc.Params()), np.ones((1, cases))
    weights = patient_weights([f"{i:06d}" for i in range(cases)], resamples, seed=0)
    nearest = 0.5 / (events * (cases - events))
    claimed, held = 0, 0
    for _ in range(samples):
        label = np.zeros(cases, dtype=int)
        label[rng.choice(cases, events, replace=False)] = 1
        first, second = (ScoredCases(rng.random(cases), label, np.ones(cases, dtype=bool)) for _ in range(2))
        draws = auroc(first, weights)
        claimed += paired_difference(draws - auroc(second, weights), LEVEL).p_value < 1 - LEVEL
        low, high = logit_interval(float(auroc(first, ones)[0]), draws, LEVEL, nearest)
        held += low <= 0.5 <= high
    return claimed / samples, held / samples


if __name__ == "__main__":
    main()
