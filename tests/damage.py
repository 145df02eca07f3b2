"""What happens to files: hypothesis strategies for damaged bytes, text and JSON values."""

import time
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import strategies as st

from prernn_jax.errors import InputError

FEW, MANY = 50, 10_000
LONGEST = 20.0  # seconds of one file

_PLACES = st.integers(0, 2**20)
_PIECES = st.sampled_from(
    [b"\xff\xff\xff\x7f", b"\0" * 8, b"\n", b"{", b"[" * 2000, b"nan", b"1e999", b"-1", b"9" * 5000]
) | st.binary(min_size=1, max_size=9)
_EDITS = st.one_of(
    st.tuples(st.just("change"), _PLACES, st.integers(1, 255)),
    st.tuples(st.just("insert"), _PLACES, _PIECES),
    st.tuples(st.just("replace"), _PLACES, _PIECES),
    st.tuples(st.just("remove"), _PLACES, st.integers(1, 40)),
    st.tuples(st.just("repeat"), _PLACES, st.integers(1, 40)),
    st.tuples(st.just("cut"), _PLACES, st.just(0)),
)


@st.composite
def damaged(draw, good: bytes) -> bytes:
    """A file's bytes after one to five edits, or other bytes altogether."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(good)
    for kind, place, what in draw(st.lists(_EDITS, min_size=1, max_size=5)):
        at = place % (len(data) + 1)
        if kind == "change" and at < len(data):
            data[at] ^= what
        elif kind == "insert":
            data[at:at] = what
        elif kind == "replace":
            data[at : at + len(what)] = what
        elif kind == "remove":
            del data[at : at + what]
        elif kind == "repeat":
            data[at:at] = data[at : at + what]
        elif kind == "cut":
            del data[at:]
    return bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([0, -1, 1, 10**6, 10**15, "gru", "fc7", "rgb", ["fc7"], [3, 4, 6, 3]]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=4),
    max_leaves=12,
)  # fmt: skip


def changed(good: dict) -> st.SearchStrategy[dict]:
    """A JSON object of which one to three entries have another value, are absent or are new."""
    names = st.sampled_from(sorted(good)) | st.text(max_size=12)
    return st.builds(
        lambda new, gone: {k: v for k, v in {**good, **new}.items() if k not in gone},
        st.dictionaries(
            names, json_values | st.sampled_from(list(good.values())), min_size=1, max_size=3
        ),
        st.sets(st.sampled_from(sorted(good)), max_size=1),
    )


def examples(count: int) -> Any:
    """Settings for so many examples: few are the same each time, many are drawn."""
    return hypothesis.settings(
        max_examples=count, deadline=None, database=None, derandomize=count == FEW,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip


def refused(call: Callable[[], Any]) -> bool:
    """Whether a call raises the project's error, in one line that can be printed, and soon."""
    began = time.process_time()
    message = None
    try:
        call()
    except InputError as error:
        message = str(error)
    assert time.process_time() - began < LONGEST
    assert message is None or ("\n" not in message and len(message) < 3000)
    if message is not None:
        message.encode()  # it can be printed
    return message is not None
