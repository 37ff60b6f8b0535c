"""Lists that were not made for the patient: by hand, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.metrics.attention import jaccard
from eagbench.stats.list_controls import CitedCases, control_overlaps

RANKING = ("a", "b", "c", "d")


def cases(lists, references, measured, risk=None, patient=None) -> CitedCases:
    n = len(lists)
    return CitedCases(
        lists,
        references,
        measured,
        np.array([0.5] * n if risk is None else risk),
        patient or [str(i) for i in range(n)],
    )


def test_the_baseline_is_cut_to_what_was_measured_and_refilled() -> None:
    found = control_overlaps(cases(["a"], ["bc"], ["bcd"]), RANKING, 2)
    assert found[0, 0] == 1.0  # b and c are the first two that were measured
    assert np.isnan(found[0, 1:]).all()  # nobody else


def test_other_patients_lists_are_treated_likewise() -> None:
    # For the first: x is cut to c (a wasn't measured) and refilled with b.
    found = control_overlaps(cases(["d", "ac"], ["bc", "a"], ["bcd", "abcd"]), RANKING, 1)
    assert found[0].tolist() == [0.5, 1.0, 1.0]
    assert found[1].tolist() == [1.0, 0.0, 0.0]


def test_who_cites_the_same_for_everybody_does_not_exceed_the_others() -> None:
    rng = np.random.default_rng(0)
    measured = [[name for name in RANKING if rng.random() < 0.7] or ["a"] for _ in range(30)]
    cited = [[name for name in "abc" if name in there] for there in measured]  # as far as it was measured
    # Refilled, others' shorter lists stay shorter: compare those of full length.
    full = [i for i, names in enumerate(cited) if len(names) == 3]
    found = control_overlaps(
        cases([cited[i] for i in full], [cited[i] for i in full], [measured[i] for i in full]), RANKING, 3
    )
    assert found.min() == 1.0


def test_it_equals_plain_loops() -> None:
    rng = np.random.default_rng(1)
    names, n = "abcdefg", 40

    def some(share: float) -> list[list[str]]:
        return [[name for name in names if rng.random() < share] for _ in range(n)]

    measured = some(0.7)
    lists, references, patient = some(0.3), some(0.3), [str(i // 2) for i in range(n)]
    risk = rng.integers(0, 12, n) / 12
    found = control_overlaps(cases(lists, references, measured, risk, patient), RANKING, 2)
    ranking = [*RANKING, *"efg"]

    def refilled(listed: list[str], there: list[str]) -> frozenset[str]:
        kept = [name for name in listed if name in there]
        more = [name for name in ranking if name in there and name not in kept]
        return frozenset([*kept, *more[: len(listed) - len(kept)]])

    for i in range(n):
        others = [j for j in range(n) if patient[j] != patient[i]]
        distance = sorted(abs(risk[j] - risk[i]) for j in others)[9]
        near = [j for j in others if abs(risk[j] - risk[i]) <= distance + 1e-12]
        reference = frozenset(references[i])
        expected = [
            jaccard(refilled(list(RANKING[:2]), measured[i]), reference),
            np.mean([jaccard(refilled(lists[j], measured[i]), reference) for j in others]),
            np.mean([jaccard(refilled(lists[j], measured[i]), reference) for j in near]),
        ]
        assert found[i] == pytest.approx(expected)
