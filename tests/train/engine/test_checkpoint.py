"""Checkpoints: a damaged one is noticed, put aside, and the one before it is used."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_task import make_model, start

from prernn_jax.errors import InputError
from train.engine.checkpoint import Checkpoints

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def states():
    """The state at step 1 and at step 2, which has other numbers."""
    _, _, state = start(make_model())
    first = state._replace(step=state.step + 1)
    params = {name: value + 1 for name, value in state.params.items()}
    return first, first._replace(step=first.step + 1, params=params)


def saved(folder, states):
    checkpoints = Checkpoints(folder)
    for number, state in enumerate(states, start=1):
        checkpoints.save(state, {"position": number})
    return checkpoints


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def test_a_whole_one_is_restored(tmp_path, states):
    checkpoints = saved(tmp_path / "c", states)
    state, position = checkpoints.restore(states[0])
    same(state, states[1])
    assert position == {"position": 2}
    assert not (tmp_path / "c-damaged").exists()
    checkpoints.close()


def test_any_changed_byte_is_noticed(tmp_path, states, capsys):
    """Each file in turn; the older checkpoint is used, and neither is lost."""
    rng = np.random.default_rng(0)
    count = len(files_of_a_checkpoint(tmp_path / "look", states))
    assert count > 3
    for number in range(count):
        folder = tmp_path / f"{number}" / "c"
        folder.parent.mkdir()
        checkpoints = saved(folder, states)
        found = files_of(folder / "2")  # on a slow machine orbax cuts its files differently
        file = found[number % len(found)]
        content = bytearray(file.read_bytes())
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(content))
        state, position = checkpoints.restore(states[0])
        same(state, states[0])
        assert position == {"position": 1}
        assert (folder.parent / "c-damaged" / "2").is_dir()
        assert "step 2 is damaged" in " ".join(capsys.readouterr().out.split())
        checkpoints.save(states[1], {"position": 2})  # the training comes to step 2 again
        same(checkpoints.restore(states[0])[0], states[1])
        checkpoints.close()


def files_of_a_checkpoint(folder, states):
    saved(folder, states).close()
    return files_of(folder / "2")


@pytest.mark.parametrize("how", ["truncated", "removed"])
def test_a_missing_part_is_noticed(tmp_path, states, how):
    checkpoints = saved(tmp_path / "c", states)
    file = max(files_of(tmp_path / "c" / "2"), key=lambda path: path.stat().st_size)
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3])
    same(checkpoints.restore(states[0])[0], states[0])
    checkpoints.close()


def test_without_any_whole_one_the_message_says_so(tmp_path, states):
    checkpoints = saved(tmp_path / "c", states)
    for step in (1, 2):
        file = files_of(tmp_path / "c" / str(step))[0]
        file.write_bytes(b"x" + file.read_bytes())
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read: its files are not"):
        checkpoints.restore(states[0])
    assert len(list((tmp_path / "c-damaged").iterdir())) == 2
    checkpoints.close()


def test_a_checkpoint_of_an_older_version_has_no_digest(tmp_path, states):
    checkpoints = saved(tmp_path / "c", states)
    for file in (tmp_path / "c").glob("*.sha256"):
        file.unlink()
    same(checkpoints.restore(states[0])[0], states[1])
    checkpoints.close()


def test_one_in_the_background_is_the_state_of_its_step_with_a_digest(tmp_path, states):
    """Written from a copy: the state's memory goes to the next step at once."""
    checkpoints = Checkpoints(tmp_path / "c", background=True)
    state = jax.tree.map(jnp.copy, states[0])
    checkpoints.save(state, {"position": 1})
    jax.tree.map(lambda x: x.delete(), state)  # as donation does
    checkpoints.save(states[1], {"position": 2})  # waits for the one before
    assert (tmp_path / "c" / "1.sha256").is_file()
    assert checkpoints.latest == 2  # waits for that one
    assert (tmp_path / "c" / "2.sha256").is_file()
    found, position = checkpoints.restore(states[0])
    same(found, states[1])
    assert position == {"position": 2}
    checkpoints.close()
    file = files_of(tmp_path / "c" / "2")[0]
    file.write_bytes(b"x" + file.read_bytes())
    again = Checkpoints(tmp_path / "c")
    same(again.restore(states[0])[0], states[0])
    again.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # see test_loop.py
def test_a_failure_in_the_background_is_told_at_the_next_occasion(small_disk, states, capsys):
    checkpoints = Checkpoints(small_disk / "c", background=True)
    checkpoints.save(states[0], {"position": 1})
    checkpoints.wait()
    (small_disk / "filler").write_bytes(bytes(max(shutil.disk_usage(small_disk).free - 20_000, 0)))
    checkpoints.save(states[1], {"position": 2})
    with pytest.raises(InputError, match=r"could not write.*step 2.*step 1 is intact"):
        checkpoints.wait()
    checkpoints.close()
    (small_disk / "filler").unlink()
    again = Checkpoints(small_disk / "c")
    same(again.restore(states[0])[0], states[0])
    again.close()
