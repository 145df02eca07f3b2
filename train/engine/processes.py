"""Several processes that train together, on one host or on many, by `jax.distributed`.

Where there is one process only, all of this costs nothing and changes nothing.
"""

import itertools
import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax._src import distributed  # its store of keys and values has no public door
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from prernn_jax.errors import InputError

Result = TypeVar("Result")

CONNECT_SECONDS = 300  # for which a process waits for the others at the start
_POLL_SECONDS = 0.1
_numbers = itertools.count()  # of the values that process 0 has told


class Place(NamedTuple):
    """Where a process stands among those that train together.

    Attributes:
        coordinator: HOST:PORT of process 0, which must be free there; None: found by JAX.
        processes: How many there are; None: found by JAX.
        number: The number of this one, from 0; None: found by JAX.
    """

    coordinator: str | None
    processes: int | None
    number: int | None


def find_place(
    coordinator: str | None,
    processes: int | None,
    number: int | None,
    environment: Mapping[str, str],
) -> Place | None:
    """Where this process stands: as the flags say, or as the cluster's environment does.

    Args:
        coordinator: --coordinator.
        processes: --num_processes.
        number: --process_id.
        environment: `os.environ`.

    Returns:
        None for a process on its own.

    Raises:
        InputError: The flags are not complete, or a cluster was found that JAX cannot use.
    """
    flags = {"coordinator": coordinator, "num_processes": processes, "process_id": number}
    if processes == 1 and number in (None, 0):
        return None
    if any(value is not None for value in flags.values()):
        return _of_flags(coordinator, processes, number, flags)
    if "SLURM_STEP_NODELIST" in environment:
        tasks = min(
            _number(environment, name, 1)
            for name in ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS")
            if name in environment or name == "SLURM_NTASKS"
        )
        return Place(None, None, None) if tasks > 1 else None
    if (ranks := _number(environment, "OMPI_COMM_WORLD_SIZE", 1)) > 1:
        if "OMPI_MCA_orte_hnp_uri" not in environment:  # Open MPI 5 no longer sets it
            raise InputError(
                f"this is one of {ranks} processes of Open MPI, which does not say where process 0 "
                "is; give --coordinator=HOST:PORT --num_processes=$OMPI_COMM_WORLD_SIZE "
                "--process_id=$OMPI_COMM_WORLD_RANK"
            )
        return Place(None, None, None)
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys():
        try:
            import kubernetes  # noqa: F401
        except ImportError:
            raise InputError(
                "this is a pod of an indexed Kubernetes job; to find the others, install the "
                "package kubernetes, or give --coordinator, --num_processes and --process_id; "
                "--num_processes=1 trains in this pod alone"
            ) from None
        return Place(None, None, None)
    return None


def _of_flags(
    coordinator: str | None, processes: int | None, number: int | None, flags: Mapping[str, Any]
) -> Place:
    given = ", ".join(f"--{name}={value}" for name, value in flags.items() if value is not None)
    if coordinator is None or processes is None or number is None:
        missing = ", ".join(f"--{name}" for name, value in flags.items() if value is None)
        raise InputError(f"{given}: {missing} must be given too")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(
            f"--coordinator={coordinator}: expected the host of process 0 and a port that is free "
            "there, such as node1:29500"
        )
    if not 0 <= number < processes:
        raise InputError(f"{given}: expected a --process_id of 0 to {max(processes, 1) - 1}")
    return Place(coordinator, processes, number)


