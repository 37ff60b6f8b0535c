"""Cohort cards: counts that are known, leaks that were planted, small cells that stay hidden."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from eagbench.api import Case, Cohort, Feature, Provenance
from eagbench.report.cohort_card.content import Card
from eagbench.report.cohort_card.make import make_card
from eagbench.report.cohort_card.render import render
from tests.builders import make_case, make_cohort_cases


def cohort(
    cases: Sequence[Case], labels: Sequence[int], access: str = "open", groups: Mapping[str, Sequence[str]] = {}
) -> Cohort:
    names = cases[0].features
    provenance = Provenance(
        source="made",
        access=access,  # type: ignore[arg-type]
        citation="nobody",
        patient_is_stay=False,
        n_patients_read=len(cases) + 3,
        exclusions=(("too young", 3),),
    )
    return Cohort(
        cases=make_cohort_cases(cases, names),
        labels=np.array(labels),
        provenance=provenance,
        groups={name: tuple(values) for name, values in groups.items()},
    )


def drawn(n: int = 200, seed: int = 0) -> tuple[list[Case], list[int]]:
    """Cases whose pulse says a little about the outcome, and whose noise nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n).tolist()
    cases = [
        make_case(
            {"pulse": rng.normal(80 + 5 * label, 10, 4).tolist(), "noise": rng.normal(0, 1, 4).tolist()},
            times=[1, 2, 3, 40],
            case_id=f"stay-{i}",
            static={"age": 20.0 + i % 70, "sex": float(i % 2)},
        )
        for i, label in enumerate(labels)
    ]
    return cases, labels


def tree(card: Card) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render([card], "json"))[0]
    return found


def test_counts_rates_and_times() -> None:
    cases, labels = drawn()
    card = tree(make_card("made", cohort(cases, labels, groups={"ward": ["a", "b"] * 100})))
    assert (card["patients"], card["cases"], card["with_outcome"]) == (200, 200, sum(labels))
    wards = {row["value"]: row for row in card["groups"] if row["fact"] == "ward"}
    assert wards["a"]["cases"] == 100
    assert wards["a"]["with_outcome"] == sum(labels[::2])
    assert wards["a"]["interval"][0] < wards["a"]["event_rate"] < wards["a"]["interval"][1]
    bands = [row["value"] for row in card["groups"] if row["fact"] == "age"]
    assert bands == ["18-44", "45-64", "65-79", "80+"]
    hours = {(row["what"], row["cases"]): row for row in card["times"]}
    assert hours["last value, hours before the prediction", "all"]["median"] == 8
    assert hours["values", "with outcome"]["median"] == 8
    [pulse] = [row for row in card["features"] if row["feature"] == "pulse"]
    assert (pulse["cases_with_a_value"], pulse["values_per_case"]) == (1.0, 4)
    assert card["hints"] == []


def with_feature(cases: Sequence[Case], name: str, values: Sequence[float]) -> list[Case]:
    """The same cases with a further feature, measured once at the end if it is a number."""
    extended = []
    for case, value in zip(cases, values, strict=True):
        column = np.full((len(case.times), 1), np.nan, dtype=np.float32)
        column[-1] = value
        extended.append(
            dataclasses.replace(case, features=(*case.features, name), values=np.hstack([case.values, column]))
        )
    return extended


def test_a_value_that_tells_the_outcome_is_hinted_at() -> None:
    cases, labels = drawn()
    rng = np.random.default_rng(1)
    leaking = with_feature(cases, "drip", (np.array(labels) + rng.normal(0, 0.2, len(labels))).tolist())
    [hint] = make_card("made", cohort(leaking, labels)).hints
    assert hint.startswith("last drip: AUROC")
    assert "near-perfect" in hint


def test_measuring_because_of_the_outcome_is_hinted_at() -> None:
    cases, labels = drawn()
    rng = np.random.default_rng(2)
    measured = [1.0 if rng.random() < (0.9 if label else 0.1) else np.nan for label in labels]
    hints = make_card("made", cohort(with_feature(cases, "drip", measured), labels)).hints
    assert any(hint.startswith("whether drip was measured") for hint in hints)
    assert all("How patients were measured" in hint for hint in hints)


def test_records_that_end_with_the_outcome_are_hinted_at() -> None:
    cases, labels = drawn()
    ended = [
        dataclasses.replace(case, times=case.times[:3], values=case.values[:3]) if label and i % 4 else case
        for i, (case, label) in enumerate(zip(cases, labels, strict=True))
    ]
    hints = make_card("made", cohort(ended, labels)).hints
    assert any(hint.startswith("hour of the last value") for hint in hints)


