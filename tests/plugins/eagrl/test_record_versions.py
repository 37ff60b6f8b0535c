"""Records in other versions: no names to test with, values beside their names, and nothing unless asked for."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from eagbench.api import TrainingNames, other_names, vocabulary
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.record_versions import VERSIONS, RecordVersions
from tests.builders import make_case

FEATURES = vocabulary().features(("heart_rate", "glucose", "creatinine", "gcs_total", "weight", "temperature"))
CASE = make_case({feature.name: [float(i), i + 0.5] for i, feature in enumerate(FEATURES)})


def test_a_record_is_learnt_as_it_is_and_under_names_to_train_with() -> None:
    written = RecordVersions(TrainingNames(FEATURES, 1.0), False, 0)
    versions = [version for position in range(20) for version in written.of(CASE, position)]
    assert len(versions) == 20 * VERSIONS
    assert written.of(CASE, 0)[0] is CASE
    train = other_names(FEATURES, ("synonym", "abbreviation"), "train")
    met = {(feature, written) for version in versions for feature, written in version.renderings.items()}
    assert met == {(feature, written) for feature, names in train.items() for written in names}
    assert {len(version.renderings) for version in versions} == set(range(len(train) + 1))


def test_records_differ_in_their_draws_and_a_seed_repeats_them() -> None:
    def drawn(seed: int, position: int) -> list[dict[str, object]]:
        return [
            {**v.renderings, "order": v.features}
            for v in RecordVersions(TrainingNames(FEATURES, 1.0), True, seed).of(CASE, position)
        ]

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(1, 1)


def test_in_other_orders_values_go_with_their_names() -> None:
    versions = RecordVersions(TrainingNames(FEATURES, 0.0), True, 0).of(CASE, 0)
    assert versions[0] is CASE
    assert len({version.features for version in versions}) == VERSIONS
    for version in versions:
        assert version.renderings == {}
        assert np.array_equal(version.values_in_order(CASE.features), CASE.values)


def test_with_names_and_orders_a_version_has_one_of_them() -> None:
    versions = RecordVersions(TrainingNames(FEATURES, 1.0), True, 0).of(CASE, 0)[1:]
    reordered = [version.features != CASE.features for version in versions]
    assert reordered == [False, True] * 3 + [False]
    assert all(not version.renderings for version, other in zip(versions, reordered, strict=True) if other)


def test_without_a_share_and_orders_a_record_stays_one() -> None:
    assert RecordVersions(TrainingNames(FEATURES, 0.0), False, 0).of(CASE, 0) == [CASE]


def test_a_share_of_the_other_names_needs_other_names() -> None:
    assert FineTuning(other_names=1.0, invented_names=0.25).invented_names == 0.25
    with pytest.raises(ValidationError, match="set other_names, too"):
        FineTuning(invented_names=0.25)
