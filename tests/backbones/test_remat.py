"""What is computed again in the backward pass changes no gradient and no statistic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import CLIP, IMAGE, c3d, drawn, random_clips, vgg
from flax import nnx

from prernn_jax.backbones.remat import set_remat
from prernn_jax.backbones.resnet import ResNet
from prernn_jax.surgery import make_recurrent

pytestmark = pytest.mark.slow

BACKBONES = {
    # Two blocks in a stage: `full` keeps less than `blocks`.
    "resnet": (lambda: ResNet((2, 1), width=2, num_outputs=4, rngs=nnx.Rngs(0)), IMAGE),
    "vgg": (vgg, IMAGE),
    "c3d": (c3d, CLIP),
}


def loss_of(name, remat):
    """A loss, which also returns the batch statistics, and the model's state for it."""
    make, size = BACKBONES[name]
    model = drawn(lambda: make_recurrent(make(), cell="gru", shared=True, rngs=nnx.Rngs(1)))
    model.train()
    set_remat(model, remat)
    graph, params, others = nnx.split(model, nnx.Param, ...)
    clips, lengths = random_clips(2, 3, size), jnp.array([3, 2], jnp.int32)

    def loss(params, others):
        others = jax.tree.map(lambda x: x, others)  # variables of this trace
        here = nnx.merge(graph, params, others)
        outputs, _ = here(clips, lengths=lengths)
        return jnp.sum(jnp.sin(outputs)), nnx.state(here, nnx.BatchStat)

    return loss, (params, others)


def kept_bytes(name, remat):
    """What the forward pass leaves to the backward pass; nothing is compiled."""
    loss, state = loss_of(name, remat)

    def forward(params, others):
        return jax.vjp(lambda params: loss(params, others), params, has_aux=True)[1]

    kept = jax.eval_shape(forward, *state)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


@pytest.mark.parametrize(
    ("name", "remat"), [("resnet", "blocks"), ("resnet", "full"), ("vgg", "blocks")]
)
def test_the_gradient_is_that_of_the_plain_network(name, remat):
    found, plain = (
        jax.jit(jax.value_and_grad(loss, has_aux=True))(*state)
        for loss, state in (loss_of(name, remat), loss_of(name, "none"))
    )
    for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", BACKBONES)
def test_less_is_kept(name):
    none, blocks, full = (kept_bytes(name, remat) for remat in ("none", "blocks", "full"))
    assert blocks < 0.8 * none
    assert full < blocks
