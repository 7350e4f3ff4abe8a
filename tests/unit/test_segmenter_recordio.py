"""Probabilities as the built-in algorithm sends them: what other programs read must be what was written."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from segmenter import recordio
from segmenter.predictor import Probabilities

FieldType = descriptor_pb2.FieldDescriptorProto


def _record_class() -> Any:
    """The message aialgs.data.Record, as far as it matters here, from its documented definition."""
    file = descriptor_pb2.FileDescriptorProto(name="aialgs.proto", package="aialgs.data", syntax="proto2")
    for name, kind in (("Float32Tensor", FieldType.TYPE_FLOAT), ("Int32Tensor", FieldType.TYPE_INT32)):
        field = file.message_type.add(name=name).field.add(name="values", number=1, type=kind)
        field.label = FieldType.LABEL_REPEATED
        field.options.packed = True
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for name, number, kind in (("float32_tensor", 2, "Float32Tensor"), ("int32_tensor", 7, "Int32Tensor")):
        value.field.add(
            name=name,
            number=number,
            type=FieldType.TYPE_MESSAGE,
            type_name=f".aialgs.data.{kind}",
            oneof_index=0,
            label=1,
        )
    record = file.message_type.add(name="Record")
    entry = record.nested_type.add(name="FeaturesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=FieldType.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type=FieldType.TYPE_MESSAGE, type_name=".aialgs.data.Value", label=1)
    record.field.add(
        name="features", number=1, type=FieldType.TYPE_MESSAGE, type_name=".aialgs.data.Record.FeaturesEntry", label=3
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))


RECORD = _record_class()


def decode(frame: bytes) -> Probabilities:
    magic, length = struct.unpack_from("<II", frame)
    assert magic == 0xCED7230A
    record = RECORD.FromString(frame[8 : 8 + length])
    shape = record.features["shape"].int32_tensor.values
    values = record.features["target"].float32_tensor.values
    return np.array(values, np.float32).reshape(shape)


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=4), elements=st.floats(0, 1, width=32)))
def test_protobuf_reads_what_was_written(values: Probabilities):
    read = decode(recordio.encode(values))
    assert read.shape == values.shape
    assert np.array_equal(read, values)


@pytest.mark.parametrize("count", [1, 31, 32, 127, 128, 5000, 70000])
def test_lengths_of_one_to_three_bytes_are_written_right(count: int):
    values = np.linspace(0, 1, count, dtype=np.float32)
    assert np.array_equal(decode(recordio.encode(values)), values)


def test_a_frame_is_padded_to_four_bytes():
    assert len(recordio.encode(np.zeros((1, 3, 5, 7), np.float32))) % 4 == 0


def test_an_array_that_is_not_contiguous_is_written_in_its_own_order():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    assert np.array_equal(decode(recordio.encode(values)), values)
