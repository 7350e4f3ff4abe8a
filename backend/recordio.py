"""Class probabilities as the built-in algorithm sends them: RecordIO around a protobuf ``aialgs.data.Record``. Pure.

Frame: magic 0xCED7230A, a word with the length in its lower 29 bits, the record, padding to four bytes. Record: map
``features`` of ``Value``; ``target`` holds float32 values, ``shape`` int32 ones. The layout is that of
``record.proto`` in Amazon's documentation of SageMaker's common data formats; reading these two fields takes less
code than the generated module and its run-time library.
"""

import math
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backend.errors import AwsError

MEDIA_TYPE = "application/x-protobuf"
_MAGIC = 0xCED7230A
_FEATURES, _KEY, _VALUE = 1, 1, 2  # Record.features; a map entry's key and value
_FLOAT32, _INT32 = 2, 7  # fields of Value's oneof
_VALUES = 1  # the numbers of either tensor
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode_probabilities(body: bytes, classes: int) -> NDArray[np.float32]:
    """Probabilities of shape (classes, height, width).

    Amazon documents the classes as the last axis and shows them, in its notebook, as the second of four; so the axis
    is taken whose length is *classes*.

    Raises:
        AwsError: *body* is no such record, or has no axis of that length.
    """
    try:
        features = _features(memoryview(_record(body)))
        shape = tuple(int(number) for number in _varints(features["shape"], _INT32))
        values = np.frombuffer(_tensor(features["target"], _FLOAT32), "<f4")
    except (KeyError, ValueError, IndexError, struct.error) as error:
        raise AwsError(f"the endpoint's answer is no RecordIO record with a tensor: {error}") from error
    if math.prod(shape) != values.size:
        raise AwsError(f"the endpoint's tensor says shape {shape} but has {values.size} values")
    if not np.isfinite(values).all():
        raise AwsError("the endpoint's tensor holds values that are no finite numbers")
    return _classes_first(values.reshape(shape), classes)


def _classes_first(tensor: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    while tensor.ndim > 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim == 3 and tensor.shape[0] == classes:
        return tensor
    if tensor.ndim == 3 and tensor.shape[2] == classes:
        return np.ascontiguousarray(tensor.transpose(2, 0, 1))
    raise AwsError(f"wanted probabilities of {classes} classes, the endpoint sent a tensor of shape {tensor.shape}")


def _record(body: bytes) -> bytes:
    magic, word = struct.unpack_from("<II", body)
    if magic != _MAGIC:
        raise ValueError("it does not begin with RecordIO's magic number")
    length = word & 0x1FFFFFFF
    if len(body) < 8 + length:
        raise ValueError(f"it was cut off: {len(body) - 8} of {length} bytes")
    return body[8 : 8 + length]


def _features(record: memoryview) -> dict[str, memoryview]:
    features = {}
    for number, entry in _fields(record):
        if number == _FEATURES:
            parts = dict(_fields(entry))
            features[bytes(parts[_KEY]).decode()] = parts[_VALUE]
    return features


def _tensor(value: memoryview, kind: int) -> memoryview:
    """The packed numbers of a Value's tensor."""
    tensor = dict(_fields(value))[kind]
    return dict(_fields(tensor))[_VALUES]


def _varints(value: memoryview, kind: int) -> Iterator[int]:
    packed, position = _tensor(value, kind), 0
    while position < len(packed):
        number, position = _varint(packed, position)
        yield number


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each field; fields that are plain numbers are passed over."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, position = _varint(message, position)
            yield number, message[position : position + length]
            position += length
        else:
            position = _skip(message, position, kind)


def _skip(message: memoryview, position: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(message, position)[1]
    if kind in {_FIXED32, _FIXED64}:
        return position + (4 if kind == _FIXED32 else 8)
    raise ValueError(f"unknown protobuf wire type {kind}")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
