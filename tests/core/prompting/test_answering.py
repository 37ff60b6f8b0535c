"""From texts to predictions, with a language model that says what it was told to (the real ones are tested below
tests/plugins/policies)."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    AnswerMode,
    Case,
    Cases,
    Feature,
    Generation,
    Prediction,
    Question,
    RecordText,
    RecordTextParams,
    Sampling,
    Task,
    answer_cases,
    answer_prompts,
    prompt_text,
)
from eagbench.prompting import answering

TASK = Task("mortality", "die", "a physician", 24.0)
CASES = Cases(
    (Feature("ph", "pH", "1", (6, 8)),),
    ("age", "sex"),
    TASK,
    tuple(
        Case(f"c{i}", f"c{i}", ("ph",), np.array([1.0]), np.array([[7.0 + i / 10]], np.float32), {"age": 50, "sex": 0})
        for i in range(3)
    ),
)
TEXT = RecordText(RecordTextParams())


class ScriptedModel:
    """Writes a script's texts in turn, up to the first stop string, and prefers one answer level."""

    def __init__(self, script: Sequence[str], level: str = "0.30") -> None:
        self.script = script
        self.level = level
        self.asked: list[tuple[str, str]] = []

    def generate(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[Generation]:
        texts = []
        for i in range(len(prompts)):
            text = self.script[i % len(self.script)]
            ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
            texts.append(Generation(text[: min(ends)] if ends else text, 5))
        return texts

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> np.ndarray:
        self.asked += list(zip(prompts, written, strict=True))
        weights = np.array([3.0 if candidate == self.level else 1.0 for candidate in candidates])
        return np.tile(weights / weights.sum(), (len(prompts), 1))


def test_greedy_keeps_unparsed_answers_unparsed() -> None:
    model = ScriptedModel(["<answer>0.20</answer>", "<answer>85</answer>", "no idea"])
    predictions = answer_cases(model, CASES, TEXT, STYLES["vanilla"], AnswerMode(), seed=0, max_new_tokens=9)
    assert [p.probability for p in predictions] == [0.2, None, None]
    assert [p.case_id for p in predictions] == ["c0", "c1", "c2"]
    assert [p.answer_mode for p in predictions] == ["greedy"] * 3
    assert [p.trajectories[0].generated_tokens for p in predictions] == [5, 5, 5]


def test_mean_of_n_is_over_the_parsed_samples_of_each_case() -> None:
    script = ["<answer>0.20</answer>", "<answer>0.50</answer>", "x", "y", "z", "w", "<answer>1</answer>", "?"]
    answer = AnswerMode(mode="mean_of_n", samples=4)
    two = CASES.select([0, 1])
    predictions = answer_cases(ScriptedModel(script), two, TEXT, STYLES["vanilla"], answer, seed=0, max_new_tokens=9)
    assert predictions[0].probability == pytest.approx(0.35)
    assert predictions[1].probability == 1.0
    assert [len(p.trajectories) for p in predictions] == [4, 4]
    nothing = answer_cases(ScriptedModel(["x"]), two, TEXT, STYLES["vanilla"], answer, seed=0, max_new_tokens=9)
    assert [p.probability for p in nothing] == [None, None]


def test_expectation_weighs_the_levels_after_the_written_reasoning() -> None:
    reasoning = "<Subquestion> a<Answer> b<Important Features> ph<Final answer>"
    model = ScriptedModel([reasoning + "0.95</Final answer>", "nothing at all"])
    style = STYLES["question_decomposition"]
    answer = AnswerMode.model_validate("expectation")
    predictions = answer_cases(model, CASES, TEXT, style, answer, seed=0, max_new_tokens=9)
    levels = np.array([float(level) for level in ANSWER_LEVELS])
    expected = (levels.sum() + 2 * 0.30) / (len(levels) + 2)
    assert predictions[0].probability == round(expected, 2) == 0.48
    assert predictions[1].probability is None
    assert predictions[0].cited_features == ("ph",)
    assert predictions[0].trajectories[0].text == reasoning
    assert predictions[0].trajectories[0].probability == predictions[0].probability
    prompt = prompt_text(style, CASES.items[0], CASES, TEXT)
    assert model.asked[0] == (prompt, reasoning)
    assert len(model.asked) == 2  # the case that never began an answer is not asked


def test_expectation_weighs_the_levels_that_the_benchmark_names() -> None:
    answer = AnswerMode.model_validate({"mode": "expectation", "levels": [0.01, 0.3, 0.6]})
    model = ScriptedModel(["<answer>0.5</answer>"])
    predictions = answer_cases(model, CASES.select([0]), TEXT, STYLES["vanilla"], answer, seed=0, max_new_tokens=9)
    # The scripted model gives 0.30 three times the weight of the others.
    assert predictions[0].probability == round((0.01 + 3 * 0.3 + 0.6) / 5, 2)


@pytest.mark.parametrize("levels", [[0.5], [0.2, 0.1], [0.1, 0.1], [0.005, 0.5], [0.5, 1.2]])
def test_levels_that_no_answer_can_be_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="levels"):
        AnswerMode.model_validate({"mode": "expectation", "levels": levels})


