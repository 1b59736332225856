import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.trainers.jobs.result_file import parse_result_file

AZURE = (
    "step,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy,full_valid_loss,"
    "full_valid_mean_token_accuracy\r\n1,1.5,0.5,,,,\r\n2,1.25,0.75,2.5,0.25,2.0,0.3\r\n"
)


@pytest.mark.parametrize("coded", [bytes, base64.b64encode, base64.encodebytes])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_columns_are_read_by_their_names_and_empty_cells_left_out(coded, encoding):
    first, second = parse_result_file(coded(AZURE.encode(encoding)))
    assert first == {"step": 1, "train_loss": 1.5, "train_mean_token_accuracy": 0.5}
    assert second["full_valid_loss"] == 2.0
    assert isinstance(second["step"], int)


def test_what_is_no_number_and_lines_without_a_step_are_left_out():
    assert parse_result_file(b"train_loss, step\nnan,1\n0.5,x\n0.25,3,9\n\n") == [
        {"step": 1},
        {"step": 3, "train_loss": 0.25},
    ]


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff\xfe", b"loss\n1\n", base64.b64encode(b"no")])
def test_what_is_no_result_file_is_refused(content):
    with pytest.raises(ValueError, match="column `step`"):
        parse_result_file(content)


@given(st.binary() | st.text().map(lambda text: f"step,{text}".encode()))
def test_any_bytes_are_read_or_refused(content):
    try:
        rows = parse_result_file(content)
    except ValueError as e:
        assert "step" in str(e)  # noqa: PT017  both ends are fine, no other is
    else:
        assert all(math.isfinite(figure) for row in rows for figure in row.values())
