"""What a GGUF file says of itself."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_server.gguf_header import TensorPlace, is_gguf, read_gguf_header


@pytest.fixture(scope="module")
def small_gguf(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("text", "grüß")
    writer.add_bool("yes", True)
    writer.add_float32("half", 0.5)
    writer.add_int8("small", -3)
    writer.add_uint64("large", 2**40)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("words", ["a", "", "Ġb"])
    writer.add_tensor("first", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("second", np.arange(4, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_every_kind_of_value_is_read(small_gguf):
    metadata = read_gguf_header(small_gguf).metadata

    assert metadata["general.architecture"] == "llama"
    assert metadata["text"] == "grüß"
    assert metadata["yes"] is True
    assert metadata["half"] == 0.5
    assert metadata["small"] == -3
    assert metadata["large"] == 2**40
    assert metadata["numbers"] == [1, 2, 3]
    assert metadata["words"] == ["a", "", "Ġb"]


def test_tensors_are_found_where_they_lie(small_gguf):
    first, second = read_gguf_header(small_gguf).tensors
    raw = small_gguf.read_bytes()

    assert first == TensorPlace("first", (2, 3), gguf.GGMLQuantizationType.F32, first.offset)
    assert np.frombuffer(raw, np.float32, 6, first.offset).tolist() == [0, 1, 2, 3, 4, 5]
    assert second == TensorPlace("second", (4,), gguf.GGMLQuantizationType.F16, second.offset)
    assert np.frombuffer(raw, np.float16, 4, second.offset).tolist() == [0, 1, 2, 3]


def test_a_gguf_file_is_known_by_its_first_bytes(small_gguf, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04")

    assert is_gguf(small_gguf)
    assert not is_gguf(other)
    assert not is_gguf(tmp_path / "missing.gguf")
    assert not is_gguf(tmp_path)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"no GGUF")

    with pytest.raises(ValueError, match="is no GGUF file"):
        read_gguf_header(path)


def test_an_unknown_version_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + (99).to_bytes(4, "little") + bytes(16))

    with pytest.raises(ValueError, match="damaged or cut off"):
        read_gguf_header(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_header_is_an_error_that_names_the_file(small_gguf, tmp_path, data):
    raw = bytearray(small_gguf.read_bytes())
    for place in data.draw(st.lists(st.integers(4, 300), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(raw[: data.draw(st.integers(4, len(raw)))])

    try:
        read_gguf_header(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017 - damage may also go unseen, as in a string