def test_expectation_does_not_take_a_tag_inside_open_reasoning_for_the_answer() -> None:
    model = ScriptedModel(["<think> I could write <answer>0.2</answer>"])
    answer = AnswerMode(mode="expectation")
    predictions = answer_cases(model, CASES, TEXT, STYLES["think_answer"], answer, seed=0, max_new_tokens=9)
    assert [p.probability for p in predictions] == [None] * 3


def many_cases(n: int) -> Cases:
    values = (np.array([[6.0 + i / n]], np.float32) for i in range(n))
    cases = (Case(f"c{i}", f"c{i}", ("ph",), np.array([1.0]), v, {"age": 50, "sex": 0}) for i, v in enumerate(values))
    return Cases(CASES.features, CASES.static_names, TASK, tuple(cases))


class SamplingModel:
    """Samples by prompt, seed and how often the prompt came before in a call, as the real ones; `reads` may refuse."""

    def __init__(self, reads: Callable[[str], bool] = lambda prompt: True) -> None:
        self.reads, self.calls = reads, list[Sequence[str]]()

    def generate(self, prompts: Sequence[str], sampling: Sampling, seed: int) -> list[Generation]:
        self.calls.append(prompts)
        before: Counter[str] = Counter()
        texts = []
        for prompt in prompts:
            level = zlib.crc32(f"{seed} {before[prompt]} {prompt}".encode()) % 100
            before[prompt] += 1
            texts.append(Generation(f"<answer>0.{level:02d}</answer>" if self.reads(prompt) else "no idea", 5))
        return texts


def ask_many(model: SamplingModel, prompts: Sequence[str], seed: int = 0) -> list[Prediction]:
    answer = AnswerMode(mode="mean_of_n", samples=2)
    cases = many_cases(len(prompts))
    return answer_prompts(Question(model, STYLES["vanilla"], answer, seed, 9), cases, prompts)


@pytest.mark.parametrize("n_different", [600, 300, 20])
def test_asking_some_cases_first_changes_no_answer(n_different: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where cases share a prompt, whose samples differ by how often it came before."""
    prompts = [f"record {i % n_different if i % 3 else i % (n_different // 2)}" for i in range(600)]
    some_first = ask_many(SamplingModel(), prompts)
    monkeypatch.setattr(answering, "_FIRST", 10**6)
    assert ask_many(SamplingModel(), prompts) == some_first


def test_one_answer_among_the_first_32_is_enough() -> None:
    prompts = [f"record {i}" for i in range(100)]
    silent = SamplingModel(lambda prompt: False)
    predictions = ask_many(silent, prompts, seed=1)
    first = {prompt for call in silent.calls for prompt in call}
    assert len(first) == 32
    assert [p.answer_mode for p in predictions].count("not_attempted") == 68
    assert all(p.probability is None for p in predictions)
    assert [p.case_id for p in predictions] == [f"c{i}" for i in range(100)]
    asked = {prompt for prompt, p in zip(prompts, predictions, strict=True) if p.trajectories}
    assert asked == first
    spoken = next(iter(first))
    once = ask_many(SamplingModel(lambda prompt: prompt == spoken), prompts, seed=1)
    assert all(len(p.trajectories) == 2 for p in once)
    assert sum(p.probability is not None for p in once) == 1
    other_seed = SamplingModel(lambda prompt: False)
    ask_many(other_seed, prompts, seed=2)
    assert {prompt for call in other_seed.calls for prompt in call} != first


def test_32_cases_are_all_asked() -> None:
    model = SamplingModel(lambda prompt: False)
    predictions = ask_many(model, [f"record {i}" for i in range(32)])
    assert {p.answer_mode for p in predictions} == {"mean_of_n"}
    assert len(model.calls) == 1


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_the_full_prompt_says_role_record_question_and_every_tag(style) -> None:
    prompt = prompt_text(style, CASES.items[0], CASES, TEXT)
    record = TEXT.render(CASES.items[0], CASES)
    places = [prompt.index(part) for part in ("You are a physician.", record, "will die?", style.tags[0])]
    assert places == sorted(places)
    assert all(tag in prompt for tag in style.tags)


def test_short_prompts_differ_between_styles_only_in_the_format() -> None:
    short = RecordText(RecordTextParams(instructions="short"))
    prompts = {name: prompt_text(style, CASES.items[0], CASES, short) for name, style in STYLES.items()}
    heads = {prompt.rsplit("Format: ", 1)[0] for prompt in prompts.values()}
    assert len(heads) == 1
    assert {prompt.rsplit("Format: ", 1)[1].strip() for prompt in prompts.values()} == set(STYLES)