@pytest.mark.parametrize(
    ("name", "label", "is_trace"),
    [
        ("comfort_care", "Comfort care only", True),
        ("disposition", "Discharge disposition", True),
        ("expired_flag", "Expired", True),
        ("code", "DNR", True),
        ("x1", "in-hospital mortality score", True),
        ("dead_space", "Physiologic dead space", False),
        ("expired_volume", "Expired minute volume", False),
        ("expired_tidal", "Expired tidal volume", False),
        ("deadline", "Deadline", False),
        ("peep", "Positive end-expiratory pressure", False),
    ],
)
def test_names_that_are_traces_of_the_outcome(name: str, label: str, is_trace: bool) -> None:
    cases, labels = drawn()
    made = cohort(with_feature(cases, name, [0.0] * len(cases)), labels)
    features = (*made.cases.features[:-1], Feature(name=name, label=label, unit="1", plausible=(0, 1)))
    made = dataclasses.replace(made, cases=dataclasses.replace(made.cases, features=features))
    assert any("trace of the outcome" in hint for hint in make_card("made", made).hints) == is_trace


def test_no_concept_of_the_vocabulary_is_called_like_an_outcome() -> None:
    from eagbench.vocabulary.vocabulary import vocabulary

    cases, labels = drawn(40)
    words = vocabulary()
    made = cohort(cases, labels)
    features = tuple(dataclasses.replace(feature) for feature in words.features(words.names))
    record = np.full((4, len(features)), np.nan, dtype=np.float32)
    record[0] = 1.0
    items = [dataclasses.replace(case, features=tuple(words.names), values=record) for case in cases]
    described = dataclasses.replace(made.cases, features=features, items=tuple(items))
    hints = make_card("made", dataclasses.replace(made, cases=described)).hints
    assert [hint for hint in hints if "trace of the outcome" in hint] == []


def test_values_outside_the_window() -> None:
    cases, labels = drawn()
    late = [dataclasses.replace(cases[0], times=np.array([-1.0, 1, 2, 49])), *cases[1:]]
    hints = make_card("made", cohort(late, labels)).hints
    assert hints == ("there are values before hour 0.", "there are values after the prediction time.")


def test_a_group_chosen_by_its_outcome() -> None:
    cases, labels = drawn()
    wards = ["survivors" if not label and i < 100 else "rest" for i, label in enumerate(labels)]
    hints = make_card("made", cohort(cases, labels, groups={"ward": wards})).hints
    assert any(hint.startswith("ward=survivors: no case has the outcome") for hint in hints)


def test_hints_look_at_training_cases_only() -> None:
    cases, labels = drawn()
    told = [float(label) if i >= 100 else 0.5 for i, label in enumerate(labels)]
    made = cohort(with_feature(cases, "drip", told), labels)
    assert any("drip" in hint for hint in make_card("made", made, training=np.arange(100, 200)).hints)
    assert not any("drip" in hint for hint in make_card("made", made, training=np.arange(100)).hints)


def test_too_few_cases_are_not_judged() -> None:
    cases, labels = drawn(18)
    card = make_card("made", cohort(with_feature(cases, "drip", [float(label) for label in labels]), labels))
    assert card.hints == ()
    assert "fewer than 10 cases of a class" in render([card], "text")


@pytest.mark.parametrize("seed", range(5))
def test_small_cells_of_credentialed_records_can_be_neither_read_nor_calculated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cases, labels = drawn(300, seed)
    wards = rng.choice(["a", "b", "c", "d", "e"], p=[0.4, 0.3, 0.24, 0.04, 0.02], size=300).tolist()
    card = tree(make_card("made", cohort(cases, labels, "credentialed", {"ward": wards})))
    rows = [row for row in card["groups"] if row["fact"] == "ward"]
    for key, whole in (("cases", 300), ("with_outcome", sum(labels))):
        shown = [row[key] for row in rows if row[key] is not None]
        assert all(n == 0 or n >= 11 for n in shown)
        assert len(shown) < len(rows)
        rest = whole - sum(shown)
        assert rest == 0 or rest >= 11
    assert card["left_out"] == [{"reason": "too young", "cases": None}]
    assert card["patients_read"] is None  # less the cases it would be the 3 that were left out
    opened = tree(make_card("made", cohort(cases, labels, "open", {"ward": wards})))
    assert all(row["cases"] is not None for row in opened["groups"])


def test_few_events_do_not_show_a_small_group_by_its_rest() -> None:
    cases, _ = drawn(100)
    labels = [1] * 4 + [0] * 96
    wards = ["a"] * 50 + ["b"] * 47 + ["c"] * 3
    card = tree(make_card("made", cohort(cases, labels, "credentialed", {"ward": wards})))
    assert card["with_outcome"] is None
    shown = {row["value"]: row["cases"] for row in card["groups"] if row["fact"] == "ward" and row["cases"] is not None}
    assert 100 - sum(shown.values()) >= 11


def test_nothing_of_a_single_credentialed_patient_is_printed() -> None:
    cases, labels = drawn(60)
    text = render([make_card("made", cohort(cases, labels, "credentialed"))], "text")
    assert "stay-" not in text
    rare = with_feature(cases, "rare", [7.25] * 4 + [np.nan] * 56)
    text = render([make_card("made", cohort(rare, labels, "credentialed"))], "text")
    assert "7.25" not in text


def test_markdown_has_every_section() -> None:
    cases, labels = drawn()
    text = render([make_card("made", cohort(cases, labels))], "md")
    for title in (
        "# made",
        "## Event rate by group",
        "## What was measured",
        "## What predicts alone",
        "## Leak hints",
    ):
        assert title in text.splitlines()
