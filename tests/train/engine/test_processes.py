"""Where a process stands among others: by flags and by the environment of a cluster."""

import jax
import numpy as np
import pytest
from jax._src import clusters

from prernn_jax.errors import InputError
from train.engine import processes
from train.engine.processes import Place, find_place
from train.face.application import FACE
from train.run.application import main

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
FOUND = Place(None, None, None)


@pytest.mark.parametrize(
    ("environment", "address", "count", "number"),
    [(SLURM, "node07:", 2, 1), (OPEN_MPI, "10.96.0.1:", 4, 3)],
)
def test_jax_finds_the_clusters_that_we_find(monkeypatch, environment, address, count, number):
    """No cluster runs here: this is JAX's own reading of the environment, without a connection."""
    assert find_place(None, None, None, environment) == FOUND
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, 1
    )
    assert found[0].startswith(address)
    assert found[1:3] == (count, number)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        SLURM | {"SLURM_NTASKS": "1"},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"},  # an interactive shell within a larger job
        {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"},  # a batch script, outside of srun
        OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # a pod that belongs to no indexed job
    ],
)
def test_a_process_on_its_own(environment):
    assert find_place(None, None, None, environment) is None


def test_flags_go_before_the_environment():
    place = Place("node1:29500", 2, 0)
    assert find_place("node1:29500", 2, 0, SLURM) == place
    assert find_place("node1:29500", 2, 0, {}) == place
    assert find_place(None, 1, None, SLURM) is None


def test_open_mpi_5_does_not_say_where_process_0_is():
    environment = {k: v for k, v in OPEN_MPI.items() if "hnp_uri" not in k}
    with pytest.raises(InputError, match=r"4 processes of Open MPI.*--coordinator=HOST:PORT"):
        find_place(None, None, None, environment)


def test_a_pod_of_an_indexed_job_needs_the_package(monkeypatch):
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
    monkeypatch.setitem(__import__("sys").modules, "kubernetes", None)
    with pytest.raises(InputError, match=r"indexed Kubernetes job.*package kubernetes"):
        find_place(None, None, None, environment)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--coordinator=node1:1"], "--num_processes, --process_id must be given too"),
        (["--num_processes=2"], "--coordinator, --process_id must be given too"),
        (["--process_id=1"], "--coordinator, --num_processes must be given too"),
        (["--coordinator=node1", "--num_processes=2", "--process_id=0"], "HOST|host of process 0"),
        (["--coordinator=:1", "--num_processes=2", "--process_id=0"], "host of process 0"),
        (["--coordinator=a:99999", "--num_processes=2", "--process_id=0"], "host of process 0"),
        (["--coordinator=a:1", "--num_processes=2", "--process_id=2"], "--process_id of 0 to 1"),
        (["--coordinator=a:1", "--num_processes=0", "--process_id=0"], "--process_id of 0 to 0"),
    ],
)
def test_flags_that_do_not_fit(flags, message, tmp_path):
    with pytest.raises(InputError, match=message):
        main(FACE, [*flags, f"--workdir={tmp_path}"])


def test_alone_everything_is_as_it_is():
    values = np.arange(3, dtype=np.float64)
    np.testing.assert_array_equal(processes.gather(values), values[None])
    np.testing.assert_array_equal(processes.rows_of_all(values), values)
    assert processes.from_first(lambda: {"a": 1}) == {"a": 1}
    assert processes.first_before_others(lambda: 5) == 5
    assert processes.shard() == (0, 1)
    assert processes.is_first()
    tree = {"a": jax.numpy.ones(2)}
    assert processes.local(tree) is tree
    np.testing.assert_array_equal(processes.share(tree)["a"], np.ones(2, np.float32))
