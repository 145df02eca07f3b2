"""`prernn demo`: the model of the wheel knows its three clips, and the film shows them."""

import pytest
from PIL import Image

from prernn_jax.demo.__main__ import CLIPS, main
from prernn_jax.errors import InputError


def test_it_sees_the_gestures_and_writes_the_film(tmp_path, capsys):
    main([f"--out={tmp_path / 'films/demo.gif'}"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CLIPS) + 1
    for line in lines[:-1]:
        truth, _, seen = line.partition("; the net sees: ")
        assert seen.startswith(truth.split("'")[1])
    with Image.open(tmp_path / "films/demo.gif") as film:
        assert film.n_frames > 3 * 20
        assert film.size[1] == 288


@pytest.mark.parametrize(("name", "message"), [("demo.mp4", "ends in .gif"), ("a/b.gif", "cannot")])
def test_bad_input(tmp_path, name, message):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(InputError, match=message):
        main([f"--out={tmp_path / name}"])
