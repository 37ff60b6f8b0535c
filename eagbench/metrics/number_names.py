"""Names of the numbers of recalibrated probabilities, which stand beside those of the probabilities as answered.

In `results.csv` the column `calibration` tells them apart; where numbers have one name only, `brier@prior_corrected`
is the Brier score of the probabilities corrected for the prior of training (`eagbench.prompting.prior`),
`brier:parsed_only@prior_corrected` is that over the parsed answers, and `brier@recalibrated` that of the probabilities
after logistic recalibration on tuning cases (`eagbench.stats.recalibration`).
"""

from __future__ import annotations

UNCORRECTED = "none"
PRIOR_CORRECTED = "prior_corrected"
RECALIBRATED = "recalibrated"
# The columns of the scored table that hold another probability than the one answered.
RECALIBRATIONS = (PRIOR_CORRECTED, RECALIBRATED)


def qualified_name(metric: str, calibration: str) -> str:
    """The name of a metric's number under a calibration."""
    return metric if calibration == UNCORRECTED else f"{metric}@{calibration}"


def metric_and_calibration(name: str) -> tuple[str, str]:
    """What `qualified_name` was made of."""
    metric, _, calibration = name.partition("@")
    return metric, calibration or UNCORRECTED


def without_unparsed_variant(name: str) -> str:
    """The name of the number with all answers, to which a variant is equal where every answer was parsed."""
    metric, calibration = metric_and_calibration(name)
    return qualified_name(metric.partition(":")[0], calibration)
