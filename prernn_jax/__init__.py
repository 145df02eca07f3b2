"""PreRNN in JAX and Flax: the last layers of a pre-trained CNN made recurrent."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prernn_jax.files.backbones import load_pretrained
    from prernn_jax.files.models import load_model

__all__ = ["load_model", "load_pretrained"]


def __getattr__(name: str) -> Any:
    """Import JAX only for those who need it: not for the workers that read data."""
    if name == "load_pretrained":
        from prernn_jax.files.backbones import load_pretrained

        return load_pretrained
    if name == "load_model":
        from prernn_jax.files.models import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
