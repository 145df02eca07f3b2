"""One frame at a time with a carried state; the outputs are those of the whole sequence.

`init` and `step` are pure functions, for use inside other transformed code; `Stream` is the
object for an endless source: it keeps the state of several streams and compiles the step once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from prernn_jax.cpu.xla import jit
from prernn_jax.errors import InputError
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.layers.scan import groups_of
from prernn_jax.precision import Precision, cast, products_in
from prernn_jax.sequence import Carries


def init(model: Any, streams: int = 1) -> Carries:
    """The state before the first frame: for each recurrent layer a tuple of zeros (B, F).

    Args:
        model: A sequence model (`SequenceModel`, `FoldedModel` or `LayerSequence`).
        streams: Number of streams B.

    Raises:
        InputError: Fewer than one stream.
    """
    if streams < 1:
        raise InputError(f"{streams} streams; give 1 or more")
    carry = []
    for layer in model.recurrent_layers:
        wide = layer.recurrent_kernel.dtype == jnp.float64
        shape, dtype = (streams, layer.features), jnp.float64 if wide else jnp.float32
        # Each part is an array of its own: the same one twice could not be donated.
        parts = range(get_cell(layer.cell).carry_parts)
        carry.append(tuple(jnp.zeros(shape, dtype) for _ in parts))
    return tuple(carry)


def step(
    model: Any,
    carry: Carries,
    frames: jax.Array,
    reset: jax.Array | None = None,
    present: jax.Array | None = None,
) -> tuple[jax.Array, Carries]:
    """One frame of every stream.

    Args:
        model: A sequence model; its batch-norms use their stored statistics (`model.eval()`).
        carry: From `init` or the step before.
        frames: (B, H, W, C), or (B, L, H, W, C) where a time step is a clip.
        reset: (B,) bool; the streams that start again with this frame; None for no stream.
        present: (B,) bool; the streams that have a frame now; all when None. The others' states
            stay as they are, and their outputs mean nothing.

    Returns:
        Outputs (B, K) and the next carry.
    """
    if reset is not None:
        begin = jnp.asarray(reset)[:, None]
        carry = jax.tree.map(lambda part: jnp.where(begin, jnp.zeros_like(part), part), carry)
    frames = jnp.asarray(frames)
    if present is not None:
        there = jnp.asarray(present)
        # Whatever an absent frame holds, not even its gradient may reach the weights.
        frames = jnp.where(there.reshape(-1, *[1] * (frames.ndim - 1)), frames, 0)
    outputs, after = model(frames[:, None], carry)  # (B, 1, K)
    if present is not None:
        after = jax.tree.map(lambda new, old: jnp.where(there[:, None], new, old), after, carry)
    return outputs[:, 0], after  # (B, K)


class Stream:
    """Runs a sequence model frame by frame.

        stream = Stream(model)
        for frame in camera:
            outputs = stream(frame[None])[0]

    The weights are those that the model had when the stream was made; a GRU's U is kept a second
    time, cut into the pieces that a step reads. The first frame (or `warm_up`) compiles the step,
    and each step hands the memory of its state to the next one (donation).

    A frame that is not finite spoils the state of its stream until that is reset; `finite` tells.

    Args:
        model: A sequence model whose batch-norms use their stored statistics (`model.eval()`).
        streams: Number of streams B that run side by side.
        prepare: Applied to the frames inside the compiled step: `model.preprocess` for uint8 RGB
            frames. None hands them to the model as they are.
        precision: Of the products, see `prernn_jax.precision`. The state is not in bfloat16.

    Raises:
        InputError: Fewer than one stream, or a batch-norm that would use the statistics of a frame.
    """

    def __init__(
        self,
        model: Any,
        streams: int = 1,
        prepare: Callable[[jax.Array], jax.Array] | None = None,
        precision: Precision = "float32",
    ) -> None:
        for path, module in nnx.iter_modules(model):
            if getattr(module, "use_running_average", True) is False:
                raise InputError(
                    f"batch-norm {'.'.join(map(str, path))!r} uses the statistics of its batch; "
                    "call model.eval() before streaming"
                )
        self.streams = streams
        self._prepare = prepare
        self._carry = init(model, streams)
        self._shape: tuple[int, ...] | None = None
        graphdef, params, *others = nnx.split(model, nnx.Param, ...)
        # Plain arrays pass through jit's fast path; a State is walked in Python at every call.
        self._weights, treedef = jax.tree.flatten([cast(params, precision), *others])
        self._parts = [cast(_cut(layer), precision) for layer in model.recurrent_layers]

        @products_in(precision)
        def run(
            weights: list[jax.Array],
            parts: list[list[jax.Array]],
            carry: Carries,
            frames: jax.Array,
            reset: jax.Array,
            present: jax.Array,
        ) -> tuple[jax.Array, Carries]:
            merged = nnx.merge(graphdef, *jax.tree.unflatten(treedef, weights))
            for layer, cut in zip(merged.recurrent_layers, parts, strict=True):
                if cut:
                    layer.recurrent_kernel.set_value(jnp.concatenate(cut))
            frames = frames if prepare is None else prepare(frames)
            outputs, carry = step(merged, carry, cast(frames, precision), reset, present)
            return outputs if precision != "bfloat16" else outputs.astype(jnp.float32), carry

        self._run = jit(run, donate_argnums=2)
        self._none = jnp.zeros((streams,), bool)
        self._all = jnp.ones((streams,), bool)

    @property
    def carry(self) -> Carries:
        """A copy of the state, to be kept or set again; it survives further steps."""
        return jax.tree.map(jnp.copy, self._carry)

    @carry.setter
    def carry(self, carry: Carries) -> None:
        expected = jax.tree.map(jnp.shape, self._carry)
        given = jax.tree.map(jnp.shape, carry)
        if given != expected:
            raise InputError(f"the state has shapes {given}; this stream needs {expected}")
        self._carry = jax.tree.map(lambda new, old: jnp.array(new, old.dtype), carry, self._carry)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Whether the state of each stream is finite (B,); reading it waits for the last step.

        A frame with a NaN in it makes the state NaN, and with it all later outputs of that stream.
        It stays so until the stream is reset: `stream(frames, reset=~stream.finite)`.
        """
        good = np.ones(self.streams, bool)
        for part in jax.tree.leaves(self._carry):
            good &= np.isfinite(np.asarray(part)).all(axis=1)
        return good

    def reset(self) -> None:
        """Sets the memory of all streams to its initial state."""
        self._carry = jax.tree.map(jnp.zeros_like, self._carry)

    def warm_up(self, frames: Any) -> None:
        """Compiles the step for frames of this shape and type; the state stays as it is."""
        carry = self.carry
        jax.block_until_ready(self(frames))
        self._carry = carry

    def __call__(self, frames: Any, reset: Any = None, present: Any = None) -> jax.Array:
        """Takes one frame of every stream.

        Args:
            frames: (B, H, W, C) or (B, L, H, W, C), always of one shape.
            reset: As in `step`.
            present: As in `step`.

        Returns:
            Outputs (B, K). The call returns before they are computed, as always in JAX.

        Raises:
            InputError: Frames of another number, shape or type, or masks of another shape.
        """
        frames = frames if isinstance(frames, jax.Array) else np.asarray(frames)
        if self._prepare is None and not jnp.issubdtype(frames.dtype, jnp.floating):
            raise InputError(
                f"the frames are {frames.dtype}; a network takes prepared images in floating "
                "point: make the stream with prepare=model.preprocess"
            )
        self._shape = self._shape or (self.streams, *frames.shape[1:])
        if frames.shape != self._shape:
            raise InputError(
                f"the frames have shape {frames.shape}; expected {self._shape}: one frame for "
                "each stream, always of one size"
            )
        reset = self._mask(reset, self._none, "reset")
        present = self._mask(present, self._all, "present")
        outputs, self._carry = self._run(
            self._weights, self._parts, self._carry, frames, reset, present
        )
        return outputs

    def _mask(self, given: Any, default: jax.Array, name: str) -> jax.Array:
        if given is None:
            return default
        mask = jnp.asarray(given)
        if mask.shape != (self.streams,) or mask.dtype != jnp.bool_:
            raise InputError(
                f"`{name}` is {mask.dtype}{list(mask.shape)}; expected bool[{self.streams}]"
            )
        return mask


def _cut(layer: Recurrent) -> list[jax.Array]:
    """U in the pieces that the cell multiplies with; no pieces where it takes all of U at once.

    XLA would copy a GRU's pieces out of U at every step. Pieces that the step joins itself, XLA
    reads where they lie: with F = 2048 one step takes 5 ms instead of 48 (two CPU cores).
    """
    groups = groups_of(get_cell(layer.cell))
    kernel = layer.recurrent_kernel[...]
    return [kernel[start:stop] for start, stop in groups] if len(groups) > 1 else []
