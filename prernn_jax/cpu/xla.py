"""Compiling with the options of XLA that are fast on a CPU."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# XLA's own list without LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION: convolutions then go to
# Eigen; products and sums stay with YNNPACK.
_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


def jit(function: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """Compiles as `jax.jit` does; on a CPU, convolutions run in Eigen and not in YNNPACK.

    YNNPACK, XLA's choice, takes up to twice as long for a convolution (docs/performance.md).
    The option is experimental: where jaxlib does not know it, all is as with `jax.jit`.

    Args:
        function: A function to be traced.
        **arguments: The other arguments of `jax.jit`.

    Returns:
        The compiled function.
    """
    options = _OPTIONS if jax.default_backend() == "cpu" and _is_known() else None
    return jax.jit(function, compiler_options=options, **arguments)


@functools.cache
def _is_known() -> bool:
    try:
        jax.jit(lambda x: x, compiler_options=_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
