"""Every built-in metric keeps the contract."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.testing import MetricConformance
from tests.built_in import conformance_classes


def test_a_doubled_weight_is_a_patient_counted_twice(self: MetricConformance, made, scored) -> None:
    """What a case is compared with stays what it is in the sample: a weighted mean of the values per case."""
    counts = np.random.default_rng(2).integers(0, 4, len(scored.label)).astype(float)
    per_case = made(scored, np.eye(len(scored.label)))
    expected = float(np.average(per_case, weights=counts))
    assert self.value(made, scored, counts) == pytest.approx(expected, abs=1e-9)


# The comparison with other patients is made in the sample as a whole, not in the resample (their docstrings).
OF_THE_WHOLE_SAMPLE = {"test_a_doubled_weight_is_a_duplicated_case": test_a_doubled_weight_is_a_patient_counted_twice}

globals().update(
    conformance_classes(
        "metric",
        MetricConformance,
        {
            "alignment_over_other_patient": OF_THE_WHOLE_SAMPLE,
            "attention_mass_over_other_patient": OF_THE_WHOLE_SAMPLE,
        },
    )
)
del test_a_doubled_weight_is_a_patient_counted_twice  # a method of the two, and no test of this module
