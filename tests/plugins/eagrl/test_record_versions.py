"""Records under other names: none to test with, and none at all unless asked for."""

from __future__ import annotations

from eagbench.api import Cases, other_names, vocabulary
from eagbench_plugins.eagrl.name_augmentation import VERSIONS, NameAugmentation
from tests.builders import TASK, make_case

FEATURES = vocabulary().features(("heart_rate", "glucose", "creatinine", "gcs_total", "weight", "temperature"))
CASE = make_case({feature.name: [1.0, 2.0] for feature in FEATURES})
CASES = Cases(FEATURES, ("age", "sex"), TASK, (CASE,))


def test_a_record_is_learnt_as_it_is_and_under_names_to_train_with() -> None:
    augmentation = NameAugmentation(CASES, 1.0, 0)
    versions = [version for position in range(20) for version in augmentation.versions(CASE, position)]
    assert len(versions) == 20 * VERSIONS
    assert augmentation.versions(CASE, 0)[0] is CASE
    train = other_names(FEATURES, ("synonym", "abbreviation"), "train")
    met = {(feature, written) for version in versions for feature, written in version.renderings.items()}
    assert met == {(feature, written) for feature, names in train.items() for written in names}
    assert {len(version.renderings) for version in versions} == set(range(len(train) + 1))


def test_records_differ_in_their_draws_and_a_seed_repeats_them() -> None:
    def drawn(seed: int, position: int) -> list[dict[str, object]]:
        return [dict(v.renderings) for v in NameAugmentation(CASES, 1.0, seed).versions(CASE, position)]

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(1, 1)


def test_without_a_share_a_record_stays_one() -> None:
    assert NameAugmentation(CASES, 0.0, 0).versions(CASE, 0) == [CASE]
