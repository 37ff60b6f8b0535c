"""What every neural expert shares: the training loop, the fallback of salience, and networks that are PyHealth's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from builders import make_cases, make_training_data
from eagbench.api import StageRun, TrainingData
from eagbench_plugins.experts.adacare import AdaCare
from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.experts.gru import GRU
from eagbench_plugins.experts.gru_d import GRUD
from eagbench_plugins.experts.neural_expert import NeuralExpert
from eagbench_plugins.experts.retain import RETAIN
from eagbench_plugins.experts.tcn import TCN
from eagbench_plugins.experts.transformer import Transformer

KINDS = [RETAIN, AdaCare, GRU, GRUD, Transformer, TCN]
SMALL: dict[str, Any] = {"periods": 5, "hidden_dim": 8, "epochs": 3, "learning_rate": 0.02}


def fit(kind: type, data: TrainingData, folder: Path, progress: Any = None, **params: Any) -> NeuralExpert:
    folder.mkdir(parents=True, exist_ok=True)
    run = StageRun(params={}, inputs={}, seed=0, out=folder)
    if progress is not None:
        run.progress = progress
    expert: NeuralExpert = kind(kind.Params(**(SMALL | params)))
    expert.fit(data, run)
    return expert


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_training_data(make_cases(129 + 120, {"lactate": 2.0, "urea": -1.5}, n_noise=2), 120)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.fixture(scope="module")
def expert(kind: type, data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> NeuralExpert:
    return fit(kind, data, tmp_path_factory.mktemp("fit"))


class _Killed(Exception):
    pass


def test_a_killed_fit_goes_on_to_the_same_weights(
    kind: type, expert: NeuralExpert, data: TrainingData, tmp_path: Path
) -> None:
    def killed_after_one(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for n, item in enumerate(items):
            if n == 1:
                raise _Killed
            yield item

    epochs: list[int] = []

    def counted(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for item in items:
            epochs.append(item)
            yield item

    with pytest.raises(_Killed):
        fit(kind, data, tmp_path, killed_after_one)
    resumed = fit(kind, data, tmp_path, counted)
    assert epochs == [1, 2]
    written = []
    for name, some in (("whole", expert), ("resumed", resumed)):
        (tmp_path / name).mkdir()
        some.save(tmp_path / name)
        written.append((tmp_path / name / f"{kind.name}.safetensors").read_bytes())
    assert written[0] == written[1]


def test_asking_leaves_torch_as_it_was(expert: NeuralExpert, data: TrainingData) -> None:
    import torch

    torch.manual_seed(5)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    expert.predict(data.tuning.cases)
    expert.salience(data.tuning.cases)
    after = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@pytest.mark.parametrize("periods", [1, 2])
def test_windows_of_one_and_two_steps_and_a_single_feature(kind: type, periods: int, tmp_path: Path) -> None:
    data = make_training_data(make_cases(60, {"lactate": 2.0}, n_noise=0), 10)
    expert = fit(kind, data, tmp_path, periods=periods, epochs=1)
    assert np.isfinite(expert.predict(data.tuning.cases)).all()
    np.testing.assert_allclose(expert.salience(data.tuning.cases), 1.0)


def test_a_case_that_no_feature_says_anything_of_weighs_all_alike(expert: NeuralExpert, data: TrainingData) -> None:
    """At the training mean there is nothing to attribute: what the network makes of static facts is no feature's."""
    import torch

    inputs = tuple(torch.from_numpy(part[:3]) for part in expert._inputs(data.tuning.cases))
    weights = expert.network.eval().feature_weights(torch.zeros_like(inputs[0]), *inputs[1:])
    torch.testing.assert_close(weights, torch.zeros_like(weights))


