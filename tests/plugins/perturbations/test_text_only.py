"""Distractors, synonyms and abbreviations: what only a reader of text meets."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.api import STYLES, Case, FeatureVocabulary, RecordText, RecordTextParams, read_answer, vocabulary
from eagbench.api import prompt_with_spans as with_spans
from eagbench.contracts.records import Cases
from eagbench.prompting.other_names import is_abbreviation, other_names
from eagbench.registry.plugins import load_registry
from eagbench_plugins.perturbations.distractor_features import DISTRACTORS
from tests.plugins.perturbations.records import FEATURES, NAMES, cohort_of, fitted, of_series, typical

CASE = of_series({name: [50.0, 60.0] for name in NAMES})


def names_in_text(case: Case, **params: object) -> list[str]:
    text = RecordText(RecordTextParams(**params)).render(case, cohort_of(case))  # type: ignore[arg-type]
    return [line.split(" (")[0].split(":")[0] for line in text.splitlines()[3:]]


def test_distractors_are_no_concepts_of_the_vocabulary() -> None:
    known = FeatureVocabulary(vocabulary().features(vocabulary().names))
    assert [f.name for f in DISTRACTORS if known.match(f.name) or known.match(f.label)] == []
    assert len({f.name for f in DISTRACTORS}) == len(DISTRACTORS) == 20


def test_distractors_stand_among_the_features_and_are_normal() -> None:
    case = typical(3)
    changed = fitted("distractor_features").apply(case, 5.0, 8)
    shown = names_in_text(changed)
    assert [name for name in shown if name in NAMES] == list(NAMES)
    added = [name for name in shown if name not in NAMES]
    assert len(added) == 5
    assert shown[-5:] != added  # not all of them at the end
    for line in changed.distractors:
        low, high = line.feature.reference
        values = line.values[~np.isnan(line.values)]
        assert 1 <= len(values) <= 3
        assert (values >= np.float32(low)).all()
        assert (values <= np.float32(high)).all()


def test_more_distractors_add_to_fewer() -> None:
    case = typical(3)
    few, many = (fitted("distractor_features").apply(case, n, 8).distractors for n in (3.0, 10.0))
    for a, b in zip(few, many, strict=False):
        assert (a.feature, a.before) == (b.feature, b.before)
        np.testing.assert_array_equal(a.values, b.values)


def test_distractors_say_nothing_about_the_patient() -> None:
    other = of_series({name: [1.0, 2.0] for name in NAMES})
    first, second = (fitted("distractor_features").apply(case, 20.0, 8).distractors for case in (CASE, other))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_a_distractor_that_the_cohort_measures_is_left_out() -> None:
    taken = Cases((*FEATURES, DISTRACTORS[0]), ("age", "sex"), cohort_of().task, ())
    perturbation = fitted("distractor_features")
    perturbation.fit(taken)
    added = {line.feature.name for line in perturbation.apply(CASE, 20.0, 1).distractors}
    assert added == {f.name for f in DISTRACTORS[1:]}


@pytest.mark.parametrize("severity", [0.5, 21.0])
def test_a_number_of_distractors_is_a_whole_one(severity: float) -> None:
    with pytest.raises(ValueError, match="whole number between 0 and 20"):
        fitted("distractor_features").check_severity(severity)


def test_spans_are_those_of_the_cohorts_features() -> None:
    changed = fitted("distractor_features").apply(CASE, 20.0, 8)
    prompt, spans = with_spans(STYLES["vanilla"], changed, cohort_of(changed), RecordText(RecordTextParams()))
    assert tuple(spans) == NAMES
    assert all(prompt[start:end].startswith(f"{name} (") or prompt[start:end].startswith(f"{name}:")
               for name, (start, end) in spans.items())  # fmt: skip


def test_distractors_have_no_bins() -> None:
    changed = fitted("distractor_features").apply(CASE, 20.0, 8)
    text = RecordText(RecordTextParams(values="quantile", periods=1)).fit(cohort_of(CASE))
    units = dict(unit.split("=") for unit in text.render(changed, cohort_of(CASE)).splitlines()[-1].split(" "))
    for line in changed.distractors:
        low, high = line.feature.reference
        assert low is not None
        assert high is not None
        assert low * 0.999 <= float(units[line.feature.name]) <= high * 1.001
    assert units["heart_rate"].startswith("q")


def test_a_record_of_fewer_features_keeps_its_further_lines() -> None:
    changed = fitted("distractor_features").apply(CASE, 20.0, 8)
    narrow = Case("a", "a", NAMES[:1], changed.times, changed.values[:, :1], {}, distractors=changed.distractors)
    assert len(names_in_text(narrow)) == 21


def test_abbreviations_are_told_from_other_names() -> None:
    assert all(map(is_abbreviation, ("HR", "SpO2", "HCO3-", "K+", "P-LCR")))
    assert not any(map(is_abbreviation, ("pulse", "temp", "blood sugar", "Heart rate", "Creatinine")))


def test_the_names_are_those_of_the_vocabulary() -> None:
    short, long = (
        {key: {w.name for w in found} for key, found in other_names(FEATURES, (kind,)).items()}
        for kind in ("abbreviation", "synonym")
    )
    assert short == {
        "heart_rate": {"HR"},
        "creatinine": {"Cr", "SCr"},
        "alanine_aminotransferase": {"ALT", "SGPT", "GPT"},
        "gcs_total": {"GCS"},
        "mechanical_ventilation": {"MechVent"},
    }
    assert long["heart_rate"] == {"pulse", "pulse rate"}  # "Heart rate" is the name itself
    assert long["gcs_total"] == {"Glasgow coma score", "Glasgow coma scale", "coma score"}  # no name with a comma
    assert long["weight"] == {"Body weight", "body weight"}


@pytest.mark.parametrize("name", ["feature_synonyms", "feature_abbreviations"])
def test_a_share_of_the_names_changes_and_an_answer_may_cite_them(name: str) -> None:
    full = fitted(name).apply(CASE, 1.0, 3)
    half = fitted(name).apply(CASE, 0.5, 3)
    assert len(half.renderings) == round(0.5 * len(full.renderings))
    shown = names_in_text(full)
    assert len(shown) == len(NAMES)
    assert [a != b for a, b in zip(shown, NAMES, strict=True)] == [n in full.renderings for n in NAMES]
    style = STYLES["question_decomposition"]
    text = f"<Important Features> {', '.join(shown)} <Final answer>0.50</Final answer>"
    read = read_answer(style, full, text, 1, FeatureVocabulary(FEATURES))
    assert read.cited_features == NAMES
    assert read.hallucinated_features == 0


@pytest.mark.parametrize("name", ["feature_synonyms", "feature_abbreviations"])
def test_names_to_test_with_are_none_of_those_to_train_with(name: str) -> None:
    def names(part: str) -> set[tuple[str, str]]:
        made = load_registry().create("perturbation", name, {"names": part})
        made.fit(cohort_of())
        changed = [made.apply(CASE, 1.0, seed) for seed in range(60)]
        return {(feature, w.name) for case in changed for feature, w in case.renderings.items()}

    train, test, every = names("train"), names("test"), names("all")
    assert train
    assert test
    assert not train & test
    assert train | test == every


def test_units_and_numbers_stay_under_another_name() -> None:
    changed = fitted("feature_abbreviations").apply(CASE, 1.0, 3)
    text = RecordText(RecordTextParams()).render(changed, cohort_of(CASE))
    assert "HR (beats/min; reference 60 to 100): 50, 60" in text
    assert "heart_rate" not in text
