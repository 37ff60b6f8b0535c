"""Measure how much faster the bootstrap of AUROC and AUPRC is than calling scikit-learn once per resample.

    python speed/bootstrap.py [--cases 2000] [--resamples 1000]

Prints milliseconds per resample for both and their ratio, on the same resamples, and checks that the values agree. The
comparison calls scikit-learn with `sample_weight` and with repeated cases, and takes the faster of the two.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from eagbench.contracts.answers import ScoredCases
from eagbench.metrics.discrimination import Auprc, Auroc
from eagbench.stats.bootstrap import bootstrap, patient_weights

COMPARED = 50  # resamples given to scikit-learn; its cost per resample is constant


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    label = (rng.random(args.cases) < 0.15).astype(int)
    probability = 1 / (1 + np.exp(2 - 1.5 * label - rng.normal(size=args.cases)))
    scored = ScoredCases(probability, label, np.ones(args.cases, dtype=bool))
    patients = [f"p{i:06d}" for i in range(args.cases)]
    metrics = (Auroc(Auroc.Params()), Auprc(Auprc.Params()))

    start = time.perf_counter()
    ours = bootstrap(lambda rows: np.stack([m(scored, rows) for m in metrics]), patients, args.resamples, seed=0)
    ours_ms = (time.perf_counter() - start) / args.resamples * 1000

    rows = patient_weights(patients, args.resamples, seed=0)[: min(COMPARED, args.resamples)]
    sklearn_ms, worst = np.inf, 0.0
    for repeated in (False, True):
        start = time.perf_counter()
        for b, row in enumerate(rows):
            cases = np.repeat(np.arange(args.cases), row.astype(int)) if repeated else np.arange(args.cases)
            weight = None if repeated else row
            values = [
                f(label[cases], probability[cases], sample_weight=weight)
                for f in (roc_auc_score, average_precision_score)
            ]
            worst = max(worst, float(np.abs(np.array(values) - ours[:, b]).max()))
        sklearn_ms = min(sklearn_ms, (time.perf_counter() - start) / len(rows) * 1000)

    print(f"{args.cases} cases, {args.resamples} resamples, AUROC and AUPRC, drawing of patients included")
    print(f"eagbench      {ours_ms:8.3f} ms per resample")
    print(f"scikit-learn  {sklearn_ms:8.3f} ms per resample")
    print(f"ratio         {sklearn_ms / ours_ms:8.1f}")
    print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
