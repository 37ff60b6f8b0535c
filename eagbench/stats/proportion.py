"""The interval of a share of cases when cases of one patient are not independent.

Wilson's score interval (Wilson, JASA 1927) with the effective number of cases in place of their number, as Korn and
Graubard (Survey Methodology 1998) do for surveys: the number of independent cases whose share would scatter as much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from eagbench.contracts.records import IntArray


def share_interval(events: IntArray, patients: Sequence[str], level: float) -> tuple[float, float]:
    """Compute the interval of a share.

    Args:
        events: 0 or 1 per case, shape (N,), at least one case.
        patients: The patient of each case, length N. If each has one case, this is Wilson's interval.
        level: Coverage.
    """
    found = np.asarray(events, dtype=np.float64)
    share = float(found.mean())
    _, owner = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    n_patients = int(owner.max()) + 1
    effective = float(n_patients)  # of a share of 0 or 1, which does not scatter
    if 0 < share < 1 and n_patients > 1:
        of_patient = np.bincount(owner, weights=found - share) / len(found)  # (P,)
        variance = float(np.sum(of_patient**2))
        # Cases of one patient may also differ more than strangers by chance; that makes no case count twice.
        effective = min(float(len(found)), share * (1 - share) / variance) if variance else float(n_patients)
    z = float(ndtri((1 + level) / 2))
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    reach = z * np.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2)) / (1 + z**2 / effective)
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))
