"""Examples in the prompt: which ones, what they say, and what they never say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from eagbench.api import Cases, Feature, LabelledCases, StageRun, TrainingData, UserError, prompt_text
from eagbench.prompting.styles import STYLES
from eagbench_plugins.baselines.example_choice import RepresentationSpace, random_ranking, take
from eagbench_plugins.baselines.examples import collect, read_examples
from eagbench_plugins.baselines.expert_output import ExpertOutput, output_of_fitted, output_on_training
from eagbench_plugins.baselines.few_shot import FewShot


def output(probabilities, salience, features: tuple[str, ...] | None = None) -> ExpertOutput:
    weights = np.array(salience, float)
    names = tuple(f"feature_{j}" for j in range(weights.shape[1])) if features is None else features
    return ExpertOutput(np.array(probabilities, float), weights, names)


def few_shot(**params) -> FewShot:
    if {"nearest", "probability"} & set(map(str, params.values())):
        params = {"expert": "logistic_regression", **params}
    return FewShot(FewShot.Params.model_validate(params))


# The distance


def test_probability_decides_among_cases_of_equal_salience() -> None:
    training = output([0.1, 0.5, 0.9], [[0.5, 0.5]] * 3)
    ranking = RepresentationSpace(training).ranking(output([0.85, 0.2, 0.55], [[0.5, 0.5]] * 3))
    assert ranking.tolist() == [[2, 1, 0], [0, 1, 2], [1, 2, 0]]


def test_salience_decides_among_cases_of_equal_probability() -> None:
    training = output([0.3] * 3, [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    ranking = RepresentationSpace(training).ranking(output([0.3], [[0.2, 0.15, 0.65]]))
    assert ranking[0, 0] == 2


def test_the_distance_is_the_one_that_is_written_down() -> None:
    rng = np.random.default_rng(0)
    salience = rng.dirichlet(np.ones(5), size=30)
    salience[:, 4] = 0.125  # does not vary: not one of the F' features
    training, asked = output(rng.random(30), salience), output(rng.random(4), rng.dirichlet(np.ones(5), size=4))
    ranking = RepresentationSpace(training).ranking(asked)
    for m in range(4):
        squared = []
        for n in range(30):
            z = (asked.log_odds[m] - training.log_odds[n]) / training.log_odds.std()
            s = (asked.salience[m, :4] - training.salience[n, :4]) / training.salience[:, :4].std(axis=0)
            squared.append(z**2 + (s**2).sum() / 4)
        assert ranking[m].tolist() == np.argsort(squared).tolist()


def test_certainty_of_an_expert_is_not_infinite() -> None:
    training = output([0.0, 1.0, 0.5], [[1.0], [1.0], [1.0]])
    assert np.isfinite(training.log_odds).all()
    assert RepresentationSpace(training).ranking(output([1.0], [[1.0]])).tolist() == [[1, 2, 0]]


# What is taken


@given(
    labels=st.lists(st.integers(0, 1), min_size=8, max_size=40),
    half=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_balanced_takes_the_first_of_either_outcome(labels: list[int], half: int, seed: int) -> None:
    outcomes = np.array(labels)
    ranking = np.random.default_rng(seed).permutation(len(labels))
    if min(outcomes.sum(), len(labels) - outcomes.sum()) < half:
        with pytest.raises(UserError, match="do not hold them"):
            take(ranking, outcomes, 2 * half, balanced=True)
        return
    taken = take(ranking, outcomes, 2 * half, balanced=True)
    expected = {int(i) for outcome in (0, 1) for i in [i for i in ranking if outcomes[i] == outcome][:half]}
    assert set(taken) == expected
    assert taken == [i for i in ranking if int(i) in expected]
    assert take(ranking, outcomes, 2 * half, balanced=False) == ranking[: 2 * half].tolist()


def test_random_examples_depend_on_the_case_and_the_seed_alone() -> None:
    first = random_ranking("a", 50, 0)
    assert sorted(first) == list(range(50))
    assert first.tolist() == random_ranking("a", 50, 0).tolist()
    assert first.tolist() != random_ranking("b", 50, 0).tolist()
    assert first.tolist() != random_ranking("a", 50, 1).tolist()


# The prompts


def collected(stages, folder: Path, data: TrainingData | None = None, expert: bool = True):
    inputs = {"training": data or stages.data, "record_text": stages.record_text}
    if expert:
        inputs["salience"] = stages.salience
    collect(StageRun({}, inputs, 0, folder))
    return folder


@pytest.fixture
def examples(stages, tmp_path: Path):
    return read_examples(collected(stages, tmp_path))


def records_in(prompt: str) -> list[str]:
    return [line for line in prompt.split("\n") if line.startswith("sex=")]


def test_examples_are_the_training_cases_and_no_others(stages, examples) -> None:
    assert examples.case_ids == stages.data.train.cases.case_ids
    assert examples.labels.tolist() == stages.data.train.labels.tolist()
    assert not set(examples.case_ids) & set(stages.held_out.cases.case_ids)
    assert not set(examples.case_ids) & set(stages.data.tuning.cases.case_ids)
    cross_fitted = output_on_training(stages.salience, stages.data.train.cases)
    np.testing.assert_array_equal(examples.expert.probability, cross_fitted.probability)
    np.testing.assert_array_equal(examples.expert.salience, cross_fitted.salience)
    # The expert that has seen these cases says something else.
    fitted = output_of_fitted("logistic_regression", stages.expert, stages.data.train.cases)
    assert abs(fitted.probability - cross_fitted.probability).max() > 0.02


@pytest.mark.parametrize("selection", ["random", "nearest"])
@pytest.mark.parametrize("with_expert", ["none", "probability"])
def test_a_prompt_holds_examples_then_the_asked_case(stages, examples, selection, with_expert) -> None:
    cases, text = stages.held_out.cases, stages.text
    answers = output_of_fitted("logistic_regression", stages.expert, cases)
    method = few_shot(selection=selection, with_expert=with_expert, shots=4)
    of_record = {record: i for i, record in enumerate(examples.records)}
    held_out_records = {text.render(case, cases) for case in cases}
    for i, (case, prompt) in enumerate(zip(cases, method.prompts(cases, examples, answers, text, seed=0), strict=True)):
        *shown, asked = records_in(prompt.text)
        assert asked == text.render(case, cases)
        assert not set(shown) & held_out_records
        positions = [of_record[record] for record in shown]
        outcomes = re.findall(r"^outcome=(yes|no)$", prompt.text, flags=re.M)
        assert outcomes == ["yes" if examples.labels[j] else "no" for j in positions]
        assert sorted(outcomes) == ["no", "no", "yes", "yes"]
        # Nothing after the asked record says how it ended.
        assert "outcome" not in prompt.text.rpartition(asked)[2]
        told = re.findall(r"^expert=(.*)$", prompt.text, flags=re.M)
        if with_expert == "none":
            assert told == []
            assert prompt.text.endswith(prompt_text(STYLES["vanilla"], case, cases, text))
        else:
            expected = [*examples.expert.probability[positions], answers.probability[i]]
            assert told == [f"{p:.2f}" for p in expected]
        for name, line in text.feature_texts(case, cases).items():
            start, end = prompt.spans[name]
            assert prompt.text[start:end] == line
            assert start >= prompt.text.rindex(asked)


def test_the_nearest_example_stands_last(stages, examples) -> None:
    cases, text = stages.held_out.cases, stages.text
    answers = output_of_fitted("logistic_regression", stages.expert, cases)
    prompts = few_shot(selection="nearest", shots=3, balanced=False).prompts(cases, examples, answers, text, seed=0)
    rankings = RepresentationSpace(examples.expert).ranking(answers)
    for prompt, ranking in zip(prompts, rankings, strict=True):
        assert records_in(prompt.text)[:-1] == [examples.records[i] for i in ranking[:3][::-1]]


def test_the_nearest_example_is_found_for_a_case_of_another_domain_by_the_names_of_features(stages, examples) -> None:
    cases, text = stages.held_out.cases, stages.text
    answers = output_of_fitted("logistic_regression", stages.expert, cases)
    method = few_shot(selection="nearest", shots=3, balanced=False)
    expected = [records_in(prompt.text)[:-1] for prompt in method.prompts(cases, examples, answers, text, seed=0)]
    # The other domain lists the same features the other way round, and one more that its expert gives no weight.
    unknown = Feature("ceruloplasmin", "Ceruloplasmin", "g/L", plausible=(0.0, 5.0), reference=(0.2, 0.6))
    elsewhere = Cases((unknown, *cases.features[::-1]), cases.static_names, cases.task, cases.items)
    turned_salience = np.column_stack([np.zeros(len(cases)), answers.salience[:, ::-1]])
    turned = output(answers.probability, turned_salience, elsewhere.feature_names)
    prompts = method.prompts(elsewhere, examples, turned, text, seed=0)
    assert [records_in(prompt.text)[:-1] for prompt in prompts] == expected


def test_full_prompts_number_the_patients(stages, tmp_path: Path) -> None:
    from eagbench.api import RecordText, RecordTextParams

    cases, text = stages.held_out.cases, RecordText(RecordTextParams(periods=2))
    text.save(tmp_path)
    collect(StageRun({}, {"training": stages.data, "record_text": tmp_path}, 0, tmp_path))
    examples = read_examples(tmp_path)
    assert examples.expert is None
    prompt = few_shot(shots=2, style="vanilla").prompts(cases, examples, None, text, seed=0)[0].text
    assert prompt.startswith("Records of other patients, whose outcome is known:\n\nPatient 1:\nSex: ")
    assert prompt.count("Outcome (will this patient die in hospital?): ") == 2
    assert prompt.index("Patient 2:") < prompt.index("You are an intensive care physician.")
    assert prompt.endswith(prompt_text(STYLES["vanilla"], cases[0], cases, text))


def test_held_out_labels_can_not_matter_and_training_labels_do(stages, tmp_path: Path) -> None:
    """`predict` is given cases, which carry no label; a training case with another label is another example."""
    assert not hasattr(stages.held_out.cases, "labels")
    data = stages.data
    turned = TrainingData(LabelledCases(data.train.cases, 1 - data.train.labels), data.tuning)
    prompts = []
    for name, trained_on in (("a", data), ("b", turned)):
        (tmp_path / name).mkdir()
        examples = read_examples(collected(stages, tmp_path / name, trained_on, expert=False))
        made = few_shot(balanced=False).prompts(stages.held_out.cases, examples, None, stages.text, seed=0)
        prompts.append([prompt.text for prompt in made])
    assert prompts[0] != prompts[1]
    swapped = [p.replace("=yes", "=?").replace("=no\n", "=yes\n").replace("=?", "=no") for p in prompts[1]]
    assert swapped == prompts[0]


def test_the_frozen_policy_answers(stages, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    inputs = {"policy": stages.policy, "record_text": stages.record_text, "expert": stages.expert}
    inputs["examples"] = collected(stages, folder)
    method = few_shot(selection="nearest", with_expert="probability")

    def predict(seed: int):
        run = StageRun({"answer": {"mode": "mean_of_n", "samples": 2}, "attention": False}, inputs, seed, tmp_path)
        return method.predict(stages.held_out.cases, run)

    first = predict(0)
    assert [p.case_id for p in first] == list(stages.held_out.cases.case_ids)
    assert np.mean([p.probability is None for p in first]) < 0.5
    assert predict(0) == first
    assert predict(1) != first


def test_the_asked_case_is_read_as_it_is(stages, examples) -> None:
    """An emptied record shows empty, and random examples stay what they were: they depend on the id alone."""
    cases = stages.held_out.cases.select([0])
    emptied = cases.with_items([replace(cases[0], values=np.full_like(cases[0].values, np.nan))])
    before, after = (few_shot().prompts(c, examples, None, stages.text, seed=0)[0].text for c in (cases, emptied))
    assert records_in(before)[:-1] == records_in(after)[:-1]
    assert records_in(before)[-1] != records_in(after)[-1] == stages.text.render(emptied[0], emptied)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shots": 3}, "can't be balanced"),
        ({"selection": "nearest"}, "need an `expert`"),
        ({"with_expert": "probability"}, "need an `expert`"),
        ({"expert": "lightgbm"}, "no one asks the `expert`"),
        ({"selection": "closest"}, "nearest"),
    ],
)
def test_what_makes_no_sense_is_refused(params: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FewShot.Params.model_validate(params)
