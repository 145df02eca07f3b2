"""Lists in every encoding that editors write, and files that are no lists."""

import pytest

from prernn_jax.data.prepared.lists import numbered_lines, read_text
from prernn_jax.errors import InputError

TEXT = "Café/a.avi 1\r\n\r\nb.avi 2 \n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"]
)
def test_every_encoding_is_read(tmp_path, encoding):
    path = tmp_path / "list.txt"
    text = TEXT if encoding not in ("utf-16-le", "utf-16-be") else TEXT.replace("é", "e")
    path.write_bytes(text.encode(encoding))
    expected = text.split("\r\n")[0]
    assert list(numbered_lines(path, "LAYOUT")) == [(1, expected), (3, "b.avi 2")]


@pytest.mark.parametrize(
    "data", [b"\0\5\x16\7\0\2\0\0Mac OS X", b"\xff\xfe\0", b"PK\3\4\x14\0", b"\x7fELF\1\1\0"]
)
def test_what_is_no_text_is_refused_by_name(tmp_path, data):
    (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"list\.txt is no text; expected UTF-8"):
        read_text(tmp_path / "list.txt")
    with pytest.raises(InputError, match=r"there is no .*absent\.txt; expected LAYOUT"):
        list(numbered_lines(tmp_path / "absent.txt", "LAYOUT"))
