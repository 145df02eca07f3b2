"""The few fields of Caffe's files that matter here, as a protobuf schema of our own.

Packed arrays of floats are declared `bytes`: the same bytes on the wire, but handed over as one
piece instead of one Python number an element. Field numbers: BVLC/caffe and facebook/C3D
(C3D-v1.0), `src/caffe/proto/caffe.proto`; docs/weights.md has the table.
"""

from functools import cache
from typing import Any

from prernn_jax.errors import InputError

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as error:  # the extra [caffe]
    raise InputError(
        "Caffe files need the protobuf package: pip install 'prernn-jax[caffe]'"
    ) from error

_PACKAGE = "prernn_port"
# Message: fields as name, number, type; a capital type is another message, * means repeated.
# One Blob serves BVLC and C3D-v1.0. In the latter 3 to 5 are length, height and width, 6 is the
# data and 7 the diff: field 5 is then a number and, being declared bytes, lands among the unknown
# fields, which is how caffe_file.py tells the two apart.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Net": (("name", 1, "bytes"), ("layers", 2, "OldLayer*"), ("layer", 100, "Layer*")),
    "Layer": (("name", 1, "bytes"), ("type", 2, "bytes"), ("blobs", 7, "Blob*")),
    "OldLayer": (
        ("v0", 1, "V0Layer"), ("name", 4, "bytes"), ("type", 5, "int32"), ("blobs", 6, "Blob*"),
    ),
    "V0Layer": (("name", 1, "bytes"), ("type", 2, "bytes"), ("blobs", 50, "Blob*")),
    "Blob": (
        ("dim1", 1, "int32"), ("dim2", 2, "int32"), ("dim3", 3, "int32"), ("dim4", 4, "int32"),
        ("field5", 5, "bytes*"), ("field6", 6, "bytes*"), ("field7", 7, "bytes*"),
        ("doubles", 8, "bytes*"),
    ),
    "Shape": (("dim", 1, "int64*"),),
    "ForkHead": (("width", 5, "int32"),),
    # The slow way, for writers that did not pack: one field a number.
    "Unpacked5": (("values", 5, "float*"),),
    "Unpacked6": (("values", 6, "float*"),),
}  # fmt: skip


@cache
def message(name: str) -> Any:
    """The protobuf class of one of the messages above."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto2"
    )
    field_type = descriptor_pb2.FieldDescriptorProto
    for title, fields in _MESSAGES.items():
        new = file.message_type.add(name=title)
        for field, number, kind in fields:
            repeated = kind.endswith("*")
            label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            entry = new.field.add(name=field, number=number, label=label)
            kind = kind.rstrip("*")
            if kind in _MESSAGES:
                entry.type, entry.type_name = field_type.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                entry.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
