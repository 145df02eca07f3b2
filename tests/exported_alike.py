"""The check that a run's model, exported, gives the same outputs in torch.nn."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.files import models
from prernn_jax.files.backbones import read_parameters
from weights_port.export import MODEL_FILE, export


def assert_exported_alike(folder, out, steps=3):
    """Exports the run in a folder to the file `out` and compares outputs and carries to 1e-5.

    Args:
        folder: The folder of a run, with its model.safetensors.
        out: The file to write.
        steps: Length of the random clips.
    """
    import torch

    from weights_port.torch_sequence import load

    export(folder, out, overwrite=True)
    reference = load(out)
    model = models.load(folder / MODEL_FILE)
    _, metadata = read_parameters(folder / MODEL_FILE)
    clips = _clips(metadata, (steps,))[0]
    ours, carry = _outputs(model, clips)
    with torch.no_grad():
        theirs, states = reference(torch.from_numpy(np.moveaxis(clips, -1, 2).copy()))
    pairs = [(ours, theirs)]
    assert len(carry) == len(states)
    for parts, others in zip(carry, states, strict=True):
        pairs += list(zip(parts, others, strict=True))
    for a, b in pairs:
        scale = float(np.abs(a).max())
        assert scale > 1e-3
        np.testing.assert_allclose(b.numpy(), a, atol=1e-5 * scale, rtol=0)


def assert_backbone_alike(model, path, out):
    """Exports a backbone's file and compares the outputs of one random input.

    Args:
        model: What `models.load` gave.
        path: Its file.
        out: The file to write.
    """
    import torch

    from weights_port.reference import build_reference

    export(path, out)
    _, metadata = read_parameters(path)
    reference = build_reference(metadata)
    missing = reference.load_state_dict(torch.load(out, weights_only=True), strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    clips = _clips(metadata, ())[0]
    ours = _outputs(model, clips)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(np.moveaxis(clips, -1, 1).copy())).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-5 * float(np.abs(ours).max()), rtol=0)


def _outputs(model, clips):
    """What the model gives; its weights are no constants of the program, which compiles sooner."""
    graph, state = nnx.split(model)
    with jax.default_matmul_precision("highest"):
        run = jax.jit(lambda state, clips: nnx.merge(graph, state)(clips))
        return run(state, jnp.asarray(clips))


def _clips(metadata, steps):
    """Random inputs (2, 2, *steps, ..., C) for the network."""
    arguments = json.loads(metadata["arguments"])
    side = arguments.get("image_size", 48)
    size = (side, side) if isinstance(side, int) else tuple(side)
    length = (arguments.get("clip_length", 16),) if metadata["architecture"] == "c3d" else ()
    shape = (2, 2, *steps, *length, *size, arguments.get("in_channels", 3))
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)
