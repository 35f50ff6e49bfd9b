"""TFRecords and Examples written without TensorFlow, compared with TensorFlow's."""

import contextlib
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dfdc_prep.errors import ShardError
from dfdc_prep.writing.tfrecord import encode_example, frame_record, parse_example, read_records

NUMBERS = st.integers(-(2**63), 2**63 - 1)


def feature(value: bytes | int) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


@given(
    st.dictionaries(st.text(min_size=3, max_size=3), st.binary(max_size=300) | NUMBERS, min_size=1)
)
def test_an_example_is_the_bytes_tensorflow_makes(content: dict[str, bytes | int]) -> None:
    features = tf.train.Features(feature={key: feature(value) for key, value in content.items()})
    theirs = tf.train.Example(features=features).SerializeToString(deterministic=True)
    assert encode_example(content) == theirs
    assert parse_example(theirs) == {key: [value] for key, value in content.items()}


def test_a_list_of_floats_or_of_several_values_is_read() -> None:
    features = {
        "floats": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, -2.0])),
        "numbers": tf.train.Feature(int64_list=tf.train.Int64List(value=[1, -1, 300])),
        "texts": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a", b""])),
        "unset": tf.train.Feature(),
    }
    data = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    found = parse_example(data)
    assert found["floats"] == [0.5, -2.0]
    assert found["numbers"] == [1, -1, 300]
    assert found["texts"] == [b"a", b""]
    assert found["unset"] == []


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x08\x01", b"\x0a\x02\x0a\x05", b"\xff" * 20, b"\x0f"]
)
def test_an_invalid_example_is_an_error(data: bytes) -> None:
    with pytest.raises(ShardError, match=r"expected a tf\.train\.Example"):
        parse_example(data)


@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_only_shard_errors(data: bytes) -> None:
    with contextlib.suppress(ShardError):
        assert isinstance(parse_example(data), dict)


def test_a_file_is_the_bytes_tensorflow_writes_and_reads_back(tmp_path: Path) -> None:
    data = [b"", b"one", bytes(range(256)) * 400]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in data:
            writer.write(record)
    assert b"".join(map(frame_record, data)) == (tmp_path / "theirs").read_bytes()
    assert list(read_records(tmp_path / "theirs")) == data


@pytest.mark.parametrize("place", range(16 + len(b"second")))
def test_a_flipped_byte_is_found_and_its_record_named(tmp_path: Path, place: int) -> None:
    data = bytearray(frame_record(b"first") + frame_record(b"second"))
    data[len(frame_record(b"first")) + place] ^= 1
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ShardError, match=r"record 1 has a wrong (length|data) checksum"):
        list(read_records(tmp_path / "file"))


@pytest.mark.parametrize("kept", [1, 11, 12, 14, 18])
def test_a_truncated_file_is_found(tmp_path: Path, kept: int) -> None:
    (tmp_path / "file").write_bytes(frame_record(b"one") + frame_record(b"two")[:kept])
    with pytest.raises(ShardError, match="record 1 is truncated"):
        list(read_records(tmp_path / "file"))
