"""What a word is in each form of record, and that the columns are TF-IDF as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from eagbench.api import RecordText, RecordTextParams
from eagbench_plugins.baselines.prompt_words import WORD, PromptWords
from tests.builders import make_case, make_cohort_cases


def words(text: str) -> list[str]:
    return re.findall(WORD, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("heart_rate=57L,80,120H beats/min @0.5,2..3", "heart_rate 57 L 80 120 H beats/min 0.5 2 3"),
        ("platelets (10^9/L; reference 60 to 100.5): 57 L, 80 N, NaN",
         "platelets 10^9/L reference 60 to 100.5 57 L 80 N NaN"),
        ("sex=male lactate@24h=q7 ph=q12", "sex male lactate 24h q7 ph q12"),
        ("Brain natriuretic peptide (%): -1.5, 21.", "Brain natriuretic peptide % -1.5 21"),
        ("COVID-19, 2019-nCoV: 3L\nx=57", "COVID-19 2019-nCoV 3 L x 57"),
        ("L is no flag here. <answer>0.00</answer>", "L is no flag here answer 0.00 /answer"),
    ],
)  # fmt: skip
def test_words_of_a_record(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@pytest.mark.parametrize("values", ["raw", "flagged", "quantile", "compact"])
def test_every_form_of_record_names_feature_and_value(values: str) -> None:
    cases = make_cohort_cases([make_case({"lactate": [3.5], "heart_rate": [81.0]}, case_id=str(i)) for i in range(3)],
                              ("lactate", "heart_rate"))  # fmt: skip
    record = RecordText(RecordTextParams.model_validate({"values": values, "instructions": "short"})).fit(cases)
    found = words(record.render(cases.items[0], cases))
    assert {"lactate", "heart_rate"} <= set(found)
    at = found.index("lactate")
    value = found[at + 1 : at + 3]
    assert any(word.startswith("q") for word in value) if values == "quantile" else value[0] == "3.5"


def test_the_columns_are_tf_idf() -> None:
    fitted = PromptWords.fit(["a a b", "a c", "b c d", "a d"], max_words=1)
    assert fitted.terms == ("a", "b", "c", "d")
    frequency = np.log(5 / (1 + np.array([3, 2, 2, 2]))) + 1
    np.testing.assert_allclose(fitted.inverse_frequency, frequency)
    expected = np.array([2, 1, 0, 0]) * frequency
    columns = fitted.columns(["a a b", "unheard"]).toarray()
    np.testing.assert_allclose(columns[0], expected / np.linalg.norm(expected))
    np.testing.assert_array_equal(columns[1], 0)


def test_runs_of_words_are_terms_and_what_one_text_alone_has_is_none() -> None:
    fitted = PromptWords.fit(["lactate=3.5H", "lactate=3.5", "lactate=4 once"], max_words=2)
    assert fitted.terms == ("3.5", "lactate", "lactate 3.5")


def test_its_files_give_it_back(tmp_path: Path) -> None:
    texts = ["lactate=3.5H Größe=180", "lactate=3.5 Größe=180", "ph=7.4 lactate=2"]
    fitted = PromptWords.fit(texts, max_words=2)
    fitted.save(tmp_path)
    loaded = PromptWords.load(tmp_path)
    assert loaded.terms == fitted.terms
    np.testing.assert_array_equal(loaded.columns(texts).toarray(), fitted.columns(texts).toarray())
