"""Records to learn: whole, of unlabelled cases, features in an order of their own each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import STYLES, TrainingNames, prompt_text, vocabulary
from eagbench_plugins.policies.record_examples import RecordExamples

from .conftest import FEATURES, make_cases


def test_an_example_is_a_whole_record_with_its_features_in_another_order(record_text) -> None:
    cases = make_cases(30, seed=1)
    style = STYLES["question_decomposition"]
    plain = {tuple(sorted(prompt_text(style, case, cases, record_text).split())) for case in cases}
    examples, rng = RecordExamples(cases, record_text), np.random.default_rng(0)
    drawn = [examples.draw(style, rng, most_features=2) for _ in range(20)]
    assert {example.prompt for example in drawn} == {""}
    assert {tuple(sorted(example.answer.split())) for example in drawn} <= plain
    assert any(
        example.answer not in {prompt_text(style, case, cases, record_text) for case in cases} for example in drawn
    )


def test_about_every_second_record_is_under_names_to_train_with(record_text) -> None:
    cases = replace(make_cases(30, seed=1), features=vocabulary().features(FEATURES))
    plain = {tuple(sorted(record_text.render(case, cases).split())) for case in cases}
    examples = RecordExamples(cases, record_text, TrainingNames(cases.features, 1.0))
    rng = np.random.default_rng(0)
    drawn = [examples.draw(STYLES["vanilla"], rng).answer.split("\n")[0] for _ in range(200)]
    renamed = [text for text in drawn if tuple(sorted(text.split())) not in plain]
    assert 60 < len(renamed) < 120  # half, and of these some by chance without a name
    assert any(" serum creatinine@" in text for text in renamed)
    assert not any(" SCr@" in text or " HR@" in text for text in renamed)  # names to test with