def _number(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    found = environment.get(name, "")
    return int(found) if found.isdecimal() else otherwise


def connect(place: Place) -> None:
    """Joins the other processes; must come before any other use of JAX.

    Raises:
        InputError: They cannot be reached.
    """
    given = place.coordinator is not None
    try:
        if place.number == 0 and place.coordinator is not None:
            _check_port(place.coordinator)
        jax.config.update("jax_enable_preemption_service", False)  # `fit` watches the signals
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.number,
            cluster_detection_method="deactivate" if given else None,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=100,  # more than the limit of `together`, which comes first
            shutdown_timeout_seconds=60,
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{not_found(place)} ({reason})") from error
    # Gloo waits 30 s for the others when it first meets them: now, while all are at the same place.
    gather(np.zeros(1, np.int8))


def not_found(place: Place) -> str:
    """What a person is told when `connect` fails."""
    where = f" at {place.coordinator}" if place.coordinator is not None else ""
    return (
        f"the processes did not find each other{where} in {CONNECT_SECONDS} s: start all of them "
        "with the same --coordinator and --num_processes, and open that port to them"
    )


def _check_port(coordinator: str) -> None:
    # The service of a port that is taken ends the process with a trace of its library.
    port = int(coordinator.rpartition(":")[2])
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(
                f"--coordinator={coordinator}: port {port} cannot be used ({error.strerror}); "
                "give another one to all processes"
            ) from None


def count() -> int:
    """How many processes train together."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def number() -> int:
    """The number of this process, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that prints, logs and writes."""
    return number() == 0


def shard() -> tuple[int, int]:
    """This process's number and how many there are, as the loaders take them."""
    return number(), count()


def store() -> Any:
    """The client of the keys and values that process 0 keeps for all."""
    return distributed.global_state.client


def from_first(work: Callable[[], Result]) -> Result:
    """Does work in process 0 and tells all what came of it; the others wait.

    Every process must call this, in the same order.

    Args:
        work: Returns what JSON can hold.
    """
    if count() == 1:
        return work()
    key = f"prernn/told/{next(_numbers)}"
    if is_first():
        result = work()
        store().key_value_set(key, json.dumps(result))
        return result
    # Not the store's own way of waiting: no signal would get through.
    while (found := _get(key)) is None:
        time.sleep(_POLL_SECONDS)
    told: Result = json.loads(found)
    return told


def first_before_others(work: Callable[[], Result]) -> Result:
    """Does work in process 0, and then in the others, which find what it has written."""
    if count() == 1:
        return work()
    result = work() if is_first() else None
    from_first(lambda: None)
    return result if is_first() else work()  # type: ignore[return-value]


def _get(key: str) -> str | None:
    try:
        found: str = store().key_value_try_get(key)
        return found
    except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" in str(error):
            return None
        raise


def gather(values: NDArray[Any]) -> NDArray[Any]:
    """Arrays of the same shape and type of all processes, bit for bit: (P, ...)."""
    if count() == 1:
        return values[None]
    flat = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)  # JAX has no float64
    found = np.asarray(multihost_utils.process_allgather(flat))
    return np.frombuffer(found.tobytes(), values.dtype).reshape(count(), *values.shape)


def rows_of_all(values: NDArray[Any]) -> NDArray[Any]:
    """The rows (B / P, ...) of all processes, one after the other: (B, ...)."""
    return values if count() == 1 else gather(values).reshape(-1, *values.shape[1:])


def share(tree: Any) -> Any:
    """The arrays of process 0 in all processes, bit for bit, as NumPy arrays.

    Args:
        tree: Arrays of the same shapes and types in every process.
    """
    leaves, structure = jax.tree.flatten(tree)
    host = [np.asarray(leaf) for leaf in leaves]
    if count() == 1:
        return jax.tree.unflatten(structure, host)
    packed = np.frombuffer(b"".join(leaf.tobytes() for leaf in host), np.uint8)
    whole = np.asarray(multihost_utils.broadcast_one_to_all(packed)).tobytes()
    shared, begin = [], 0
    for leaf in host:
        part = np.frombuffer(whole, leaf.dtype, leaf.size, begin)
        shared.append(part.reshape(leaf.shape))
        begin += leaf.nbytes
    return jax.tree.unflatten(structure, shared)


def local(tree: Any) -> Any:
    """Arrays that lie whole on every device, as arrays of this process's first device."""
    return tree if count() == 1 else jax.tree.map(lambda array: array.addressable_data(0), tree)


def compare_settings(settings: Mapping[str, Any]) -> None:
    """Raises an InputError where this process was started with other flags than process 0.

    Args:
        settings: By dotted name; those that must be the same.
    """
    theirs: dict[str, Any] = from_first(lambda: dict(settings))
    ours: dict[str, Any] = json.loads(json.dumps(settings))
    differing = [
        f"--{name}={ours.get(name)} (process 0: {theirs.get(name)})"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if differing:
        raise InputError(
            f"process {number()} was started with other flags than process 0: "
            f"{', '.join(differing)}; give all processes the same"
        )
    gather(np.zeros(1, np.int8))  # nobody goes on before all have compared
