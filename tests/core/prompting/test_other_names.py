"""The division of the features' other names: fixed, complete, and the same in every cohort."""

from __future__ import annotations

import numpy as np

from eagbench.api import vocabulary
from eagbench.prompting.other_names import NamePart, TrainingNames, other_names, under_other_names
from tests.builders import make_case

EVERY = vocabulary().features(vocabulary().names)
KINDS = ("synonym", "abbreviation")
HEART_RATE_TO_TEST = {("heart_rate", "pulse rate"), ("heart_rate", "HR")}


def pairs(part: NamePart, features=EVERY, kinds=KINDS) -> set[tuple[str, str]]:
    return {(feature, w.name) for feature, found in other_names(features, kinds, part).items() for w in found}


def test_every_name_is_in_one_part_and_both_parts_are_of_like_size() -> None:
    for kind in KINDS:
        train, test, every = (pairs(part, kinds=(kind,)) for part in ("train", "test", "all"))
        assert train | test == every
        assert not train & test
        assert 0.35 < len(test) / len(every) < 0.65


def test_a_feature_with_two_synonyms_has_one_in_each_part() -> None:
    heart_rate = vocabulary().features(["heart_rate"])
    assert len(pairs("train", heart_rate, ("synonym",))) == len(pairs("test", heart_rate, ("synonym",))) == 1


def test_the_division_does_not_depend_on_the_other_features_and_stays_as_it_is() -> None:
    for part in ("train", "test"):
        assert pairs(part, EVERY[:20]) - pairs(part) <= pairs("all", EVERY[:20]) - pairs("all")
    heart_rate = vocabulary().features(["heart_rate"])
    # Written down: another division would make names that policies have learnt into names to test with.
    assert pairs("test", heart_rate) == HEART_RATE_TO_TEST


def test_names_that_differ_by_case_alone_are_in_one_part() -> None:
    weight = vocabulary().features(["weight"])
    assert {name for _, name in pairs("all", weight)} >= {"Body weight", "body weight"}
    for part in ("train", "test"):
        found = {name for _, name in pairs(part, weight)}
        assert ("Body weight" in found) is ("body weight" in found)


def test_a_larger_share_renames_what_a_smaller_one_did() -> None:
    names = other_names(EVERY, KINDS)
    case = make_case({feature.name: [1.0] for feature in EVERY})
    few, many = (under_other_names(case, names, share, 3).renderings for share in (0.3, 0.9))
    assert len(few) == round(0.3 * len(names))
    assert few.items() <= many.items()
    assert under_other_names(case, names, 0, 3).renderings == {}


def test_texts_to_train_with_meet_every_name_to_train_with_and_no_other() -> None:
    case = make_case({feature.name: [1.0] for feature in EVERY})
    names, rng = TrainingNames(EVERY, 1.0), np.random.default_rng(0)
    drawn = [names.draw(case, rng).renderings for _ in range(200)]
    assert {(feature, written.name) for one in drawn for feature, written in one.items()} == pairs("train")
    shares = [len(one) / len(other_names(EVERY, KINDS, "train")) for one in drawn]
    assert min(shares) < 0.1 < 0.9 < max(shares)


def test_a_share_bounds_how_many_names_a_text_changes_and_none_has_no_names() -> None:
    case = make_case({feature.name: [1.0] for feature in EVERY})
    names, rng = TrainingNames(EVERY, 0.3), np.random.default_rng(0)
    able = len(other_names(EVERY, KINDS, "train"))
    assert max(len(names.draw(case, rng).renderings) for _ in range(50)) <= round(0.3 * able)
    assert names
    assert not TrainingNames(EVERY, 0.0)


def test_invented_names_have_the_letters_of_real_ones_and_name_nothing() -> None:
    case = make_case({feature.name: [1.0] for feature in EVERY})
    real, rng = other_names(EVERY, KINDS, "train"), np.random.default_rng(0)
    known = {name.casefold() for f in EVERY for name in (f.name.replace("_", " "), f.label, *f.synonyms)}
    names = TrainingNames(EVERY, 1.0, invented=0.25)
    written = [(f, w.name) for _ in range(100) for f, w in names.draw(case, rng).renderings.items()]
    invented = [(f, name) for f, name in written if name not in {w.name for w in real[f]}]
    assert 0.2 < len(invented) / len(written) < 0.3
    for feature, name in invented:
        assert sorted(name) in [sorted(w.name) for w in real[feature]]
        assert name.casefold() not in known
