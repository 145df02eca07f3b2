"""A frozen trunk in two processes leaves, bit for bit, what it leaves in one."""

import pytest
from short_run import in_folder
from two_processes import in_one, in_two, lines_of

pytestmark = pytest.mark.nightly

SIZES = {"train": 8, "validation": 5, "test": 5, "static_train": 8, "static_validation": 4}
SHORT = [f"--embedded.{name}={size}" for name, size in SIZES.items()]
SHORT += ["--pretraining.rgb_epochs=1", "--pretraining.flow_epochs=1", "--crop=32", "--steps=2"]
SHORT += ["--pretraining.batch_size=4", "--epochs=2", "--batch_size=4", "--film=0", "--devices=2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("trunk")


@pytest.mark.parametrize("trunk", ["frozen", "cached"])
def test_features_of_each_process_make_the_same_run(place, trunk):
    flags = [*SHORT, f"--trunk={trunk}", "--name=run"]
    in_one("action", *in_folder(flags, place, f"--workdir={place / trunk / 'one'}"))
    more = [f"--workdir={place / trunk / 'two'}", f"--cache_dir={place / 'others'}"]
    statuses, texts = in_two("action", *in_folder(flags, place, *more))
    assert statuses == [0, 0], texts
    one, two = (place / trunk / name / "run" for name in ("one", "two"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert lines_of(one) == lines_of(two)
