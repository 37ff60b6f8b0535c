"""Names the columns that hold how far lists that were not made for a patient overlap with the expert's list for them.

A metric asks for them in its traits (`MetricTraits.columns`); the stage `score` then computes them.
"""

from __future__ import annotations

# The frequency baseline, cut to what was measured in the patient and refilled; other patients' citations, treated
# likewise; and those of patients with nearly the same answer.
REFILLED_BASELINE, REFILLED_OTHERS, SIMILAR_RISK = CONTROL_COLUMNS = (
    "overlap_of_refilled_baseline",
    "overlap_of_refilled_others",
    "overlap_of_similar_risk",
)
