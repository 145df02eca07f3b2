"""Protobuf messages taken apart into views, for files whose arrays should not be copied."""

from collections import defaultdict
from typing import NamedTuple

_MOST_FIELDS = 50_000  # fields of one message; floats written one by one are more


class Damaged(ValueError):
    """The bytes are no protobuf message."""


class TooMany(ValueError):
    """The message has more fields than can be looked at one by one."""


class Parts(NamedTuple):
    """A message taken apart.

    Attributes:
        pieces: By field number, the contents of the fields that were asked for.
        rest: The other fields, a message of its own.
    """

    pieces: dict[int, list[memoryview]]
    rest: bytes


def split(message: memoryview, *numbers: int) -> Parts:
    """Takes the length-delimited fields with these numbers out of a message.

    Raises:
        Damaged: A field is unfinished, longer than the message, or of no known wire type.
        TooMany: There are more fields than can be looked at.
    """
    pieces: dict[int, list[memoryview]] = defaultdict(list)
    rest = bytearray()
    place = count = 0
    while place < len(message):
        start = place
        number, wire, content, place = _field(message, place)
        count += 1
        if count > _MOST_FIELDS:
            raise TooMany
        if wire == 2 and number in numbers:
            pieces[number].append(message[content:place])
        else:
            rest += message[start:place]
    return Parts(pieces, bytes(rest))


class Field(NamedTuple):
    """One field of a message: its number, its wire type and its content."""

    number: int
    wire: int
    content: memoryview


def fields(message: memoryview, most: int) -> list[Field]:
    """The first fields as views, as far as the message is sound."""
    found: list[Field] = []
    place = 0
    try:
        while place < len(message) and len(found) < most:
            number, wire, content, place = _field(message, place)
            found.append(Field(number, wire, message[content:place]))
    except Damaged:
        return found
    return found


def _field(message: memoryview, place: int) -> tuple[int, int, int, int]:
    """A field's number and wire type, where its content begins and where it ends."""
    tag, place = _varint(message, place)
    number, wire = tag >> 3, tag & 7
    content = place
    if wire == 0:
        _, place = _varint(message, place)
    elif wire == 2:
        length, content = _varint(message, place)
        place = content + length
    elif wire in (1, 5):
        place += 8 if wire == 1 else 4
    else:
        raise Damaged(f"wire type {wire}")
    if number == 0 or place > len(message):
        raise Damaged("a field ends beyond its message")
    return number, wire, content, place


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
