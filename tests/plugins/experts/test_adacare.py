from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import make_cases, make_training_data
from eagbench.api import FloatArray, StageRun
from eagbench_plugins.experts.adacare import AdaCare
from eagbench_plugins.experts.adacare_params import AdaCareParams

DRIVERS = {"lactate": 2.0, "urea": -1.5}


def make_network(**changes: Any) -> Any:
    from eagbench_plugins.experts.adacare_network import AdaCareNetwork

    params = AdaCareParams(**({"hidden_dim": 8, "kernel_size": 2, "kernel_num": 6, "dropout": 0.4} | changes))
    return AdaCareNetwork(5, 2, params).eval()


def pyhealth_layer(network: Any) -> Any:
    """PyHealth's layer as it comes, with the network's weights."""
    from pyhealth.models.adacare import AdaCareLayer

    layer = AdaCareLayer(5, hidden_dim=8, kernel_size=2, kernel_num=6, r_v=4, r_c=4).eval()
    layer.load_state_dict(network.layer.state_dict())
    return layer


def test_convolutions_and_recalibrations_are_pyhealth_s() -> None:
    import torch

    network = make_network()
    values = torch.randn(7, 9, 5)
    with torch.inference_mode():
        _, _, *expected = pyhealth_layer(network)(values)
        _, _, *own = network.layer(values)
    for mine, theirs in zip(own, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_the_state_is_what_pyhealth_s_gru_gives_for_each_patient_alone() -> None:
    """PyHealth's GRU reads (time, case, channel): given one case in that form, it runs over the case's time."""
    import torch

    network = make_network()
    reference = pyhealth_layer(network)
    values, static = torch.randn(7, 9, 5), torch.randn(7, 2)
    read_by_gru: list[Any] = []
    hook = reference.rnn.register_forward_hook(lambda _m, inputs, _o: read_by_gru.append(inputs[0]))
    with torch.inference_mode():
        reference(values)
        hook.remove()
        states = [reference.rnn(case[:, None])[0][-1, 0] for case in read_by_gru[0]]  # case: (P, C)
        expected = network.head.linear(torch.cat([torch.stack(states), static], dim=1)).squeeze(1)
        log_odds, _ = network(values, static)
    torch.testing.assert_close(log_odds, expected)


def test_no_patient_changes_what_is_said_of_another() -> None:
    """Departure 1: with PyHealth's layer as it comes, the first patient of a batch changes all that follow."""
    import torch

    network = make_network()
    values, static = torch.randn(4, 9, 5), torch.randn(4, 2)
    other = torch.cat([torch.randn(1, 9, 5), values[1:]])
    with torch.inference_mode():
        torch.testing.assert_close(network(values, static)[0][1:], network(other, static)[0][1:])
        as_it_comes = pyhealth_layer(network)
        assert not torch.allclose(as_it_comes(values)[0][1:], as_it_comes(other)[0][1:], atol=1e-4)


def mean_salience(tmp_path: Path, weights: str, random_labels: bool) -> FloatArray:
    cases = make_cases(650, DRIVERS, seed=1, random_labels=random_labels)
    sizes: dict[str, Any] = {"periods": 6, "hidden_dim": 16, "kernel_num": 16}
    expert = AdaCare(
        AdaCare.Params(**sizes, epochs=12, learning_rate=0.01, dropout=0.1, weights=weights)  # type: ignore[arg-type]
    )
    expert.fit(make_training_data(cases, 150), StageRun(params={}, inputs={}, seed=0, out=tmp_path))
    salience = expert.salience(make_cases(200, DRIVERS, seed=2).cases)
    np.testing.assert_allclose(salience.sum(axis=1), 1.0)
    return np.asarray(salience.mean(axis=0))


def test_recalibration_weights_are_no_account_of_what_matters(tmp_path: Path) -> None:
    """Departure 3, and why it is one: the layer's own weights rank the features alike for real and random labels."""
    (tmp_path / "real").mkdir()
    (tmp_path / "random").mkdir()
    real = mean_salience(tmp_path / "real", "recalibration", random_labels=False)
    random = mean_salience(tmp_path / "random", "recalibration", random_labels=True)
    assert np.corrcoef(real, random)[0, 1] > 0.7
    assert set(np.argsort(-real)[:2]) != {0, 1}


def test_other_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        AdaCare.Params.model_validate({"weights": "attention"})
