"""Names of the numbers of recalibrated probabilities, reported next to those of the probabilities as answered.

In `results.csv` the column `calibration` tells them apart. Elsewhere the name itself does: `brier@prior_corrected` is
the Brier score of the probabilities corrected for the prior of training (`eagbench.prompting.prior`).
`brier:parsed_only@prior_corrected` is the same over the parsed answers only. `brier@recalibrated` is the Brier score
after logistic recalibration on tuning cases (`eagbench.stats.recalibration`).
"""

from __future__ import annotations

UNCORRECTED = "none"
PRIOR_CORRECTED = "prior_corrected"
RECALIBRATED = "recalibrated"
# The columns of the scored table that hold another probability than the one answered.
RECALIBRATIONS = (PRIOR_CORRECTED, RECALIBRATED)


def qualified_name(metric: str, calibration: str) -> str:
    """Build the name of a metric's number under a calibration."""
    return metric if calibration == UNCORRECTED else f"{metric}@{calibration}"


def metric_and_calibration(name: str) -> tuple[str, str]:
    """Split a name from `qualified_name` into metric and calibration."""
    metric, _, calibration = name.partition("@")
    return metric, calibration or UNCORRECTED


def without_unparsed_variant(name: str) -> str:
    """Return the name of the number over all answers, which equals the variant if every answer was parsed."""
    metric, calibration = metric_and_calibration(name)
    return qualified_name(metric.partition(":")[0], calibration)
