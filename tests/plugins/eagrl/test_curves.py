"""What the curves of Stage II come to."""

from __future__ import annotations

from typing import Any

import pytest

from eagbench_plugins.eagrl.curves import summarise_curves


def line(step: int, above: float, **changes: Any) -> dict[str, Any]:
    return {
        "step": step,
        "reward": 0.1 * step,
        "entropy": 1.0 / step,
        "kl": 0.01 * step,
        "clip_above_fixed": above,
        "clip_freed": above / 2,
        "clip_high": above / 4,
        "clip_low": 0.02,
        "groups_without_spread": 0.25,
        "groups_resampled": 0.5,
        **changes,
    }


def test_a_summary_by_hand() -> None:
    summary = summarise_curves([line(step, 0.01 * step) for step in range(1, 7)])
    assert summary == {
        "generated_batches": 6,
        "batches_without_step": 0,
        "clip_above_fixed": pytest.approx(0.035),
        "clip_freed": pytest.approx(0.0175),
        "clip_high": pytest.approx(0.00875),
        "clip_low": pytest.approx(0.02),
        "groups_without_spread": 0.25,
        "groups_resampled": 0.5,
        "entropy_first": 1.0,
        "entropy_last": pytest.approx(1 / 6),
        "kl_last": pytest.approx(0.06),
        "reward_first": pytest.approx(0.15),
        "reward_last": pytest.approx(0.55),
        "clipping_void": False,
    }


@pytest.mark.parametrize(("above", "void"), [((0.0, 0.019), True), ((0.0, 0.02), False)])
def test_clipping_is_void_below_one_percent_on_average(above: tuple[float, float], void: bool) -> None:
    assert summarise_curves([line(i + 1, share) for i, share in enumerate(above)])["clipping_void"] is void


def test_what_was_not_measured_is_none() -> None:
    lines = [line(1, 0.1)]
    del lines[0]["kl"]
    summary = summarise_curves(lines)
    assert summary["kl_last"] is None
    assert summary["reward_first"] == summary["reward_last"] == lines[0]["reward"]
