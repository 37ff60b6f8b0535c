"""Logistic regression on the words of the prompt: a word that tells is found, and held-out cases teach nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eagbench.api import (
    STYLES,
    Cases,
    LabelledCases,
    RecordText,
    RecordTextParams,
    Rendering,
    StageRun,
    TrainingData,
    UserError,
    prompt_text,
)
from eagbench_plugins.baselines import text_tfidf
from eagbench_plugins.baselines.prompt_words import PromptWords
from eagbench_plugins.baselines.text_tfidf import TextTfidf, WordsHead, fit_words
from tests.builders import make_case, make_cohort_cases

METHOD = TextTfidf(TextTfidf.Params())
FEATURES = ("lactate", "ph")


def told_by_a_number(n: int, seed: int, per_patient: int = 1) -> LabelledCases:
    """Those with the outcome have a lactate of 7, the others of 2; the pH is noise."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(2, size=n // per_patient), per_patient)
    items = [
        make_case(
            {"lactate": [2.0 + 5.0 * label], "ph": [round(7 + rng.random(), 2)]},
            case_id=f"{seed}-{i}",
            patient_id=f"{seed}-{i // per_patient}",
        )
        for i, label in enumerate(labels)
    ]
    return LabelledCases(make_cohort_cases(items, FEATURES), labels)


@pytest.fixture(scope="module")
def record_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record_text")
    RecordText(RecordTextParams(values="compact")).save(folder)
    return folder


def fit(training: LabelledCases, record_text: Path, out: Path, tuning: LabelledCases | None = None) -> Path:
    out.mkdir()
    data = TrainingData(training, tuning or training.select(range(0)))
    fit_words(StageRun(METHOD.params.model_dump(mode="json"), {"training": data, "record_text": record_text}, 0, out))
    return out


def predict(cases: Cases, record_text: Path, words: Path) -> np.ndarray:
    run = StageRun({"answer": {}, "attention": False}, {"record_text": record_text, "words": words}, 0, words)
    predictions = METHOD.predict(cases, run)
    assert [p.case_id for p in predictions] == list(cases.case_ids)
    assert {p.answer_mode for p in predictions} <= {"model"}
    return np.array([p.probability for p in predictions])


def test_a_word_that_determines_the_outcome_is_found(record_text: Path, tmp_path: Path) -> None:
    words = fit(told_by_a_number(120, 0), record_text, tmp_path / "words")
    held_out = told_by_a_number(40, 1)
    assert roc_auc_score(held_out.labels, predict(held_out.cases, record_text, words)) == 1.0
    terms = PromptWords.load(words).terms
    coefficient = dict(zip(terms, WordsHead.load(words).coefficient, strict=True))
    heaviest = sorted(terms, key=lambda term: -abs(coefficient[term]))[:6]
    assert {"lactate 7", "lactate 2"} <= set(heaviest)
    assert coefficient["lactate 7"] > 0 > coefficient["lactate 2"]


def test_without_anything_that_tells_it_says_the_prevalence(record_text: Path, tmp_path: Path) -> None:
    training = told_by_a_number(200, 0)
    shuffled = LabelledCases(training.cases, np.random.default_rng(5).permutation(training.labels))
    words = fit(shuffled, record_text, tmp_path / "words")
    probability = predict(told_by_a_number(50, 1).cases, record_text, words)
    np.testing.assert_allclose(probability, training.labels.mean(), atol=0.1)


def test_the_text_is_the_prompt_of_the_method_prompt(
    record_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = told_by_a_number(40, 0)
    read: list[str] = []
    whole = PromptWords.fit.__func__  # type: ignore[attr-defined]

    def heard(cls: type, texts: list[str], max_words: int) -> PromptWords:
        read.extend(texts)
        return whole(cls, texts, max_words)

    monkeypatch.setattr(text_tfidf.PromptWords, "fit", classmethod(heard))
    fit(training, record_text, tmp_path / "words")
    text = RecordText.load(record_text)
    assert read == [prompt_text(STYLES["vanilla"], case, training.cases, text) for case in training.cases]


def test_equal_bytes_twice_and_whatever_the_tuning_cases_are(record_text: Path, tmp_path: Path) -> None:
    training = told_by_a_number(80, 0)
    first = fit(training, record_text, tmp_path / "first")
    others = (fit(training, record_text, tmp_path / "second"),
              fit(training, record_text, tmp_path / "tuned", told_by_a_number(30, 9)))  # fmt: skip
    files = sorted(path.name for path in first.iterdir())
    assert files == ["head.safetensors", "terms.json", "weights.safetensors"]
    for other in others:
        assert all((first / name).read_bytes() == (other / name).read_bytes() for name in files)


def test_a_prediction_is_that_of_the_case_alone_and_teaches_nothing(record_text: Path, tmp_path: Path) -> None:
    words = fit(told_by_a_number(80, 0), record_text, tmp_path / "words")
    before = {path.name: path.read_bytes() for path in words.iterdir()}
    cases = told_by_a_number(20, 1).cases
    together = predict(cases, record_text, words)
    alone = [predict(cases.with_items([case]), record_text, words)[0] for case in cases]
    np.testing.assert_array_equal(together, alone)
    assert len(predict(cases.with_items([]), record_text, words)) == 0
    assert {path.name: path.read_bytes() for path in words.iterdir()} == before


def test_it_reads_the_record_as_it_is_written_for_policies(record_text: Path, tmp_path: Path) -> None:
    words = fit(told_by_a_number(120, 0), record_text, tmp_path / "words")
    held_out = told_by_a_number(40, 1)
    other_name = {"lactate": Rendering("serum lactate level", "1")}
    renamed = held_out.cases.with_items([replace(case, renderings=other_name) for case in held_out.cases])
    clean, perturbed = (predict(cases, record_text, words) for cases in (held_out.cases, renamed))
    assert abs(clean - perturbed).min() > 0
    # The number is still there, beside a name that was never in training.
    assert roc_auc_score(held_out.labels, perturbed) > 0.9


def test_cases_of_one_patient_never_choose_the_penalty_for_each_other(
    record_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = told_by_a_number(90, 0, per_patient=3)
    patients = np.array(training.cases.patient_ids)
    whole = text_tfidf.cross_validated_log_loss
    fitted_on: list[tuple[set[str], set[str]]] = []

    def watched(log_odds, *rest):  # type: ignore[no-untyped-def]
        def noted(c, rest_at, asked_at):  # type: ignore[no-untyped-def]
            fitted_on.append((set(patients[rest_at]), set(patients[asked_at])))
            return log_odds(c, rest_at, asked_at)

        return whole(noted, *rest)

    monkeypatch.setattr(text_tfidf, "cross_validated_log_loss", watched)
    words = fit(training, record_text, tmp_path / "words")
    assert fitted_on
    assert not any(rest & asked for rest, asked in fitted_on)
    head = WordsHead.load(words)
    assert head.log_loss[head.inverse_penalty] == min(head.log_loss.values())


def test_one_outcome_alone_is_refused(record_text: Path, tmp_path: Path) -> None:
    training = told_by_a_number(30, 0)
    with pytest.raises(UserError, match="one outcome has 0 patients"):
        fit(LabelledCases(training.cases, np.zeros(30, np.int64)), record_text, tmp_path / "words")
