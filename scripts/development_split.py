"""Write a split of a benchmark's training patients alone, to compare ideas on without a look at its held-out patients.

    python scripts/development_split.py RUN_FOLDER OUT.csv [--share 0.3] [--seed 7]
    eagbench run BENCHMARK --set split='{file: OUT.csv, missing: leave_out}'

Of the training patients of a finished run (its first fold), a share is held out; the tuning patients stay what they
are. The run's own held-out patients are in no part. An idea that wins here has still to be tried once on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq


def development_parts(patients: dict[str, str], share: float, seed: int) -> dict[str, str]:
    """Divide training patients anew.

    Args:
        patients: The part of each patient in the run.
        share: Of the training patients, in ]0, 1[, those to hold out.
        seed: Draws them.

    Returns:
        The part of each training and tuning patient, by patient id.
    """
    training = sorted(patient for patient, part in patients.items() if part == "train")
    drawn = np.random.default_rng(seed).permutation(len(training))[: round(share * len(training))]
    held_out = {training[i] for i in drawn}
    kept = {patient: part for patient, part in patients.items() if part != "held_out"}
    return {patient: "held_out" if patient in held_out else part for patient, part in sorted(kept.items())}


def main() -> None:
    """Read a run's patients and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    table = pq.read_table(args.run / "patients.parquet", filters=[("fold", "=", 0)])
    patients = dict(zip(table["patient_id"].to_pylist(), table["part"].to_pylist(), strict=True))
    parts = development_parts(patients, args.share, args.seed)
    pyarrow.csv.write_csv(pyarrow.table({"patient_id": list(parts), "part": list(parts.values())}), args.out)
    counts = {part: list(parts.values()).count(part) for part in ("train", "tuning", "held_out")}
    print(", ".join(f"{part} {n}" for part, n in counts.items()))


if __name__ == "__main__":
    main()
