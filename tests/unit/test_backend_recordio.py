"""Class probabilities out of RecordIO and protobuf, against an encoder of Amazon's published layout."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from backend.errors import AwsError
from backend.recordio import decode_probabilities

AWS = Path(__file__).parents[1] / "data" / "aws"
VALUES = np.random.default_rng(1).random((3, 4, 5), np.float32)  # classes, height, width


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def message(number: int, body: bytes) -> bytes:
    """A field of protobuf's wire type 2."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def feature(name: str, kind: int, packed: bytes) -> bytes:
    """An entry of ``Record.features``: a Value with a tensor in the field *kind* of its oneof."""
    return message(1, message(1, name.encode()) + message(2, message(kind, message(1, packed))))


def record(tensor: NDArray[Any], *, shape: tuple[int, ...] | None = None, extra: bytes = b"") -> bytes:
    sizes = b"".join(varint(size) for size in shape or tensor.shape)
    return feature("target", 2, tensor.astype("<f4").tobytes()) + extra + feature("shape", 7, sizes)


def framed(body: bytes, *, magic: int = 0xCED7230A, length: int | None = None) -> bytes:
    return struct.pack("<II", magic, len(body) if length is None else length) + body + b"\0" * (-len(body) % 4)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(VALUES, id="classes first"),
        pytest.param(VALUES[None], id="classes second of four, as Amazon's notebook shows"),
        pytest.param(VALUES.transpose(1, 2, 0), id="classes last, as Amazon documents"),
        pytest.param(VALUES.transpose(1, 2, 0)[None], id="classes last of four"),
    ],
)
def test_both_documented_shapes_are_read(tensor: NDArray[Any]):
    np.testing.assert_array_equal(decode_probabilities(framed(record(tensor)), 3), VALUES)


@pytest.mark.parametrize(
    "name",
    [
        # The guide, "Semantic Segmentation Algorithm": the classes are the third dimension.
        pytest.param("probabilities_classes_last", id="as the SageMaker developer guide documents"),
        # sm-semantic_segmentation.ipynb of amazon-sagemaker-examples squeezes it, then takes argmax over the first.
        pytest.param("probabilities_classes_first", id="as Amazon's example notebook reads it"),
    ],
)
def test_what_googles_library_wrote_by_the_documented_definition_is_decoded(name: str):
    """The files are of tests/data/aws/write_recordio.py, which knows nothing of ours."""
    body = (AWS / f"{name}.recordio").read_bytes()

    np.testing.assert_array_equal(decode_probabilities(body, 3), np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 64)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(2, 5), st.integers(6, 9), st.integers(6, 9)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_what_was_encoded_is_decoded(values: NDArray[Any]):
    np.testing.assert_array_equal(decode_probabilities(framed(record(values)), len(values)), values)


def test_other_fields_are_passed_over():
    extra = (
        varint(2 << 3 | 0)
        + varint(300)
        + varint(3 << 3 | 5)
        + bytes(4)
        + varint(4 << 3 | 1)
        + bytes(8)
        + message(2, b"label")
    )

    np.testing.assert_array_equal(decode_probabilities(framed(record(VALUES, extra=extra)), 3), VALUES)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"", "no RecordIO record", id="empty"),
        pytest.param(b"<html>busy</html>", "magic number", id="a web page"),
        pytest.param(framed(record(VALUES), magic=1), "magic number", id="another magic"),
        pytest.param(framed(record(VALUES), length=10_000), "cut off", id="cut off"),
        pytest.param(framed(record(VALUES)[:40]), "no RecordIO record", id="a record that ends in a value"),
        pytest.param(framed(b"\x80"), "no RecordIO record", id="half a number"),
        pytest.param(framed(varint(1 << 3 | 3)), "wire type 3", id="a wire type that protobuf dropped"),
        pytest.param(framed(message(2, b"x")), "shape", id="no features"),
        pytest.param(framed(record(VALUES, shape=(3, 4, 6))), "has 60 values", id="a shape that does not fit"),
        pytest.param(framed(record(VALUES * np.nan)), "no finite numbers", id="not a number"),
        pytest.param(framed(record(VALUES.reshape(60))), "tensor of shape", id="one axis"),
        pytest.param(
            framed(record(VALUES.transpose(1, 0, 2))), "wanted probabilities of 3 classes", id="classes between"
        ),
        pytest.param(framed(record(np.stack([VALUES, VALUES]))), "tensor of shape", id="two images"),
    ],
)
def test_an_answer_that_is_no_such_record_says_what_is_wrong(body: bytes, problem: str):
    with pytest.raises(AwsError, match=problem):
        decode_probabilities(body, 3)


@given(st.binary(max_size=80))
def test_no_answer_raises_anything_else(body: bytes):
    with pytest.raises(AwsError):
        decode_probabilities(framed(body), 3)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_a_damaged_record_raises_nothing_else(place: int, damage: bytes):
    body = bytearray(framed(record(VALUES)))
    body[place : place + len(damage)] = damage

    try:
        decode_probabilities(bytes(body), 3)
    except AwsError:
        return
