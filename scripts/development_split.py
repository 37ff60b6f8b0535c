"""Write a split of a benchmark's training patients alone, to compare ideas on without a look at its held-out patients.

    python scripts/development_split.py RUN_FOLDER OUT.csv [--share 0.3] [--seed 7] [--training N]
    eagbench run BENCHMARK --set split='{file: OUT.csv, missing: leave_out}'

Of the training patients of a finished run (its first fold), a share is held out; the tuning patients stay what they
are. The run's own held-out patients are in no part. An idea that wins here has still to be tried once on them. With
`--training` only so many patients are left to train on, among them those of every smaller number: a learning curve.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq


def development_parts(patients: dict[str, str], share: float, seed: int, most: int | None = None) -> dict[str, str]:
    """Divide training patients anew.

    Args:
        patients: The part of each patient in the run.
        share: Of the training patients, in ]0, 1[, those to hold out.
        seed: Draws them.
        most: Of the others, how many to train on; None keeps all.

    Returns:
        The part of each training and tuning patient, by patient id.

    Raises:
        SystemExit: There are not so many patients.
    """
    training = sorted(patient for patient, part in patients.items() if part == "train")
    drawn = [training[i] for i in np.random.default_rng(seed).permutation(len(training))]
    first = round(share * len(training))
    if most is not None and not 1 <= most <= len(drawn) - first:
        raise SystemExit(f"--training {most} is not between 1 and the {len(drawn) - first} patients that are left")
    left = drawn[first:] if most is None else drawn[first : first + most]
    tuning = [patient for patient, part in patients.items() if part == "tuning"]
    parts = dict.fromkeys(drawn[:first], "held_out") | dict.fromkeys(left, "train") | dict.fromkeys(tuning, "tuning")
    return dict(sorted(parts.items()))


def main() -> None:
    """Read a run's patients and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--training", type=int, help="how many patients to train on; all that are left by default")
    args = parser.parse_args()
    table = pq.read_table(args.run / "patients.parquet", filters=[("fold", "=", 0)])
    patients = dict(zip(table["patient_id"].to_pylist(), table["part"].to_pylist(), strict=True))
    parts = development_parts(patients, args.share, args.seed, args.training)
    pyarrow.csv.write_csv(pyarrow.table({"patient_id": list(parts), "part": list(parts.values())}), args.out)
    counts = {part: list(parts.values()).count(part) for part in ("train", "tuning", "held_out")}
    print(", ".join(f"{part} {n}" for part, n in counts.items()))


if __name__ == "__main__":
    main()
