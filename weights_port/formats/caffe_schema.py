"""The few fields of Caffe's files that matter here, as a protobuf schema of our own.

It describes what remains of a message when the large fields are taken out (caffe.py). Field
numbers: BVLC/caffe and facebook/C3D (C3D-v1.0), `src/caffe/proto/caffe.proto`; docs/weights.md has
the table.
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
LAYERS, OLD_LAYERS = 100, 2  # of a net: V2, and V1 with V0 inside
OLD_V0, OLD_BLOBS = 1, 6  # of a V1 layer
V0_BLOBS, BLOBS = 50, 7  # of a V0 and of a V2 layer
DATA, FORK_DATA, SHAPE, DOUBLES = 5, 6, 7, 8  # of a blob; the fork's diff is 7, too
# Message: fields as name, number, type; * means repeated. One Blob serves both dialects: num and
# channels, then height and width (BVLC), or length, height and, as field 5, width (C3D-v1.0).
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Net": (("name", 1, "bytes"),),
    "Layer": (
        ("name", 1, "bytes"), ("type", 2, "bytes"), ("bottom", 3, "bytes*"), ("top", 4, "bytes*"),
        ("concat", 104, "bytes"), ("convolution", 106, "bytes"), ("eltwise", 110, "bytes"),
        ("pooling", 121, "bytes"), ("flatten", 135, "bytes"), ("batch_norm", 139, "bytes"),
    ),
    "OldLayer": (
        ("bottom", 2, "bytes*"), ("top", 3, "bytes*"), ("name", 4, "bytes"), ("type", 5, "int32"),
        ("concat", 9, "bytes"), ("convolution", 10, "bytes"), ("pooling", 19, "bytes"),
        ("eltwise", 24, "bytes"),
    ),
    "V0Layer": (
        ("name", 1, "bytes"), ("type", 2, "bytes"), ("pad", 7, "uint32"), ("kernel", 8, "uint32"),
        ("group", 9, "uint32"), ("stride", 10, "uint32"), ("pool", 11, "int32"),
    ),
    # Parameters of layers. Window: of a convolution.
    "Window": (
        ("pad", 3, "uint32*"), ("kernel", 4, "uint32*"), ("group", 5, "uint32"),
        ("stride", 6, "uint32*"), ("pad_h", 9, "uint32"), ("pad_w", 10, "uint32"),
        ("kernel_h", 11, "uint32"), ("kernel_w", 12, "uint32"), ("stride_h", 13, "uint32"),
        ("stride_w", 14, "uint32"), ("dilation", 18, "uint32*"),
    ),
    "Pooling": (
        ("pool", 1, "int32"), ("kernel", 2, "uint32"), ("stride", 3, "uint32"),
        ("pad", 4, "uint32"), ("kernel_h", 5, "uint32"), ("kernel_w", 6, "uint32"),
        ("stride_h", 7, "uint32"), ("stride_w", 8, "uint32"), ("pad_h", 9, "uint32"),
        ("pad_w", 10, "uint32"), ("global_pooling", 12, "bool"), ("round_mode", 13, "int32"),
    ),
    "BatchNorm": (("eps", 3, "float"),),
    "Eltwise": (("operation", 1, "int32"), ("coeff", 2, "float*")),
    "Concat": (("axis", 2, "int32"),),
    "Flatten": (("axis", 1, "int32"),),
    "Blob": (
        ("dim1", 1, "int32"), ("dim2", 2, "int32"), ("dim3", 3, "int32"), ("dim4", 4, "int32"),
        ("width", 5, "int32"), ("shape", 7, "bytes*"),
    ),
    "Shape": (("dim", 1, "int64*"),),
    # For writers that did not pack: one field a number.
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
            new.field.add(
                name=field,
                number=number,
                label=field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL,
                type=getattr(field_type, f"TYPE_{kind.rstrip('*').upper()}"),
            )
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
