"""Values kept in a file: computed once, of other settings apart, a damaged file is no obstacle."""

import json

from train.tables.kept_values import KeptValues


def never():
    raise AssertionError


def test_a_value_is_computed_once(tmp_path):
    first = KeptValues(tmp_path, {"steps": 3})
    assert first.get("a", lambda: (0.5, None)) == [0.5, None]
    again = KeptValues(tmp_path, {"steps": 3})
    assert again.get("a", never) == [0.5, None]
    assert KeptValues(tmp_path, {"steps": 4}).get("a", lambda: 2) == 2


def test_a_damaged_file_is_written_anew(tmp_path):
    path = KeptValues(tmp_path, {}).path
    for text in ("{", "[]", '{"about": {}}', "[" * 100_000):
        path.write_text(text, encoding="utf-8")
        assert KeptValues(tmp_path, {}).get("a", lambda: 1) == 1
        assert json.loads(path.read_text(encoding="utf-8"))["values"] == {"a": 1}
