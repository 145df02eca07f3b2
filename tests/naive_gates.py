"""Networks with LSTM and GRU layers step by step in float64 numpy, with their gates."""

import jax
import numpy as np
from flax import nnx

from prernn_jax.module_path import get_layer

NAMES = {"lstm": ("i", "f", "o"), "gru": ("r", "z")}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def projected(layer, x):
    """W x + b of every gate, each (B, T, F), for a `Recurrent` or a `RecurrentConv`."""
    numbers = {
        ".".join(map(str, path)): np.asarray(leaf[...], np.float64)
        for path, leaf in nnx.to_flat_state(nnx.state(layer))
    }
    if isinstance(x, tuple):
        inputs, shortcut = x
        state = inputs @ numbers["kernel"]  # (B, T, h, w, G·F)
        state = (state - numbers["norm.mean"]) / np.sqrt(numbers["norm.var"] + 1e-5)
        state = (state * numbers["norm.scale"] + numbers["norm.bias"]).mean(axis=(2, 3))
        blocks = np.split(state, state.shape[-1] // shortcut.shape[-1], axis=-1)
        blocks = [block + shortcut.mean(axis=(2, 3)) for block in blocks]
    else:
        state = x @ numbers["kernel"] + numbers["bias"]
        blocks = np.split(state, state.shape[-1] // layer.features, axis=-1)
    return blocks if len(blocks) == layer.gates else blocks * layer.gates


def naive(layer, x):
    """One step after the other: gates by name (B, T, F) and hidden states (B, T, F)."""
    u = np.asarray(layer.recurrent_kernel[...], np.float64)
    p = projected(layer, x)
    h = c = np.zeros_like(p[0][:, 0])
    gates, states = {name: [] for name in NAMES[layer.cell]}, []
    for t in range(p[0].shape[1]):
        if layer.cell == "lstm":
            i, f, o = (sigmoid(p[k][:, t] + h @ u[k].T) for k in (0, 1, 3))
            c = f * c + i * np.tanh(p[2][:, t] + h @ u[2].T)
            h = o * np.tanh(c)
            now = i, f, o
        else:
            r, z = (sigmoid(p[k][:, t] + h @ u[k].T) for k in (0, 1))
            h = (1 - z) * h + z * np.tanh(p[2][:, t] + (r * h) @ u[2].T)
            now = r, z
        states.append(h)
        for name, value in zip(gates, now, strict=True):
            gates[name].append(value)
    return {k: np.stack(v, axis=1) for k, v in gates.items()}, np.stack(states, axis=1)


def linear(layer, x):
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


def naive_model(model, clips):
    """The gates of all layers and the outputs (B, T, K)."""
    *hidden, last = model.backbone.head
    network = model.backbone
    x = (network.trunk if model.converted else network.features)(
        clips.reshape(-1, *clips.shape[2:])
    )
    x = jax.tree.map(lambda a: np.asarray(a, np.float64).reshape(*clips.shape[:2], *a.shape[1:]), x)
    found = {}
    for entry in hidden if model.converted else ():
        layer = get_layer(network, entry.name)
        if entry.name in model.converted:
            found[entry.name], x = naive(layer, x)
            x = x if layer.readout is None else np.maximum(x, 0)
        else:
            x = np.maximum(linear(layer, x), 0)
    for number, layer in enumerate(model.extra):
        found[f"extra.{number}"], x = naive(layer, x)
    return found, linear(get_layer(network, last.name), x)
