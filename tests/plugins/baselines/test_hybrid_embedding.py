"""The head on hidden states and expert: what it is trained on, and that either block alone can carry the signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from eagbench.api import STYLES, Cases, Feature, StageRun, UserError, load_arrays, prompt_text, save_arrays
from eagbench.prompting.answering import open_policy
from eagbench_plugins.baselines import prompt_embedding
from eagbench_plugins.baselines.expert_output import ExpertOutput, output_of_fitted, output_on_training
from eagbench_plugins.baselines.hybrid_embedding import HybridEmbedding, fit_head
from eagbench_plugins.baselines.logistic_head import LogisticHead
from eagbench_plugins.baselines.prompt_embedding import encode_training_cases


@pytest.fixture(scope="module")
def trained(stages, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the stages `embedding` and `head`."""
    embedding, head = tmp_path_factory.mktemp("embedding"), tmp_path_factory.mktemp("head")
    inputs = {"cases": stages.data.train.cases, "policy": stages.policy, "record_text": stages.record_text}
    encode_training_cases(StageRun({"style": "vanilla"}, inputs, 0, embedding))
    fit_head(StageRun({}, {"training": stages.data, "embedding": embedding, "salience": stages.salience}, 0, head))
    return {"embedding": embedding, "head": head}


def predict(stages, head: Path, out: Path, cases: Cases | None = None):
    inputs = {"policy": stages.policy, "record_text": stages.record_text, "expert": stages.expert, "head": head}
    method = HybridEmbedding(HybridEmbedding.Params(expert="logistic_regression"))
    asked = stages.held_out.cases if cases is None else cases
    return method.predict(asked, StageRun({"answer": {}, "attention": False}, inputs, 0, out))


def test_the_embedding_is_the_policys_reading_of_the_prompt(stages, trained) -> None:
    cases = stages.data.train.cases
    embedding = load_file(trained["embedding"] / "embedding.safetensors")["embedding"]
    assert embedding.shape == (len(cases), 64)
    assert embedding.std(axis=0).min() > 0
    prompts = [prompt_text(STYLES["vanilla"], case, cases, stages.text) for case in cases.select([5, 9])]
    np.testing.assert_allclose(open_policy(stages.policy).encode(prompts), embedding[[5, 9]], rtol=1e-4, atol=1e-5)


def test_the_head_reads_both_and_predicts_unlabelled_cases(stages, trained, tmp_path: Path) -> None:
    predictions = predict(stages, trained["head"], tmp_path)
    assert [p.case_id for p in predictions] == list(stages.held_out.cases.case_ids)
    assert {p.answer_mode for p in predictions} == {"model"}
    probability = np.array([p.probability for p in predictions])
    assert roc_auc_score(stages.held_out.labels, probability) > 0.7
    assert predict(stages, trained["head"], tmp_path) == predictions
    n_columns = 64 + 1 + len(stages.data.train.cases.features)
    assert LogisticHead.load(trained["head"]).coefficient.shape == (n_columns,)


def test_a_case_of_another_domain_may_have_other_features(stages, trained, tmp_path: Path) -> None:
    cases = stages.held_out.cases
    unknown = Feature("ceruloplasmin", "Ceruloplasmin", "g/L", plausible=(0.0, 5.0), reference=(0.2, 0.6))
    names = (*cases.feature_names[:-2], unknown.name)
    items = [
        replace(case, features=names, values=np.column_stack([case.values[:, :-2], np.ones(len(case.times))]))
        for case in cases
    ]
    elsewhere = Cases((*cases.features[:-2], unknown), cases.static_names, cases.task, tuple(items))
    probability = [p.probability for p in predict(stages, trained["head"], tmp_path, elsewhere)]
    assert np.isfinite(probability).all()
    assert roc_auc_score(stages.held_out.labels, probability) > 0.6


def test_salience_is_matched_by_the_names_of_features() -> None:
    output = ExpertOutput(np.array([0.4]), np.array([[0.2, 0.5, 0.3]]), ("a", "b", "c"))
    aligned = output.for_features(["c", "new", "a"])
    np.testing.assert_array_equal(aligned.salience, [[0.3, 0.0, 0.2]])
    np.testing.assert_array_equal(aligned.probability, output.probability)


def test_the_expert_that_the_head_learns_from_is_cross_fitted(stages, trained, tmp_path: Path) -> None:
    """The same head by hand from the cross-fitted output; from that of the fitted expert it would be another one."""
    cases, labels = stages.data.train.cases, stages.data.train.labels
    embedding = load_file(trained["embedding"] / "embedding.safetensors")["embedding"]
    stored = LogisticHead.load(trained["head"])
    by_hand = []
    outputs = (
        output_on_training(stages.salience, cases),
        output_of_fitted("logistic_regression", stages.expert, cases),
    )
    for output in outputs:
        blocks = [embedding.astype(float), output.log_odds[:, None], output.salience]
        weights = np.concatenate([[1 / np.sqrt(block.shape[1])] * block.shape[1] for block in blocks])
        by_hand.append(LogisticHead.fit(np.hstack(blocks), weights, labels, cases.patient_ids, seed=0))
    np.testing.assert_allclose(stored.coefficient, by_hand[0].coefficient, rtol=1e-6, atol=1e-9)
    assert abs(stored.coefficient - by_hand[1].coefficient).max() > 1e-3


def test_a_signal_planted_in_the_hidden_states_is_found(stages, trained, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = stages.data.train.labels
    planted = rng.normal(size=(len(labels), 200)).astype(np.float32)
    planted[:, 7] += 4 * labels
    (tmp_path / "embedding").mkdir()
    (tmp_path / "head").mkdir()
    _, about = load_arrays(trained["embedding"] / "embedding.safetensors")
    save_arrays(tmp_path / "embedding" / "embedding.safetensors", {"embedding": planted}, about)
    inputs = {"training": stages.data, "embedding": tmp_path / "embedding", "salience": stages.salience}
    fit_head(StageRun({}, inputs, 0, tmp_path / "head"))
    head = LogisticHead.load(tmp_path / "head")
    assert np.argmax(np.abs(head.coefficient[:200] * planted.std(axis=0))) == 7


def test_rows_are_matched_by_case_id(stages, trained, tmp_path: Path) -> None:
    (tmp_path / "turned").mkdir()
    (tmp_path / "head").mkdir()
    arrays, about = load_arrays(trained["embedding"] / "embedding.safetensors")
    turned, ids = {"embedding": arrays["embedding"][::-1]}, {"case_ids": about["case_ids"][::-1]}
    save_arrays(tmp_path / "turned" / "embedding.safetensors", turned, ids)
    inputs = {"training": stages.data, "embedding": tmp_path / "turned", "salience": stages.salience}
    fit_head(StageRun({}, inputs, 0, tmp_path / "head"))
    head, expected = (folder / "head.safetensors" for folder in (tmp_path / "head", trained["head"]))
    assert head.read_bytes() == expected.read_bytes()


def test_a_policy_without_hidden_states_is_refused(stages, monkeypatch: pytest.MonkeyPatch) -> None:
    class WritesOnly:
        def generate(self, *arguments: object) -> list[object]:
            return []

    monkeypatch.setattr(prompt_embedding, "open_policy", lambda folder: WritesOnly())
    with pytest.raises(UserError, match="does not give its hidden states"):
        prompt_embedding.encode(
            stages.held_out.cases, stages.policy, stages.text, STYLES["vanilla"], lambda items, *_: items
        )
