"""The recurrent layers of prernn_jax in torch.nn, for files that `export` writes.

Parameters of a layer with D inputs, F features and G gates (VRNN 1; LSTM 4: i, f, g, o; GRU 3: r,
z, n; PyTorch's order): `weight_ih` (G·F, D), or (F, D) where all gates share it, `bias` of the
same first size, `weight_hh` (G·F, F). The GRUs reset h before the product, as `nn.GRU` does not.
"""

import torch
from torch import nn
from torch.nn import functional

GATES = {"vrnn": 1, "lstm": 4, "gru": 3, "gru_cho": 3}
State = tuple[torch.Tensor, ...]


class TorchRecurrent(nn.Module):
    """One recurrent layer.

    Args:
        inputs: D.
        features: F.
        cell: `vrnn`, `lstm`, `gru` or `gru_cho`.
        shared: One input-to-hidden map for all gates.
        relu: Apply ReLU to what the layer hands on; the state itself recurs as it is.
    """

    def __init__(self, inputs: int, features: int, cell: str, shared: bool, relu: bool) -> None:
        super().__init__()
        self.cell, self.relu, self.features = cell, relu, features
        self.gates = GATES[cell]
        blocks = 1 if shared else self.gates
        self.repeats = self.gates // blocks
        self.weight_ih = nn.Parameter(torch.empty(blocks * features, inputs))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * features, features))
        self._make_offset(blocks * features)

    def _make_offset(self, size: int) -> None:
        self.bias = nn.Parameter(torch.empty(size))

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The input-to-hidden map: (B, T, D) -> (B, T, G·F), or (B, T, F) when shared."""
        return functional.linear(x, self.weight_ih, self.bias)

    def forward(self, x: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """X (B, T, D) -> y (B, T, F) and the last state, (h,) or (h, c), each (B, F)."""
        projected = self.project(x).repeat(1, 1, self.repeats)  # (B, T, G·F)
        if state is None:
            zeros = projected.new_zeros(projected.shape[0], self.features)
            state = (zeros, zeros) if self.cell == "lstm" else (zeros,)
        outputs = []
        for step in range(projected.shape[1]):
            state = self._step(projected[:, step], state)
            outputs.append(state[0])
        y = torch.stack(outputs, 1)  # (B, T, F)
        return functional.relu(y) if self.relu else y, state

    def _step(self, projected: torch.Tensor, state: State) -> State:
        parts = projected.chunk(self.gates, 1)
        weights = self.weight_hh.chunk(self.gates, 0)
        h = state[0]
        if self.cell == "vrnn":
            return (functional.relu(parts[0] + h @ weights[0].T),)
        if self.cell == "lstm":
            i, f, g, o = (p + h @ w.T for p, w in zip(parts, weights, strict=True))
            c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c
        r = torch.sigmoid(parts[0] + h @ weights[0].T)
        z = torch.sigmoid(parts[1] + h @ weights[1].T)
        n = torch.tanh(parts[2] + (r * h) @ weights[2].T)
        return ((1 - z) * h + z * n,) if self.cell == "gru" else ((1 - z) * n + z * h,)


class TorchRecurrentConv(TorchRecurrent):
    """A recurrent layer from a ResNet's last 1x1 convolution; `norm` stands for the bias."""

    def _make_offset(self, size: int) -> None:
        self.norm = nn.BatchNorm2d(size)

    def project(self, x: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        """The convolution's input (B, T, D, h, w) and the shortcut (B, T, F, h, w) -> (B, T, G·F).

        Every gate: batch-norm of its convolution, plus the shortcut, averaged over the image.
        """
        inputs, shortcut = x
        batch, steps = inputs.shape[:2]
        y = functional.conv2d(inputs.flatten(0, 1), self.weight_ih[:, :, None, None])
        y = self.norm(y).mean((2, 3)).unflatten(0, (batch, steps))  # (B, T, G·F)
        pooled = shortcut.mean((3, 4))  # (B, T, F)
        return y + pooled.repeat(1, 1, y.shape[2] // pooled.shape[2])
