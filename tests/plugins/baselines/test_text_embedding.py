"""The head on hidden states alone: what it is trained on, and that it finds what they carry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from eagbench.api import Cases, LabelledCases, StageRun, TrainingData, load_arrays, save_arrays
from eagbench_plugins.baselines.logistic_head import LogisticHead
from eagbench_plugins.baselines.prompt_embedding import encode_training_cases, read_embedding
from eagbench_plugins.baselines.text_embedding import TextEmbedding, fit_text_head


@pytest.fixture(scope="module")
def embedding(stages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embedding")
    inputs = {"cases": stages.data.train.cases, "policy": stages.policy, "record_text": stages.record_text}
    encode_training_cases(StageRun({"style": "vanilla"}, inputs, 0, folder))
    return folder


def fit(data: TrainingData, embedding: Path, out: Path) -> Path:
    out.mkdir()
    fit_text_head(StageRun({}, {"training": data, "embedding": embedding}, 0, out))
    return out


def predict(stages, head: Path, cases: Cases) -> np.ndarray:
    inputs = {"policy": stages.policy, "record_text": stages.record_text, "head": head}
    run = StageRun({"answer": {}, "attention": False}, inputs, 0, head)
    predictions = TextEmbedding(TextEmbedding.Params()).predict(cases, run)
    assert [p.case_id for p in predictions] == list(cases.case_ids)
    return np.array([p.probability for p in predictions])


def by_sex(labelled: LabelledCases) -> LabelledCases:
    """The same cases, with an outcome that one word of the record tells."""
    return LabelledCases(labelled.cases, np.array([int(case.static["sex"]) for case in labelled.cases]))


def test_a_word_that_determines_the_outcome_is_found(stages, embedding: Path, tmp_path: Path) -> None:
    head = fit(TrainingData(by_sex(stages.data.train), stages.data.tuning), embedding, tmp_path / "head")
    held_out = by_sex(stages.held_out)
    probability = predict(stages, head, held_out.cases)
    assert roc_auc_score(held_out.labels, probability) > 0.95
    changed = [replace(case, static=case.static | {"sex": 1 - case.static["sex"]}) for case in held_out.cases]
    perturbed = predict(stages, head, held_out.cases.with_items(changed))
    assert roc_auc_score(held_out.labels, perturbed) < 0.05


def test_it_is_a_logistic_regression_on_standardised_hidden_states(stages, embedding: Path, tmp_path: Path) -> None:
    head = LogisticHead.load(fit(stages.data, embedding, tmp_path / "head"))
    columns = read_embedding(embedding, stages.data.train.cases).astype(float)
    model = LogisticRegression(C=head.inverse_penalty, tol=1e-8, max_iter=10_000)
    scaler = StandardScaler().fit(columns)
    model.fit(scaler.transform(columns), stages.data.train.labels)
    expected = model.predict_proba(scaler.transform(columns))[:, 1]
    np.testing.assert_allclose(head.predict(columns), expected, atol=1e-3)
    assert head.log_loss[head.inverse_penalty] == min(head.log_loss.values())


def test_a_signal_planted_in_the_hidden_states_is_found(stages, embedding: Path, tmp_path: Path) -> None:
    labels = stages.data.train.labels
    planted = np.random.default_rng(0).normal(size=(len(labels), 100)).astype(np.float32)
    planted[:, 7] += 4 * labels
    (tmp_path / "planted").mkdir()
    _, about = load_arrays(embedding / "embedding.safetensors")
    save_arrays(tmp_path / "planted" / "embedding.safetensors", {"embedding": planted}, about)
    head = LogisticHead.load(fit(stages.data, tmp_path / "planted", tmp_path / "head"))
    assert np.argmax(abs(head.coefficient)) == 7


def test_equal_bytes_twice_and_whatever_the_tuning_cases_are(stages, embedding: Path, tmp_path: Path) -> None:
    train = stages.data.train
    heads = [
        fit(TrainingData(train, tuning), embedding, tmp_path / name) / "head.safetensors"
        for name, tuning in (("once", stages.data.tuning), ("twice", stages.data.tuning), ("other", stages.held_out))
    ]
    assert len({path.read_bytes() for path in heads}) == 1
