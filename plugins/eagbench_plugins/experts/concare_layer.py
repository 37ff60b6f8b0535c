"""PyHealth 2.1's ConCareLayer with all channels computed at once. Importing it loads torch and PyHealth (about 5 s).

PyHealth's layer gives every feature its own GRU and attention over time, and processes the features one after another.
Some forty small GRUs per step take most of the training time. Here the same parameters are stacked and all features are
processed together. Module names, parameters, dropout draws and the computation are PyHealth's. Only the order of
summation differs, so results agree up to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import override

import torch
from pyhealth.models.concare import ConCareLayer
from torch import Tensor, nn


class ChannelwiseConCareLayer(ConCareLayer):  # type: ignore[misc]
    """PyHealth's layer with the same weights and results; it takes no mask."""

    @override
    def concare_encoder(
        self, input: Tensor, static: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the record's embedding (B, H) and the DeCov loss, shape ().

        Args:
            input: Values, (B, T, F).
            static: Static facts, (B, S), if the layer has any.
            mask: Must be None, because every window has all its steps.
        """
        if mask is not None:
            raise ValueError("steps can't be masked")
        states = channel_states(self.GRUs, input)
        attended = attended_over_time(self.LastStepAttentions, states)
        embedded = attended.transpose(0, 1).contiguous()  # (B, F, H); dropout draws in the order of the memory
        if self.static_dim > 0:
            embedded = torch.cat([embedded, self.tanh(self.demo_proj_main(static)).unsqueeze(1)], dim=1)
        embedded = self.dropout_layer(embedded)
        contexts, decov = self.SublayerConnection(
            embedded, lambda _: self.MultiHeadedAttention(embedded, embedded, embedded, None)
        )
        contexts, _ = self.SublayerConnection(contexts, lambda _: self.PositionwiseFeedForward(contexts))
        pooled, _ = self.FinalAttentionQKV(contexts)
        return pooled, decov


def channel_states(grus: Sequence[nn.GRU], values: Tensor) -> Tensor:
    """Compute the states of one GRU per channel, each starting from a state of zeros.

    Args:
        grus: F GRUs of one layer, each from one value to H.
        values: (B, T, F).

    Returns:
        (F, B, T, H).
    """
    weight_in = _stacked(grus, lambda gru: gru.weight_ih_l0).transpose(1, 2)  # (F, 1, 3H)
    weight_state = _stacked(grus, lambda gru: gru.weight_hh_l0).transpose(1, 2)  # (F, H, 3H)
    bias_in = _stacked(grus, lambda gru: gru.bias_ih_l0).unsqueeze(1)  # (F, 1, 3H)
    bias_state = _stacked(grus, lambda gru: gru.bias_hh_l0).unsqueeze(1)  # (F, 1, 3H)
    state = values.new_zeros(len(grus), len(values), grus[0].hidden_size)  # (F, B, H)
    states = []
    for step in values.permute(1, 2, 0).unsqueeze(3):  # (F, B, 1)
        reset_in, update_in, new_in = (step * weight_in + bias_in).chunk(3, dim=2)
        reset_state, update_state, new_state = torch.baddbmm(bias_state, state, weight_state).chunk(3, dim=2)
        reset = torch.sigmoid(reset_in + reset_state)
        update = torch.sigmoid(update_in + update_state)
        new = torch.tanh(new_in + reset * new_state)
        state = new + update * (state - new)
        states.append(state)
    return torch.stack(states, dim=2)


def attended_over_time(attentions: Sequence[nn.Module], states: Tensor) -> Tensor:
    """Apply PyHealth's time-aware SingleAttention of type `new`, one per channel, to its channel's states.

    Args:
        attentions: F attention modules.
        states: (F, B, T, H).

    Returns:
        (F, B, H).
    """
    weight_query = _stacked(attentions, lambda attention: attention.Wt)  # (F, H, A)
    weight_key = _stacked(attentions, lambda attention: attention.Wx)  # (F, H, A)
    rate = torch.sigmoid(_stacked(attentions, lambda attention: attention.rate)).unsqueeze(2)  # (F, 1, 1)
    steps_back = torch.arange(states.size(2), 0, -1, dtype=states.dtype, device=states.device)  # (T,), the last is 1
    # The query goes through the keys' weights, once per case, and not every state.
    query = states[:, :, -1] @ weight_query @ weight_key.transpose(1, 2)  # (F, B, H)
    match = torch.sigmoid((states * query.unsqueeze(2)).sum(dim=3))  # (F, B, T)
    decay = rate * torch.log(2.72 + (1 - match)) * steps_back
    weights = torch.softmax(torch.relu(match / decay), dim=2)
    return (weights.unsqueeze(3) * states).sum(dim=2)


def _stacked[Channel: nn.Module](channels: Sequence[Channel], parameter: Callable[[Channel], Tensor]) -> Tensor:
    return torch.stack([parameter(channel) for channel in channels])
