"""The call of `prernn_jax.surgery` that a configuration asks for."""

from typing import Any

from prernn_jax.budget import matched_hidden_for
from train.backbone import Backbone
from train.run_config import RunConfig


def surgery_call(config: RunConfig, backbone: Backbone, outputs: int) -> dict[str, Any]:
    """The function that makes the sequence model, and its arguments, as `save_model` takes them.

    Args:
      config: Says what is to become of the backbone.
      backbone: The pre-trained network.
      outputs: Size K of the new output layer.
    """
    if config.model == "feedforward":
        return {"function": "per_frame", "outputs": outputs}
    layers = config.layers or None
    if config.model == "traditional":
        hidden = config.hidden or matched_hidden_for(
            backbone.model, layers, config.cell, config.stacked, outputs
        )
        return {
            "function": "stack_recurrent",
            "cell": config.cell,
            "hidden": hidden,
            "layers": config.stacked,
            "outputs": outputs,
        }
    return {
        "function": "make_recurrent",
        "layers": layers,
        "cell": config.cell,
        "shared": config.model == "pre_sih",
        "init": config.init,
        "extra": config.extra,
        "outputs": outputs,
        "readout": None if config.readout == "none" else config.readout,
    }
