"""Taking the large fields out of a protobuf message without copying them.

Protobuf's own parser copies an array twice before Python sees it. Here the fields with given
numbers become views of the mapped file, and what remains is small enough for the parser.
"""

from collections import defaultdict
from typing import NamedTuple

_MOST_FIELDS = 50_000  # small fields of one message; floats written one by one are more


class Damaged(ValueError):
    """The bytes are no protobuf message."""


class TooMany(ValueError):
    """The message has more small fields than can be looked at one by one."""


class Parts(NamedTuple):
    """A message taken apart.

    Attributes:
        pieces: by field number, the contents of the fields that were asked for.
        rest: the other fields, a message of its own.
    """

    pieces: dict[int, list[memoryview]]
    rest: bytes


def split(message: memoryview, numbers: frozenset[int]) -> Parts:
    """Take the length-delimited fields with these numbers out of a message.

    Raises:
        Damaged: a field is unfinished, longer than the message, or of no known wire type.
        TooMany: there are more small fields than can be looked at.
    """
    pieces: dict[int, list[memoryview]] = defaultdict(list)
    rest = bytearray()
    place = count = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, place = _varint(message, place)
        elif wire == 2:
            length, place = _varint(message, place)
            place += length
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise Damaged(f"wire type {wire}")
        if number == 0 or place > len(message):
            raise Damaged("a field ends beyond its message")
        if wire == 2 and number in numbers:
            pieces[number].append(message[place - length : place])
        else:
            rest += message[start:place]
            count += 1
            if count > _MOST_FIELDS:
                raise TooMany
    return Parts(pieces, bytes(rest))


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise Damaged("a number is cut off")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise Damaged("a number of more than ten bytes")
