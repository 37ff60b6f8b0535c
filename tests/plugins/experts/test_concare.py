from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from builders import make_cases, make_training_data
from eagbench.api import StageRun, TrainingData
from eagbench_plugins.experts.concare import ConCare

DRIVERS = {"lactate": 2.0, "urea": -1.5}
SMALL: dict[str, Any] = {"periods": 3, "hidden_dim": 8, "heads": 2, "epochs": 5, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    # 129 training cases in batches of 64: the last batch is a single case.
    return make_training_data(make_cases(129 + 120, DRIVERS, n_noise=2), 120)


def fit(data: TrainingData, run: StageRun, **params: Any) -> ConCare:
    expert = ConCare(ConCare.Params(**(SMALL | params)))
    expert.fit(data, run)
    return expert


def run_in(folder: Path, seed: int = 0, progress: Any = None) -> StageRun:
    folder.mkdir(parents=True, exist_ok=True)
    run = StageRun(params={}, inputs={}, seed=seed, out=folder)
    if progress is not None:
        run.progress = progress
    return run


@pytest.mark.parametrize("n_static", [0, 2])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n_cases", [7, 1])
def test_the_network_is_pyhealth_s_layer_and_a_linear_head(n_static: int, training: bool, n_cases: int) -> None:
    """The same weights, input and draws of dropout give PyHealth's embedding, DeCov loss and gradients."""
    import torch
    from pyhealth.models.concare import ConCareLayer

    from eagbench_plugins.experts.concare_network import ConCareNetwork

    torch.manual_seed(0)
    network = ConCareNetwork(n_features=5, n_static=n_static, hidden_dim=8, heads=2, dropout=0.4).train(training)
    layer = ConCareLayer(input_dim=5, static_dim=n_static, hidden_dim=8, num_head=2, pe_hidden=16, dropout=0.4)
    layer.load_state_dict(network.layer.state_dict())
    layer.train(training)
    values, static = torch.randn(n_cases, 4, 5), torch.randn(n_cases, n_static)

    def pyhealths() -> tuple[torch.Tensor, torch.Tensor]:
        embedding, decov = layer(values, static if n_static else None)
        return network.head(embedding).squeeze(1), decov

    results, gradients = [], []
    for module, compute in ((layer, pyhealths), (network.layer, lambda: network(values, static))):
        torch.manual_seed(1)
        log_odds, decov = compute()
        (log_odds.square().sum() + decov).backward()
        results.append((log_odds, decov))
        gradients.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert {"GRUs.4.weight_hh_l0", "LastStepAttentions.4.rate"} <= gradients[0].keys()


@pytest.mark.parametrize("n_static", [0, 2])
def test_attention_is_read_without_changing_the_answer(n_static: int) -> None:
    import torch

    from eagbench_plugins.experts.concare_network import ConCareNetwork

    network = ConCareNetwork(n_features=5, n_static=n_static, hidden_dim=8, heads=2, dropout=0.4).eval()
    values, static = torch.randn(7, 4, 5), torch.randn(7, n_static)
    with torch.inference_mode():
        log_odds, _ = network(values, static)
        with_attention, attention = network.forward_with_attention(values, static)
    torch.testing.assert_close(with_attention, log_odds, rtol=0, atol=0)
    assert attention.shape == (7, 5)
    total = attention.sum(dim=1)
    if n_static:
        assert (total < 1).all()  # the rest lies on the static facts
    else:
        torch.testing.assert_close(total, torch.ones(7))


def test_attention_is_what_pools_the_contexts(data: TrainingData, tmp_path: Path) -> None:
    """The weights that become salience are those by which PyHealth's layer sums the features' values."""
    import torch

    expert = fit(data, run_in(tmp_path), epochs=1)
    network = expert.network.eval()
    seen: dict[str, torch.Tensor] = {}
    final = network.layer.FinalAttentionQKV
    hook = final.register_forward_hook(lambda _m, inputs, output: seen.update(contexts=inputs[0], pooled=output[0]))
    cases = data.tuning.cases.select(range(9))
    values, static = expert._inputs(cases)
    with torch.inference_mode():
        network(torch.from_numpy(values), torch.from_numpy(static))
        hook.remove()
        query = final.W_q(seen["contexts"][:, -1])
        weights = torch.softmax((final.W_k(seen["contexts"]) @ query.unsqueeze(2)).squeeze(2), dim=1)  # (N, F + 1)
    n_features = len(cases.features)
    assert weights.shape == (9, n_features + 1)
    expected = weights[:, :n_features].double().numpy()
    np.testing.assert_allclose(expert.salience(cases), expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("finished", [1, 3])
def test_a_killed_fit_goes_on_to_the_same_weights(data: TrainingData, tmp_path: Path, finished: int) -> None:
    def killed_after(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for n, item in enumerate(items):
            if n == finished:
                raise _Killed
            yield item

    epochs: list[int] = []

    def counted(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for item in items:
            epochs.append(item)
            yield item

    whole = fit(data, run_in(tmp_path / "whole"))
    with pytest.raises(_Killed):
        fit(data, run_in(tmp_path / "killed", progress=killed_after))
    resumed = fit(data, run_in(tmp_path / "killed", progress=counted))
    assert epochs == list(range(finished, 5))
    whole.save(tmp_path / "whole")
    resumed.save(tmp_path / "killed")
    assert (tmp_path / "whole/concare.safetensors").read_bytes() == (
        tmp_path / "killed/concare.safetensors"
    ).read_bytes()


def test_fitting_and_loading_leave_torch_as_it_was(data: TrainingData, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    expert = fit(data, run_in(tmp_path), epochs=1)
    expert.save(tmp_path)
    ConCare.load(expert.params, tmp_path).predict(data.tuning.cases)
    after = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_state_of_torch_s_generator_is_immaterial(data: TrainingData, tmp_path: Path) -> None:
    import torch

    answers = []
    for state in (1, 2):
        torch.manual_seed(state)
        answers.append(fit(data, run_in(tmp_path / str(state)), epochs=1).predict(data.tuning.cases))
    np.testing.assert_array_equal(*answers)


def test_it_stops_when_the_log_loss_stops_falling_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    from sklearn.metrics import log_loss

    labelled = make_cases(300, DRIVERS, n_noise=2, random_labels=True)
    data = make_training_data(labelled, 150)
    run = run_in(tmp_path)
    expert = fit(data, run, epochs=40, patience=3, dropout=0.0)
    assert run.costs["epochs"] < 40
    prevalence = np.full(150, data.train.prevalence)
    stopped = log_loss(data.tuning.labels, expert.predict(data.tuning.cases))
    assert stopped < log_loss(data.tuning.labels, prevalence) + 0.05


def test_balanced_classes_raise_the_probabilities_of_a_rare_outcome(tmp_path: Path) -> None:
    labelled = make_cases(500, DRIVERS, n_noise=1)
    rare = labelled.select([*np.flatnonzero(labelled.labels)[:40], *np.flatnonzero(labelled.labels == 0)])
    data = make_training_data(rare.select(np.random.default_rng(0).permutation(len(rare))), 0)
    plain, balanced = (
        fit(data, run_in(tmp_path / weights), class_weights=weights).predict(rare.cases).mean()
        for weights in ("none", "balanced")
    )
    assert balanced > plain + 0.1


def test_width_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ValidationError, match="not a multiple of heads"):
        ConCare.Params(hidden_dim=10, heads=4)


def test_registering_the_experts_loads_no_heavy_library() -> None:
    program = (
        "import sys; from eagbench_plugins.experts import plugin\n"
        "plugin.register_experts(lambda kind: kind(kind.Params()))\n"
        "heavy = {'torch', 'pyhealth', 'transformers', 'trl', 'pandas', 'lightgbm', 'sklearn'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.stderr.strip().splitlines()[-1] == "[]"
