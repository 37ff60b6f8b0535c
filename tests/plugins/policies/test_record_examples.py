"""Records to learn: whole, of unlabelled cases, features in an order of their own each time."""

from __future__ import annotations

import numpy as np

from eagbench.api import STYLES, prompt_text
from eagbench_plugins.policies.record_examples import RecordExamples

from .conftest import make_cases


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
