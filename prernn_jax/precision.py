"""The precision of activations and products: chosen by name, never inherited from a device.

JAX leaves the precision of float32 products to the device. An NVIDIA GPU from Ampere on then
multiplies in TF32, whose operands have 10 bits of fraction in place of 23, without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import jax
import jax.numpy as jnp

Precision = Literal["float32", "tf32", "bfloat16"]
"""`float32` is float32 on every device. `tf32` lets tensor cores round the operands of products of
float32 arrays to TF32; a device without TF32 computes as it does in float32, or better than TF32.
`bfloat16` casts activations and parameters, and sums products up in float32."""

_OF_JAX = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Products and convolutions traced within have this precision, their gradients too.

    A function can be decorated with it: JAX calls the function to trace it.

    Args:
        precision: Of all products that are not given one of their own.
    """
    with jax.default_matmul_precision(_OF_JAX[precision]):
        yield


def cast(tree: Any, precision: Precision) -> Any:
    """Float32 arrays in the type in which they are kept between products."""
    if precision != "bfloat16":
        return tree
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x, tree)
