"""Lists that people write of their own data: CSV files, and the paths, parts and names in them.

Spreadsheets and other machines write them: with commas, semicolons or tabs, with quotes, with paths
of Windows, with letters that are one sign here and two there.
"""

import csv
import re
import unicodedata
from pathlib import Path, PureWindowsPath
from typing import Literal

from prernn_jax.data.prepared.lists import read_text, shortened
from prernn_jax.errors import InputError

_PARTS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
# macOS writes é as two signs, e and the accent; others write one.
_FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
LONGEST = 220
"""Bytes of a name; prepared files add an ending."""
_LONGEST_PATH = 3000  # bytes; the system allows 4096 with the folder of the list before it


def part_of(name: str) -> str | None:
    """The part of a data set that a word names, such as train, Test_set or val-list; or None."""
    return _PARTS.get(re.sub(r"[-_ ]?(set|data|split|list|videos)$", "", name.strip().lower()))


def read_part(text: str, where: str) -> str:
    """The part of a data set that a list names.

    Raises:
        InputError: It is none; the message begins with `where`.
    """
    part = part_of(text)
    if part is None:
        raise InputError(f"{where}: the split is {shortened(text)!r}; expected train, val or test")
    return part


def header_of(path: Path) -> list[str]:
    """The words of the first line of a list that is not blank, in lower case."""
    first = next((line for line in read_text(path).splitlines() if line.strip()), "")
    return _header(next(csv.reader([first], delimiter=_delimiter(first)), []))


def csv_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Reads a CSV file whose values are divided by commas, semicolons or tabs.

    Returns:
        Its header in lower case, and the number and the values of each line that is not blank.

    Raises:
        InputError: It is no CSV file, two columns have one name, or a line has more or less values
            than the header.
    """
    lines = read_text(path).splitlines()
    delimiter = _delimiter(next((line for line in lines if line.strip()), ""))
    header: list[str] | None = None
    found = []
    try:
        for number, words in enumerate(csv.reader(lines, delimiter=delimiter, strict=True), 1):
            one_line("".join(words), f"{path} line {number}")
            values = [word.strip() for word in words]
            if not any(values):
                continue
            if header is None:
                header = _header(values)
                if twice := {name for name in header if header.count(name) > 1}:
                    raise InputError(f"{path} has two columns {shortened(min(twice))!r}; keep one")
            elif len(values) != len(header):
                raise InputError(
                    f"{path} line {number} has {len(values)} values; the header has {len(header)}"
                )
            else:
                found.append((number, values))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV file: {error}") from None
    return header or [], found


def _delimiter(line: str) -> str:
    return "," if "," in line else next((sign for sign in ";\t" if sign in line), ",")


def _header(words: list[str]) -> list[str]:
    return [word.strip().lower() for word in words]


def one_line(text: str, where: str) -> str:
    """Returns a name or path from a list.

    Raises:
        InputError: It holds a line break or another control character.
    """
    if any(ord(sign) < ord(" ") for sign in text.replace("\t", " ")):
        raise InputError(f"{where}: {shortened(repr(text))} holds a line break; expected one line")
    return text


def as_name(text: str) -> str:
    """A text of a list as one part of a sample's name, which is that of a file too."""
    text = unicodedata.normalize("NFC", text).replace("/", "_")
    return text if text not in (".", "..") else "_"


def place_below(text: str, root: Path, where: str) -> Path:
    """The file that a list names: below the root, also where it was written on another machine.

    Args:
        text: What the list says.
        root: The folder of the files.
        where: What to call the line in messages.

    Raises:
        InputError: No file can have such a name.
    """
    path = Path(one_line(text, where))
    if "\\" in text and not _exists(root / path):
        path = Path(PureWindowsPath(text).as_posix())
        if PureWindowsPath(text).drive:  # of another machine; its drive says nothing here
            path = Path("/", *PureWindowsPath(text).parts[1:])
    sizes = [len(part.encode(errors="replace")) + 1 for part in path.parts]
    if max(sizes, default=0) > LONGEST or sum(sizes) > _LONGEST_PATH:
        raise InputError(f"{where}: {shortened(text)!r} is no path of a file")
    if path.is_absolute() and _exists(path):
        return path
    parts = path.parts[1:] if path.is_absolute() else path.parts
    for start in range(len(parts)):
        for form in _FORMS:
            inner = [unicodedata.normalize(form, part) for part in parts[start:]]
            if _exists(found := root.joinpath(*inner)):
                return found
    return root.joinpath(*parts) if not path.is_absolute() else path


def _exists(path: Path) -> bool:
    """Whether there is such a file or folder; there is none of a name that is too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def absent(where: str, file: Path) -> str:
    """Says that a line of a list names a file that is not there, and what to do."""
    if _exists(file) and file.is_dir():
        return f"{where} names {file}, a folder; expected a video file"
    return f"{where} names {file}, which is not there; mend the line, or give --root, its folder"
