from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def test_one_step_by_hand() -> None:
    """One feature, one unit, two steps: measured in the first, missing in the second."""
    from eagbench_plugins.experts.gru_d_network import GRUDNetwork

    network = GRUDNetwork(n_features=1, n_static=0, hidden_dim=1, dropout=0.0).eval()
    with torch.no_grad():
        network.input_decay_rate.fill_(2.0)
        network.input_decay_offset.fill_(0.1)
        network.state_decay.weight.fill_(1.5)
        network.state_decay.bias.fill_(0.2)
        # Rows: update gate, reset gate, candidate; columns: value, mask.
        network.from_inputs.weight.copy_(torch.tensor([[0.3, -0.2], [0.4, 0.1], [0.7, 0.6]]))
        network.from_inputs.bias.copy_(torch.tensor([0.05, -0.05, 0.15]))
        network.gates_from_state.weight.copy_(torch.tensor([[0.5], [-0.6]]))
        network.candidate_from_state.weight.fill_(0.9)
    values, observed, elapsed = (torch.tensor(x).reshape(1, 2, 1) for x in ([1.2, 1.2], [1.0, 0.0], [0.0, 0.5]))

    # Step 1: the value is measured, the state is 0 whatever its decay.
    update = sigmoid(0.3 * 1.2 - 0.2 + 0.05)
    state = update * math.tanh(0.7 * 1.2 + 0.6 + 0.15)
    # Step 2: half a window later the value has decayed by exp(-(2 * 0.5 + 0.1)), the state by exp(-(1.5 * 0.5 + 0.2)).
    value = math.exp(-1.1) * 1.2
    state *= math.exp(-0.95)
    update = sigmoid(0.3 * value + 0.5 * state + 0.05)
    reset = sigmoid(0.4 * value - 0.6 * state - 0.05)
    candidate = math.tanh(0.7 * value + 0.9 * reset * state + 0.15)
    state = (1 - update) * state + update * candidate

    assert network.last_state(values, observed, elapsed).item() == pytest.approx(state, rel=1e-6)


def test_agrees_with_the_paper_s_equations_on_raw_records() -> None:
    """Che et al. 2018, equations 3 to 9, from raw values with gaps and not from values carried forward."""
    from eagbench_plugins.experts.gru_d_network import GRUDNetwork

    rng = np.random.default_rng(0)
    n_features, width, periods = 3, 4, 6
    network = GRUDNetwork(n_features, n_static=0, hidden_dim=width, dropout=0.0).eval().double()
    own = {name: value.numpy() for name, value in network.state_dict().items()}
    raw = rng.normal(size=(periods, n_features))
    mask = (rng.random((periods, n_features)) < 0.5).astype(float)

    carried, elapsed = np.zeros_like(raw), np.zeros_like(raw)
    state, last = np.zeros(width), np.zeros(n_features)
    weight, bias = own["from_inputs.weight"], own["from_inputs.bias"]
    gates = own["gates_from_state.weight"]
    for t in range(periods):
        if t:
            elapsed[t] = 1 / periods + np.where(mask[t - 1] > 0, 0.0, elapsed[t - 1])
        decay = np.exp(-np.maximum(0, own["input_decay_rate"] * elapsed[t] + own["input_decay_offset"]))
        value = mask[t] * raw[t] + (1 - mask[t]) * (decay * last + (1 - decay) * 0.0)  # the mean is 0
        last = np.where(mask[t] > 0, raw[t], last)
        carried[t] = last
        state = state * np.exp(-np.maximum(0, own["state_decay.weight"] @ elapsed[t] + own["state_decay.bias"]))
        driven = weight @ np.concatenate([value, mask[t]]) + bias
        update, reset = (
            1 / (1 + np.exp(-(driven[part] + gates[part] @ state)))
            for part in (slice(0, width), slice(width, 2 * width))
        )
        candidate = np.tanh(driven[2 * width :] + own["candidate_from_state.weight"] @ (reset * state))
        state = (1 - update) * state + update * candidate

    with torch.inference_mode():
        ours = network.last_state(*(torch.from_numpy(x)[None] for x in (carried, mask, elapsed)))[0].numpy()
    np.testing.assert_allclose(ours, state, rtol=1e-10)


def test_what_was_measured_and_when_matters_beyond_the_values() -> None:
    from eagbench_plugins.experts.gru_d_network import GRUDNetwork

    torch.manual_seed(0)
    network = GRUDNetwork(n_features=2, n_static=0, hidden_dim=4, dropout=0.0).eval()
    values, mask, elapsed = torch.ones(1, 3, 2), torch.ones(1, 3, 2), torch.full((1, 3, 2), 0.3)
    with torch.inference_mode():
        base = network.last_state(values, mask, elapsed)
        assert not torch.allclose(network.last_state(values, 1 - mask, elapsed), base)
        assert not torch.allclose(network.last_state(values, 1 - mask, 2 * elapsed), base)
        # A value that is measured now has not decayed, however long ago the one before was.
        network.state_decay.weight.zero_()
        network.state_decay.bias.zero_()
        torch.testing.assert_close(
            network.last_state(values, mask, elapsed), network.last_state(values, mask, 2 * elapsed)
        )


def test_every_decay_can_learn() -> None:
    from eagbench_plugins.experts.gru_d_network import GRUDNetwork

    torch.manual_seed(0)
    network = GRUDNetwork(n_features=5, n_static=1, hidden_dim=16, dropout=0.0)
    log_odds, _ = network(
        torch.randn(8, 6, 5),
        torch.randn(8, 1),
        torch.zeros(8, 6, 5),
        torch.linspace(0, 1, 6)[None, :, None].expand(8, 6, 5),
    )
    log_odds.sum().backward()
    assert (network.input_decay_rate.grad != 0).all()
