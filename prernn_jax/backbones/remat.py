"""What a backbone keeps of its forward pass: everything, or only what comes into its blocks.

The rest is computed again in the backward pass (Chen et al. 2016, "Training deep nets with
sublinear memory cost").
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from flax import nnx

from prernn_jax.layers.recurrent import Recurrent

Remat = Literal["none", "blocks", "full"]
"""`blocks`: a backbone keeps what comes into each of its blocks. `full`: of a stage of blocks too
it keeps the input alone, and recurrent layers compute their products with U again."""

Layers = Callable[[Any, jax.Array], jax.Array]  # modules and what comes into them


def run_block(remat: Remat, run: Layers, modules: Any, x: jax.Array) -> Any:
    """Runs a block, `run(modules, x)`; unless `remat` is `none`, only x is kept of it.

    Args:
        remat: Of the backbone.
        run: Applies the modules; batch statistics that it moves are moved once.
        modules: All modules that it applies, one or a list.
        x: What comes in.
    """
    return run(modules, x) if remat == "none" else nnx.remat(run)(modules, x)


def run_stage(remat: Remat, run: Layers, modules: Any, x: jax.Array) -> Any:
    """Runs several blocks; with `full`, only x is kept of them. Arguments as for `run_block`."""
    return nnx.remat(run)(modules, x) if remat == "full" else run(modules, x)


def set_remat(model: nnx.Module, remat: Remat) -> None:
    """Says what the backbones and recurrent layers in a model keep, in place."""
    for _, module in nnx.iter_graph(model):
        if isinstance(module, Recurrent):
            module.remat = remat == "full"
        elif isinstance(getattr(module, "remat", None), str):
            module.remat = remat