def test_attributions_sum_to_what_the_values_add_to_the_log_odds(
    kind: type, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Completeness (Sundararajan et al. 2017, proposition 1): to 1 % on average, and in the limit of many points.

    Exact for RETAIN's contributions. Rectified units (AdaCare, TCN) make the gradient jump along the way, so that a
    rule of 32 points misses a single case by more than a smooth network's.
    """
    import torch

    from eagbench_plugins.experts import neural_network

    # Nine steps of the small networks above teach a Transformer of width 8 nothing that could be attributed.
    expert = fit(kind, data, tmp_path, hidden_dim=16, epochs=12, learning_rate=0.01, dropout=0.1)
    network = expert.network.eval()
    inputs = tuple(torch.from_numpy(part) for part in expert._inputs(data.tuning.cases))
    with torch.inference_mode():
        added = network(*inputs)[0] - network(torch.zeros_like(inputs[0]), *inputs[1:])[0]  # (N,)
    assert added.abs().mean() > 0.3
    for points, largest, mean in ((neural_network.INTEGRATION_POINTS, 0.05, 0.01), (512, 0.005, 0.001)):
        monkeypatch.setattr(neural_network, "INTEGRATION_POINTS", points)
        attributions = network.attributions(*inputs)
        assert attributions.shape == inputs[0].shape
        error = (attributions.sum(dim=(1, 2)) - added).abs()
        assert error.max() < largest * added.abs().max()
        assert error.mean() < mean * added.abs().mean()


def test_integrated_gradients_of_a_linear_network_are_weight_times_value() -> None:
    import torch

    from eagbench_plugins.experts.neural_network import ExpertNetwork

    weight = torch.tensor([[1.0, -2.0, 0.0], [0.5, 0.0, 3.0]])  # (P, F)

    class Linear(ExpertNetwork):
        def forward(self, values: Any, static: Any, *gaps: Any) -> Any:
            return (values * weight).sum(dim=(1, 2)) + 7.0 * static[:, 0], torch.zeros(())

    values, static = torch.randn(4, 2, 3), torch.randn(4, 1)
    torch.testing.assert_close(Linear().attributions(values, static), values * weight)
    torch.testing.assert_close(Linear().feature_weights(values, static), (values * weight).abs().sum(dim=1))


def test_the_transformer_s_layer_is_pyhealth_s() -> None:
    import torch
    from pyhealth.models.transformer import TransformerLayer

    from eagbench_plugins.experts.transformer_network import TransformerNetwork
    from eagbench_plugins.experts.transformer_params import TransformerParams

    params = TransformerParams(periods=6, hidden_dim=8, heads=2, layers=2, dropout=0.4)
    network = TransformerNetwork(5, 2, params).eval()
    layer = TransformerLayer(8, heads=2, dropout=0.4, num_layers=2).eval()
    layer.load_state_dict(network.layer.state_dict())
    values, static = torch.randn(7, 6, 5), torch.randn(7, 2)
    with torch.inference_mode():
        steps = torch.cat([network.token.expand(7, 1, -1), network.embedding(values) + network.position], dim=1)
        _, first = layer(steps)
        expected = network.head.linear(torch.cat([network.norm(first), static], dim=1)).squeeze(1)
        torch.testing.assert_close(network(values, static)[0], expected, rtol=0, atol=0)
        # The layer alone would not know one order of steps from another.
        assert not torch.allclose(network(values.flip(1), static)[0], expected, atol=1e-4)


def test_positions_are_those_of_the_paper() -> None:
    from eagbench_plugins.experts.transformer_network import sinusoids

    width = 6
    expected = np.zeros((4, width))
    for position in range(4):
        for i in range(width // 2):
            angle = position / 10_000 ** (2 * i / width)
            expected[position, 2 * i], expected[position, 2 * i + 1] = np.sin(angle), np.cos(angle)
    np.testing.assert_allclose(sinusoids(4, width).numpy(), expected, atol=1e-6)
    assert sinusoids(3, 5).shape == (3, 5)


def test_the_tcn_s_layer_is_pyhealth_s_and_sees_the_whole_window() -> None:
    import torch
    from pyhealth.models.tcn import TCNLayer

    from eagbench_plugins.experts.tcn_network import TCNNetwork, blocks_to_see

    network = TCNNetwork(5, 2, periods=30, hidden_dim=8, kernel_size=3, dropout=0.4).eval()
    layer = TCNLayer(5, [8] * blocks_to_see(30, 3), kernel_size=3, dropout=0.4).eval()
    layer.load_state_dict(network.layer.state_dict())
    values, static = torch.randn(7, 30, 5, requires_grad=True), torch.randn(7, 2)
    log_odds, _ = network(values, static)
    _, last = layer(values)
    torch.testing.assert_close(
        log_odds, network.head.linear(torch.cat([last, static], dim=1)).squeeze(1), rtol=0, atol=0
    )
    (gradient,) = torch.autograd.grad(log_odds.sum(), values)
    assert gradient[:, 0].abs().max() > 0


@pytest.mark.parametrize(
    ("periods", "kernel_size", "blocks"), [(1, 3, 1), (5, 3, 1), (6, 3, 2), (13, 3, 2), (48, 3, 4)]
)
def test_as_many_blocks_as_the_window_needs(periods: int, kernel_size: int, blocks: int) -> None:
    from eagbench_plugins.experts.tcn_network import blocks_to_see

    assert blocks_to_see(periods, kernel_size) == blocks


@pytest.mark.parametrize("kind", [Transformer, ConCare], ids=lambda kind: kind.name)
def test_width_must_be_a_multiple_of_heads(kind: type) -> None:
    with pytest.raises(ValidationError, match="not a multiple of heads"):
        kind.Params(hidden_dim=10, heads=4)
