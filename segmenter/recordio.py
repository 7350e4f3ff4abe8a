"""The built-in algorithm's answer with probabilities: one `aialgs.data.Record` in a RecordIO frame. Pure.

The protobuf wire format is written by hand, so that neither the protobuf package nor its generated code is needed:

    message Float32Tensor { repeated float values = 1 [packed = true]; }
    message Int32Tensor   { repeated int32 values = 1 [packed = true]; }
    message Value         { oneof value { Float32Tensor float32_tensor = 2; ... Int32Tensor int32_tensor = 7; } }
    message Record        { map<string, Value> features = 1; map<string, Value> label = 2; ... }
"""

import struct

import numpy as np
import numpy.typing as npt

MAGIC = 0xCED7230A
# The frame's length field has 29 bits.
MAX_RECORD_BYTES = 2**29 - 1

_FEATURES = 1
_FLOAT32_TENSOR = 2
_INT32_TENSOR = 7
_LENGTH_DELIMITED = 2


def encode(probabilities: npt.NDArray[np.float32]) -> bytes:
    """Frame an array as the features `target` (its values in C order) and `shape` (its dimensions).

    Raises:
        ValueError: the record would not fit into one frame.
    """
    values = np.ascontiguousarray(probabilities, dtype="<f4").data.cast("B")
    dimensions = b"".join(_varint(length) for length in probabilities.shape)
    record = _feature(b"target", _FLOAT32_TENSOR, values) + _feature(b"shape", _INT32_TENSOR, dimensions)
    if len(record) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(record)} bytes is more than a frame holds ({MAX_RECORD_BYTES})")
    padding = b"\0" * (-len(record) % 4)
    return b"".join((struct.pack("<II", MAGIC, len(record)), record, padding))


def _feature(key: bytes, tensor: int, packed: bytes | memoryview) -> bytes:
    """One entry of the map `features`: a key, and a Value that holds one tensor."""
    values = _header(1, len(packed))
    value = _header(tensor, len(values) + len(packed)) + values
    entry = _header(1, len(key)) + key + _header(2, len(value) + len(packed)) + value
    return b"".join((_header(_FEATURES, len(entry) + len(packed)), entry, packed))


def _header(field: int, length: int) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
