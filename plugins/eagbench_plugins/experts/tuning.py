"""Choose the labelled cases that decide when training stops.

These are the tuning cases if there are enough of them. Otherwise the training cases are split into folds by patient,
because a handful of tuning cases would stop training at random.
"""

from __future__ import annotations

import numpy as np

from eagbench.api import IntArray, LabelledCases

MIN_CASES = 100
MIN_EVENTS = 20
N_FOLDS = 5


def is_large_enough(cases: LabelledCases) -> bool:
    """Check whether the tuning cases suffice: at least 100 cases, with at least 20 events and 20 non-events."""
    events = int(cases.labels.sum())
    return len(cases) >= MIN_CASES and min(events, len(cases) - events) >= MIN_EVENTS


def patient_folds(cases: LabelledCases, seed: int) -> list[tuple[IntArray, IntArray]] | None:
    """Split training cases into five folds by patient, stratified by label.

    Args:
        cases: Training cases.
        seed: Seed of the split.

    Returns:
        Positions of (remaining, left out) cases per fold. None if fewer than 20 patients have an event, or fewer than
        20 have a case without one, because a fifth of them would be too few to decide anything.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    patients = np.array(cases.cases.patient_ids)
    for label in (0, 1):
        if len(np.unique(patients[cases.labels == label])) < MIN_EVENTS:
            return None
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed % 2**32)
    return list(folds.split(np.zeros(len(cases)), cases.labels, groups=patients))
