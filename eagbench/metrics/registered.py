"""What registered metrics say of themselves, by name."""

from __future__ import annotations

from typing import Any

from eagbench.errors import UserError
from eagbench.registry.plugins import load_registry


def better_end(metric: str) -> str:
    """Which end of a metric is better: `higher`, `lower` or `neither`."""
    return str(_component(metric).better)


def reads_probability(metric: str) -> bool:
    """Whether a metric is a function of the probabilities."""
    return bool(_component(metric).reads_probability)


def is_tested(metric: str) -> bool:
    """Whether a difference of this metric is a test: it has a better end, and is not biased on a finite sample."""
    return better_end(metric) != "neither" and not getattr(_component(metric), "biased", False)


def check_tested(metric: str, where: str, mend: str) -> None:
    """Refuses a metric whose difference is no test.

    Raises:
        UserError: It has no better end, or is biased on a finite sample.
    """
    if not is_tested(metric):
        raise UserError(
            f"a difference in '{metric}' can't carry a claim: it has no better end, or is biased by how answers "
            "scatter",
            where=where,
            mend=mend,
        )


def needs_attention(metric: str) -> bool:
    """Whether a metric needs the policies' own attention, which is then measured at prediction."""
    return bool(getattr(_component(metric), "needs_attention", False))


def needs_reference_expert(metric: str) -> bool:
    """Whether a metric compares with the reference expert, so that its value depends on which one that is."""
    return bool(getattr(_component(metric), "needs_reference_expert", False))


def _component(metric: str) -> Any:
    return load_registry().get("metric", metric).component
