"""Writes answers of the built-in algorithm's endpoint to the documented format, with Google's protobuf library.

    python tests/data/aws/write_recordio.py

The message is ``aialgs.data.Record`` of record.proto, as "Common data formats for training" in the SageMaker developer
guide has it; the frame is MXNet's RecordIO. Nothing of ours takes part. The probabilities are
those of 3 classes for an image of 5 x 4 pixels, written class by class in one file and pixel by pixel in the other.
"""

import struct
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

CLASSES, HEIGHT, WIDTH = 3, 4, 5
_MAGIC = 0xCED7230A
_Field = descriptor_pb2.FieldDescriptorProto
_TENSORS = (
    ("float32_tensor", 2, "Float32Tensor", _Field.TYPE_FLOAT),
    ("float64_tensor", 3, "Float64Tensor", _Field.TYPE_DOUBLE),
    ("int32_tensor", 7, "Int32Tensor", _Field.TYPE_INT32),
)
_SPARSE = (("keys", _Field.TYPE_UINT64), ("shape", _Field.TYPE_UINT64))  # unused by dense tensors


def record_class() -> Any:
    """The message's class, from its definition."""
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="aialgs.data", syntax="proto2")
    value = descriptor_pb2.DescriptorProto(name="Value")
    value.oneof_decl.add(name="value")
    for name, number, tensor, kind in _TENSORS:
        message = file.message_type.add(name=tensor)
        for place, (field, of) in enumerate((("values", kind), *_SPARSE), start=1):
            made = message.field.add(name=field, number=place, type=of, label=_Field.LABEL_REPEATED)
            made.options.packed = True
        where = f".aialgs.data.{tensor}"
        value.field.add(name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=where, oneof_index=0, label=1)
    file.message_type.append(value)
    record = file.message_type.add(name="Record")
    for number, name in enumerate(("features", "label"), start=1):
        entry = record.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=1)
        entry.field.add(name="value", number=2, type=_Field.TYPE_MESSAGE, type_name=".aialgs.data.Value", label=1)
        where = f".aialgs.data.Record.{entry.name}"
        kind, repeated = _Field.TYPE_MESSAGE, _Field.LABEL_REPEATED
        record.field.add(name=name, number=number, type=kind, type_name=where, label=repeated)
    for number, name in enumerate(("uid", "metadata", "configuration"), start=3):
        record.field.add(name=name, number=number, type=_Field.TYPE_STRING, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))


def probability(index: int, row: int, column: int) -> float:
    """A number of its own for each class and pixel, which float32 holds exactly."""
    return (index * HEIGHT * WIDTH + row * WIDTH + column) / 64


def frame(shape: tuple[int, ...], values: list[float]) -> bytes:
    """The answer."""
    record = record_class()()
    record.features["target"].float32_tensor.values.extend(values)
    record.features["shape"].int32_tensor.values.extend(shape)
    body: bytes = record.SerializeToString(deterministic=True)
    return struct.pack("<II", _MAGIC, len(body)) + body + b"\0" * (-len(body) % 4)


def main() -> None:
    """Write both files beside this one."""
    classes, rows, columns = range(CLASSES), range(HEIGHT), range(WIDTH)
    first = [probability(c, y, x) for c in classes for y in rows for x in columns]
    last = [probability(c, y, x) for y in rows for x in columns for c in classes]
    folder = Path(__file__).parent
    (folder / "probabilities_classes_first.recordio").write_bytes(frame((1, CLASSES, HEIGHT, WIDTH), first))
    (folder / "probabilities_classes_last.recordio").write_bytes(frame((HEIGHT, WIDTH, CLASSES), last))


if __name__ == "__main__":
    main()
