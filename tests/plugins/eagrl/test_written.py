"""Beginnings of answers: a model continues them, and a chat template closes around the prompt only."""

from __future__ import annotations

from eagbench.api import STYLES, RecordText, Sampling, open_policy, prompt_text
from tests.plugins.eagrl.conftest import Prepared


def test_a_beginning_is_continued_after_the_chat_template(prepared: Prepared, monkeypatch) -> None:
    model = open_policy(prepared.inputs["policy"])
    cases = prepared.fresh.cases.select(range(5))
    record_text = RecordText.load(prepared.inputs["record_text"])
    prompts = [prompt_text(STYLES["question_decomposition"], case, cases, record_text) for case in cases]
    begun = ["<Subquestion>", "<Final subquestion>", "", "<Subquestion> How is", "<Important Features>"]
    sampling = Sampling(20, temperature=1.0)
    joined = model.generate([p + w for p, w in zip(prompts, begun, strict=True)], sampling, 3)
    assert model.generate(prompts, sampling, 3, begun) == joined
    assert model.generate(prompts, sampling, 3) == model.generate(prompts, sampling, 3, [""] * 5)

    read: list[str] = []
    encode = model._encode
    monkeypatch.setattr(model, "_encode", lambda texts: read.extend(texts) or encode(texts))
    model.tokenizer.chat_template = "[user]{{ messages[0]['content'] }}[assistant]"
    model.generate(prompts, sampling, 3, begun)
    assert read == [f"[user]{p}[assistant]{w}" for p, w in zip(prompts, begun, strict=True)]
