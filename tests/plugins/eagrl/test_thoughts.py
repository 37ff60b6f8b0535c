"""EAG-RL with a policy that thinks: searches, Stage I and Stage II read and weigh the answer, not a draft."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from eagbench.api import (
    STYLES,
    FeatureVocabulary,
    Generation,
    Sampling,
    SearchTask,
    Thought,
    TokenThoughts,
    UserError,
    read_answer,
)
from eagbench_plugins.eagrl.distillation import Selection, select
from eagbench_plugins.eagrl.feature_tokens import answer_token_mask, feature_token_mask
from eagbench_plugins.eagrl.journal import JournaledModel
from eagbench_plugins.eagrl.optimisation import JudgedCase
from eagbench_plugins.eagrl.policy_optimisation_training import _reward_function
from eagbench_plugins.eagrl.rewards.brier import BrierReward
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from eagbench_plugins.eagrl.searches.greedy import Greedy
from eagbench_plugins.eagrl.searches.mcts import MCTS
from eagbench_plugins.eagrl.sft_training import Example, encode
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.builders import make_case
from tests.plugins.eagrl.scripted import probability_reward
from tests.thinking_models import FAMILIES, PROMPT, thinking, tokenizer_of

STYLE = STYLES["question_decomposition"]
DRAFT = "<Important Features> ph<Final answer>0.90</Final answer>? No."
ANSWER = "<Important Features> lactate<Final answer>0.20</Final answer>"
CASE = make_case({"lactate": [1.0]}, case_id="c")
TASK = SearchTask(CASE, PROMPT, probability_reward, (STYLE.answer_close,), 200)
every_family = pytest.mark.parametrize("family", ["qwen3", "deepseek_r1", "gpt_oss"])


@cache
def model_of(family: str) -> TransformersModel:
    return thinking(family, DRAFT, ANSWER)


def _read(case, text: str, tokens: int, thought: Thought | None = None):
    return read_answer(STYLE, case, text, tokens, FeatureVocabulary([]), thought)


@every_family
@pytest.mark.parametrize("search", [Greedy(Greedy.Params()), BestOfN(BestOfN.Params(samples=2, temperature=0.01))])
def test_a_search_reads_the_answer_and_keeps_the_thought(family: str, search, tmp_path) -> None:
    journaled = JournaledModel(model_of(family), [TASK], tmp_path)
    [result] = search.run(journaled, [TASK], _read, 500, 0)
    before, after = FAMILIES[family].thinks
    assert [trajectory.probability for trajectory in result.trajectories] == [0.2] * len(result.trajectories)
    assert {trajectory.verbatim for trajectory in result.trajectories} == {f"{before}{DRAFT}{after}{ANSWER}"}
    replayed = JournaledModel(model_of(family), [TASK], tmp_path)
    assert search.run(replayed, [TASK], _read, 500, 0) == [result]
    assert replayed.replayed == 1


def test_a_stepwise_search_does_not_begin_inside_a_thought() -> None:
    with pytest.raises(UserError, match="chat template opens a thought"):
        MCTS(MCTS.Params()).run(model_of("deepseek_r1"), [TASK], _read, 500, 0)


def test_a_judgement_of_a_step_that_begins_with_a_thought_is_refused() -> None:
    class ThinksFirst:
        def generate(self, prompts, sampling: Sampling, seed, written=None):
            if sampling.max_new_tokens < 9:
                return [Generation("", 4, Thought("<think>Is it", closed=False))] * len(prompts)
            return [Generation(" how?<Answer> so<Subquestion>", 9)] * len(prompts)

        def continuation_probabilities(self, prompts, written, candidates):
            return np.full((len(prompts), len(candidates)), 0.5)

    search = MCTS(MCTS.Params(self_evaluation=True))
    with pytest.raises(UserError, match="thinks before it answers"):
        search.run(ThinksFirst(), [TASK], _read, 500, 0)


def test_stage_one_learns_the_thought_with_the_answer() -> None:
    lines = [
        {"case_id": name, "trajectories": [{"thought": thought, "text": ANSWER, "probability": 0.2}]}
        if thought
        else {"case_id": name, "trajectories": [{"text": ANSWER, "probability": 0.2}]}
        for name, thought in (("thinks", f"{DRAFT}</think>"), ("does not", ""))
    ]
    chosen = select(lines, {"thinks": 1, "does not": 0}, Selection(balance=False))
    assert [item.text for item in chosen] == [f"{DRAFT}</think>{ANSWER}", ANSWER]


@every_family
def test_an_answer_to_learn_stands_after_the_thought_that_the_template_opens(family: str) -> None:
    model = model_of(family)
    row = encode(Example(PROMPT, ANSWER), model, STYLE, 30.0)
    read_back = model.tokenizer.decode(
        [t for t, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0][:-1]
    )
    assert read_back == ("\n</think>\n\n" if family == "deepseek_r1" else "") + ANSWER
    weighed = [t for t, weight in zip(row["input_ids"], row["weights"], strict=True) if weight == 30.0]
    assert model.tokenizer.decode(weighed) == "0.20"
    before, after = FAMILIES[family].thinks
    row = encode(Example(PROMPT, f"{before}{DRAFT}{after}{ANSWER}"), model, STYLE, 30.0)
    weighed = [t for t, weight in zip(row["input_ids"], row["weights"], strict=True) if weight == 30.0]
    assert model.tokenizer.decode(weighed) == "0.20"


@every_family
@pytest.mark.parametrize("closed", [True, False])
def test_stage_two_judges_and_weighs_the_answer(family: str, closed: bool) -> None:
    tokenizer = tokenizer_of(FAMILIES[family])
    before, after = FAMILIES[family].thinks
    tokens = tokenizer(before + DRAFT + (after + ANSWER if closed else ""), add_special_tokens=False)["input_ids"]
    tokens.append(tokenizer.eos_token_id)
    thoughts = TokenThoughts.of(model_of(family))
    reward = BrierReward(BrierReward.Params())
    judged = JudgedCase(CASE, 0, PROMPT, {}, None, reward, STYLE, FeatureVocabulary([]))
    logged: dict[str, float] = {}
    totals = _reward_function([judged], thoughts)([tokens], [0], lambda name, value: logged.update({name: value}))
    assert totals == [pytest.approx(1 - 0.2**2 if closed else -1.0)]
    assert (logged["unparsed_rate"], logged["truncated_thought"]) == (float(not closed), float(not closed))
    for mask, named in ((feature_token_mask, "lactate"), (answer_token_mask, "0.20")):
        flagged = mask(tokenizer, tokens, STYLE, thoughts)
        assert tokenizer.decode([t for t, flag in zip(tokens, flagged, strict=True) if flag]) == (
            named if closed else ""
        )
