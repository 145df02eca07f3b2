"""The original network and ours side by side, layer by layer, on the same images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import flat_parameters
from prernn_jax.module_path import get_layer, set_layer
from weights_port import reference
from weights_port.formats.source import Source
from weights_port.input_range import photograph
from weights_port.mapping import Move
from weights_port.outgoing import context_of
from weights_port.report import Row
from weights_port.transforms import TRANSFORMS, Context


class Tap(nnx.Module):
    """Stands in a layer's place and hands its outputs to `record`."""

    def __init__(self, layer: Any, record: Callable[[jax.Array], None]) -> None:
        self.layer = layer
        self.record = record

    def __call__(self, x: jax.Array) -> jax.Array:
        """X -> what the layer makes of it."""
        y = self.layer(x)
        self.record(y)
        return y


def parity(
    model: Any,
    metadata: Mapping[str, str],
    source: Source,
    moves: list[Move],
    inputs: jax.Array,
) -> list[Row]:
    """Runs both networks on the same preprocessed inputs.

    Args:
        model: Of `load_pretrained`; its layers are replaced by taps.
        metadata: Of the converted file.
        source: The original file.
        moves: Which of its arrays is which of our parameters.
        inputs: (N, ..., C), channels last, float32.

    Returns:
        A row for each layer with weights, in the original's order.
    """
    network = reference.build_reference(metadata)
    keys = reference.reference_moves(network)
    given = {move.target for move in moves}
    fresh = {
        name: np.asarray(value)
        for name, value in flat_parameters(model).items()
        if name not in given
    }
    channels = reference.last_channels(network)
    network.load_state_dict(_state(network, source, moves, keys, fresh, channels))
    names = {  # module of the reference -> our layer
        move.source.removesuffix(".weight"): target.rpartition(".")[0]
        for target, move in keys.items()
        if move.source.endswith(".weight")
    }
    theirs: dict[str, np.ndarray] = {}
    for module, layer in names.items():
        network.get_submodule(module).register_forward_hook(_hook(theirs, layer))
    traced: dict[str, jax.Array] = {}
    for layer in names.values():
        set_layer(model, layer, Tap(get_layer(model, layer), _recorder(traced, layer)))
    graph, state = nnx.split(model)

    def forward(state: Any, inputs: jax.Array) -> dict[str, jax.Array]:
        nnx.merge(graph, state)(inputs)
        return dict(traced)

    with jax.default_matmul_precision("highest"):
        ours = {layer: np.asarray(y) for layer, y in jax.jit(forward)(state, inputs).items()}
    with torch.no_grad():
        network(torch.from_numpy(np.array(jnp.moveaxis(inputs, -1, 1))))
    return [_compare(layer, ours[layer], theirs[layer]) for layer in theirs]


def example_inputs(
    model: Any, metadata: Mapping[str, str], image: Path | None
) -> dict[str, jax.Array]:
    """One random and one real input for the network, preprocessed as its weights expect.

    Args:
        model: Of `load_pretrained`.
        metadata: Of the file.
        image: A picture; None takes the photograph that comes with matplotlib.

    Raises:
        InputError: The picture cannot be read.
    """
    arguments = reference.build_arguments(metadata)
    size = arguments.get("image_size", 224)
    channels = arguments.get("in_channels", 3)
    length = arguments.get("clip_length", 16) if metadata["architecture"] == "c3d" else None
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng(0)
    leading = (1,) if length is None else (1, length)
    noise = rng.integers(0, 256, (*leading, height, width, channels), np.uint8)
    inputs = {"random": model.preprocess.normalise(noise)}
    if channels == 3:
        photo = _photo(image)[None]  # (1, H, W, 3)
        if length is not None:  # a clip: the photograph moving to the left
            photo = np.stack([np.roll(photo, -4 * step, 2) for step in range(length)], 1)
        inputs["photograph"] = model.preprocess(photo)
    return inputs


def _photo(path: Path | None) -> np.ndarray:
    if path is None:
        return photograph()
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"cannot read the image {path}; give a JPEG or PNG file")
    return picture[..., ::-1]


def _state(
    network: Any,
    source: Source,
    moves: list[Move],
    keys: Mapping[str, Move],
    fresh: Mapping[str, np.ndarray],
    channels: int,
) -> dict[str, torch.Tensor]:
    """The original's arrays under the reference's keys, not transposed, only squeezed."""
    state = network.state_dict()
    for tensor in state.values():
        tensor.zero_()
    for name in fresh:  # what the file lacks
        state[keys[name].source].copy_(torch.from_numpy(fresh[name].copy()))
    for move in moves:
        array = source.arrays[move.source].astype(np.float32)
        partners = list(context_of(source, move, 1).partners)
        if move.transform == "divide":
            factor = float(partners.pop(0).reshape(-1)[0])
            array = array / np.float32(factor) if factor else array * np.float32(0)
        for bias in partners:  # of the convolution before a batch-norm
            array = array.reshape(-1) - bias.reshape(-1)
        key, back = keys[move.target].source, TRANSFORMS[keys[move.target].transform].undo
        if move.transform == "kept":  # TensorFlow's axes
            array = np.asarray(back(array, Context(channels)))
        elif move.transform == "dense" and keys[move.target].transform == "flatten":
            array = np.asarray(back(array.T, Context(channels)))  # TensorFlow's order of inputs
        state[key].copy_(torch.from_numpy(array).reshape(state[key].shape))
    return state


def _hook(record: dict[str, np.ndarray], layer: str) -> Callable[..., None]:
    def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
        record[layer] = np.moveaxis(output.numpy(), 1, -1)  # (N, ..., C)

    return hook


def _recorder(record: dict[str, jax.Array], layer: str) -> Callable[[jax.Array], None]:
    def keep(y: jax.Array) -> None:
        record[layer] = y

    return keep


def _compare(layer: str, ours: np.ndarray, theirs: np.ndarray) -> Row:
    difference = ours.astype(np.float64) - theirs
    norm = float(np.linalg.norm(theirs.astype(np.float64)))
    relative = float(np.linalg.norm(difference)) / norm if norm else float(np.abs(difference).max())
    return Row(layer, float(np.abs(difference).max()), relative)
