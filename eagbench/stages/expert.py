"""Stage `expert`: fits one expert on the training part of one fold."""

from __future__ import annotations

from eagbench.contracts.stages import StageRun


def fit(run: StageRun) -> None:
    """Fit and save the component."""
    run.component.fit(run.inputs["training"], run)
    run.component.save(run.out)
