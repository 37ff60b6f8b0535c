from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")


def test_the_network_is_an_embedding_pyhealth_s_layer_and_a_linear_head() -> None:
    from pyhealth.models.retain import RETAINLayer

    from eagbench_plugins.experts.retain_network import RETAINNetwork

    network = RETAINNetwork(n_features=5, n_static=2, hidden_dim=8, dropout=0.4).eval()
    layer = RETAINLayer(8, dropout=0.4).eval()
    layer.load_state_dict(network.layer.state_dict())
    values, static = torch.randn(7, 6, 5), torch.randn(7, 2)
    with torch.inference_mode():
        expected = network.head(torch.cat([layer(network.embedding(values)), static], dim=1)).squeeze(1)
        log_odds, penalty = network(values, static)
    torch.testing.assert_close(log_odds, expected, rtol=0, atol=0)
    assert penalty == 0


def test_it_answers_as_pyhealth_s_own_model_does() -> None:
    """The whole model of PyHealth, embedding and head included, on the same weights and records."""
    from pyhealth.datasets import create_sample_dataset, get_dataloader
    from pyhealth.models import RETAIN

    from eagbench_plugins.experts.retain_network import RETAINNetwork

    values = torch.randn(6, 4, 5)
    samples = [
        {"patient_id": f"p{n}", "visit_id": f"v{n}", "series": values[n].tolist(), "label": n % 2} for n in range(6)
    ]
    dataset = create_sample_dataset(
        samples=samples, input_schema={"series": "nested_sequence_floats"}, output_schema={"label": "binary"}
    )
    model = RETAIN(dataset=dataset, embedding_dim=8).eval()
    network = RETAINNetwork(n_features=5, n_static=0, hidden_dim=8, dropout=0.5).eval()
    (embedding,) = model.embedding_model.embedding_layers.values()
    with torch.no_grad():
        embedding.bias.zero_()  # the paper's embedding has none, nor has ours
        network.embedding.weight.copy_(embedding.weight)
        network.layer.load_state_dict(model.retain["series"].state_dict())
        network.head.weight.copy_(model.fc.weight)
        network.head.bias.copy_(model.fc.bias)
    batch = next(iter(get_dataloader(dataset, batch_size=6, shuffle=False)))
    read = torch.as_tensor(batch["series"]).float()
    with torch.inference_mode():
        expected = model(**batch)["logit"].squeeze(1)
        log_odds, _ = network(read, torch.zeros(6, 0))
    torch.testing.assert_close(log_odds, expected)


@pytest.mark.parametrize("n_static", [0, 2])
def test_contributions_are_equation_5_and_sum_to_the_log_odds(n_static: int) -> None:
    from eagbench_plugins.experts.retain_network import RETAINNetwork

    network = RETAINNetwork(n_features=3, n_static=n_static, hidden_dim=4, dropout=0.5).eval()
    values, static = torch.randn(2, 5, 3), torch.randn(2, n_static)
    contributions = network.attributions(values, static)
    layer = network.layer
    with torch.inference_mode():
        log_odds, _ = network(values, static)
        reversed_steps = network.embedding(values).flip(1)
        alpha = torch.softmax(layer.alpha_li(layer.alpha_gru(reversed_steps)[0]), dim=1)  # (B, P, 1)
        beta = torch.tanh(layer.beta_li(layer.beta_gru(reversed_steps)[0]))  # (B, P, H)
        for b, j, k in [(0, 0, 0), (1, 3, 2), (1, 4, 1)]:
            column = network.embedding.weight[:, k]  # (H,)
            expected = alpha[b, j, 0] * (network.head.weight[0, :4] @ (beta[b, j] * column)) * values[b, j, k]
            torch.testing.assert_close(contributions[b, j, k], expected)
        rest = network.head.bias + static @ network.head.weight[0, 4:]
    torch.testing.assert_close(contributions.sum(dim=(1, 2)) + rest, log_odds)
