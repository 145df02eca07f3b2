"""Checkpoints of a run: the whole training state and the loader's position, by orbax."""

import base64
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from prernn_jax.errors import InputError

from .step import TrainState


class Checkpoints:
    """The checkpoints of a run, written whole or not at all.

    Args:
        folder: Where they lie; made when absent.
        keep: How many of the newest are kept.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=False, create=True
            ),
        )

    @property
    def latest(self) -> int | None:
        """The step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, loader_state: Any) -> None:
        """Writes a checkpoint of the state's step.

        Args:
            state: Must be finite; the caller has looked.
            loader_state: What the loader's `get_state` gave, bytes or JSON values.

        Raises:
            InputError: It could not be written; earlier ones are as they were.
        """
        step = int(state.step)
        if step == self.latest:
            return
        if isinstance(loader_state, bytes):
            loader_state = {"base64": base64.b64encode(loader_state).decode()}
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state._asdict()),
            loader=ocp.args.JsonSave(loader_state),
        )
        try:
            self._manager.save(step, args=items)
        except (OSError, ValueError) as error:  # tensorstore says ValueError when a disk is full
            reason = str(error).strip().splitlines()[0][:200]
            raise InputError(
                f"could not write the checkpoint of step {step} to {self.folder}: {reason}; "
                f"{self._survivor()}"
            ) from error

    def _survivor(self) -> str:
        self._manager.reload()
        if self.latest is None:
            return "there is no earlier one"
        return f"that of step {self.latest} is intact: make room and go on with --resume"

    def restore(self, state: TrainState) -> tuple[TrainState, Any]:
        """Reads the newest checkpoint.

        Args:
            state: A state of the same structure; its arrays say shapes, types and devices.

        Returns:
            The state and the loader's state as `save` got them.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, state._asdict())
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), loader=ocp.args.JsonRestore()
        )
        found = self._manager.restore(self.latest, args=items)
        loader_state = found.loader
        if set(loader_state) == {"base64"}:
            loader_state = base64.b64decode(loader_state["base64"])
        # Own buffers: what orbax hands over may alias memory that a donating step would reuse.
        return TrainState(**jax.tree.map(jnp.copy, found.state)), loader_state

    def close(self) -> None:
        """Ends the manager's threads."""
        self._manager.close()
