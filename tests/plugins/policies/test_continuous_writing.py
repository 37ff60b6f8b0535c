"""Texts that join others on the way are those that a batch writes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eagbench.api import Generation, Sampling, WritesOn
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.plugins.policies.conftest import Prepared

STEPS = Sampling(9, temperature=1.0, top_p=0.9)
ENDS = Sampling(30, temperature=0.7, stop=("</answer>",))
GREEDY = Sampling(14)


@pytest.fixture
def model(prepared: Prepared) -> TransformersModel:
    return TransformersModel.load(prepared.folder, dtype="float32", device="cpu", batch_size=8)


def prompts(n: int, of: str = "age") -> list[str]:
    return [f"{of}={i}\nheart_rate={i + 60}\n" for i in range(n)]


def all_finished(model: TransformersModel, requests: int) -> Iterator[tuple[int, list[Generation]]]:
    for _ in range(1000):
        for number, texts in model.write_on().items():
            yield number, texts
            requests -= 1
        if not requests:
            return


def test_texts_do_not_depend_on_what_is_written_beside_them(model: TransformersModel, prepared: Prepared) -> None:
    alone = TransformersModel.load(prepared.folder, dtype="float32", device="cpu")
    expected = [
        alone.generate(prompts(3), STEPS, 1),
        alone.generate(prompts(12), ENDS, 2),
        alone.generate(prompts(2, "sex"), GREEDY, 3, ["<think>", "<answer>"]),
        alone.generate([prompts(1)[0]] * 3, STEPS, 4),
    ]
    assert isinstance(model, WritesOn)
    assert model.writes_on
    numbers = [model.take_up(prompts(3), STEPS, 1)]
    found = model.write_on()
    numbers.append(model.take_up(prompts(12), ENDS, 2))  # more than there is room for
    found |= model.write_on()
    numbers.append(model.take_up(prompts(2, "sex"), GREEDY, 3, ["<think>", "<answer>"]))
    numbers.append(model.take_up([prompts(1)[0]] * 3, STEPS, 4))
    # Somebody else reads with the model in between.
    model.continuation_probabilities(prompts(2), ["", ""], ["0.1", "0.9"])
    found |= all_finished(model, 4 - len(found))
    assert [found[number] for number in numbers] == expected
    assert len({text.text for text in expected[3]}) > 1  # equal prompts are drawn apart
    assert model.write_on() == {}


def test_requests_without_anything_to_write_are_finished_at_once(model: TransformersModel) -> None:
    assert model.positions is not None
    longer = "heart_rate=1\n" * model.positions
    empty, too_long = model.take_up([], STEPS, 0), model.take_up([longer], STEPS, 0)
    assert model.write_on() == {empty: [], too_long: [Generation("", 0, too_long=True)]}


def test_forgetting_drops_the_requests(model: TransformersModel) -> None:
    model.take_up(prompts(3), STEPS, 1)
    model.write_on()
    model.forget()
    assert model.write_on() == {}
    number = model.take_up(prompts(3), STEPS, 1)
    ((found, texts),) = all_finished(model, 1)
    assert (found, texts) == (number, model.generate(prompts(3), STEPS, 1))


def test_equal_requests_in_equal_order_give_equal_passes(model: TransformersModel, prepared: Prepared) -> None:
    passes = []
    for opened in (model, TransformersModel.load(prepared.folder, dtype="float32", device="cpu", batch_size=8)):
        opened.take_up(prompts(12), ENDS, 2)
        for _ in range(3):
            opened.write_on()
        opened.take_up(prompts(3), STEPS, 1)
        dict(all_finished(opened, 2))
        passes.append((opened._reader.begun, opened._reader.computed))
    assert passes[0] == passes[1]
