"""Stage `record_text`: fits the text form of records (for example quantile edges) on unlabelled training cases."""

from __future__ import annotations

from eagbench.config.settings import RecordTextParams
from eagbench.contracts.stages import StageRun
from eagbench.prompting.record import RecordText


def fit(run: StageRun) -> None:
    """Fit and save the `RecordText` that all methods of the benchmark share."""
    record_text = RecordText(RecordTextParams.model_validate(dict(run.params)))
    record_text.fit(run.inputs["cases"])
    record_text.save(run.out)
