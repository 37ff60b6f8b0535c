"""Conformance tests for policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import BaseModel

from eagbench.config.settings import RecordTextParams
from eagbench.contracts.language_models import LanguageModel, Sampling
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.rules import check_files, check_generations
from eagbench.contracts.stages import StageRun
from eagbench.prompting.record import RecordText
from eagbench.prompting.styles import STYLES, prompt_text
from eagbench.testing.blocks import in_blocks
from eagbench.testing.cases import content, labelled_cases
from eagbench.testing.component import ComponentConformance

GREEDY = Sampling(max_new_tokens=12)
SAMPLED = Sampling(max_new_tokens=12, temperature=1.0)


class PolicyConformance(ComponentConformance):
    """A model gives the same answers when asked again, alone or in a batch, and respects its limits."""

    kind: ClassVar[str] = "policy"

    @classmethod
    def _prepare(cls, validated: BaseModel, cases: Cases, folder: Path) -> Path:
        record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
        cls.component(validated).prepare(cases, record_text, StageRun({}, {}, 0, folder))
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, validated: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Prepare the policy's folder from 40 unlabelled cases."""
        cases = labelled_cases(40, seed=1).cases
        before = content(cases)
        folder = cls._prepare(validated, cases, tmp_path_factory.mktemp("policy"))
        assert content(cases) == before
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls, validated: BaseModel, folder: Path) -> LanguageModel:
        """Open the model."""
        model: LanguageModel = cls.component(validated).open(folder)
        return model

    @pytest.fixture(scope="class")
    @classmethod
    def prompts(cls) -> list[str]:
        """Write the prompts for three cases."""
        cases: Cases = labelled_cases(3, seed=2).cases
        record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
        return [prompt_text(STYLES["question_decomposition"], case, cases, record_text) for case in cases]

    def test_its_content_is_a_hash_or_nothing(self, made: Any) -> None:
        """It is the same on every call."""
        assert made.content() is None or isinstance(made.content(), str)
        assert made.content() == made.content()

    def test_a_language_model_is_opened(self, opened: LanguageModel, folder: Path) -> None:
        """The model follows the protocol, and its folder contains no pickle."""
        assert isinstance(opened, LanguageModel)
        check_files(folder, "prepare")

    def test_cases_of_a_large_cohort_do_as_well(self, validated: BaseModel, folder: Path, tmp_path: Path) -> None:
        """Prepared from cases that are read in blocks, the model's folder has the same files."""
        other = self._prepare(validated, in_blocks(labelled_cases(40, seed=1).cases), tmp_path)
        assert _files(other) == _files(folder)

    @pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
    def test_the_same_seed_gives_the_same_texts_alone_and_among_others(
        self, opened: LanguageModel, prompts: list[str], sampling: Sampling
    ) -> None:
        """Each prompt gets one text, in order, within the token limit."""
        texts = opened.generate(prompts, sampling, 3)
        check_generations(prompts, sampling, texts)
        assert opened.generate(prompts, sampling, 3) == texts
        assert [opened.generate([prompt], sampling, 3)[0] for prompt in prompts] == texts

    def test_opened_again_it_writes_the_same(
        self, validated: BaseModel, folder: Path, opened: LanguageModel, prompts: list[str]
    ) -> None:
        """The folder alone is enough to write the same texts."""
        again: LanguageModel = self.component(validated).open(folder)
        for sampling in (GREEDY, SAMPLED):
            assert again.generate(prompts, sampling, 3) == opened.generate(prompts, sampling, 3)

    def test_an_odd_record_is_read(self, opened: LanguageModel) -> None:
        """One tested record has no measurement, and one has the same value throughout."""
        cases = labelled_cases(4, seed=2).cases
        record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
        first: Case = cases[0]
        odd = [
            replace(first, values=np.full_like(first.values, np.nan)),
            replace(first, values=np.where(np.isnan(first.values), np.nan, np.float32(1))),
        ]
        asked = [prompt_text(STYLES["question_decomposition"], case, cases, record_text) for case in odd]
        assert len(opened.generate(asked, GREEDY, 0)) == len(asked)

    def test_equal_prompts_are_sampled_apart(self, opened: LanguageModel, prompts: list[str]) -> None:
        """Otherwise a group of samples of one case would be a single sample."""
        texts = opened.generate([prompts[0]] * 8, Sampling(max_new_tokens=24, temperature=1.5), 0)
        assert len({text.text for text in texts}) > 1

    def test_what_was_written_is_continued_and_not_repeated(self, opened: LanguageModel, prompts: list[str]) -> None:
        """The returned text begins after the given one."""
        written = ["<Subquestion> how is the lactate?<Answer>"] * len(prompts)
        texts = opened.generate(prompts, GREEDY, 0, written)
        assert len(texts) == len(prompts)
        assert not any(text.text.startswith(written[0]) for text in texts)

    def test_a_stop_string_ends_the_text_and_stays_in_it(self, opened: LanguageModel, prompts: list[str]) -> None:
        """The stop string is taken from what the model writes anyway."""
        [whole] = opened.generate(prompts[:1], Sampling(max_new_tokens=24), 0)
        stop = next((character for character in whole.text[1:] if character.strip()), None)
        if stop is None:
            pytest.skip("the model writes nothing for this prompt")
        [cut] = opened.generate(prompts[:1], Sampling(max_new_tokens=24, stop=(stop,)), 0)
        assert stop in cut.text
        assert whole.text.startswith(cut.text.rstrip())
        assert cut.tokens <= whole.tokens

    def test_candidates_have_a_distribution(self, opened: LanguageModel, prompts: list[str]) -> None:
        """Rows sum to 1, and are the same alone and in a batch."""
        candidates, written = ("0.05", "0.50", "0.95"), ["<Final answer>"] * len(prompts)
        table = np.asarray(opened.continuation_probabilities(prompts, written, candidates))
        assert table.shape == (len(prompts), 3)
        assert (table >= 0).all()
        np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-6)
        alone = opened.continuation_probabilities(prompts[:1], written[:1], candidates)
        np.testing.assert_allclose(alone[0], table[0], rtol=1e-3, atol=1e-5)

    def test_no_prompt_is_no_error(self, opened: LanguageModel) -> None:
        """Without prompts there are no texts and no probabilities."""
        assert list(opened.generate([], GREEDY, 0)) == []
        assert np.shape(opened.continuation_probabilities([], [], ("a", "b"))) == (0, 2)


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
