import errno
import sqlite3

import pytest

from finetune_server.errors import ApiError, UnknownBase, error_body, is_disk_full, model_not_found
from tests.openai_schemas import check_schema


def test_an_error_is_answered_in_openais_envelope():
    error = ApiError(400, "no", param="p", code="c")
    assert error.body() == error_body("no", param="p", code="c")
    assert error.body() == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "p", "code": "c"}
    }
    check_schema("ErrorResponse", error.body())
    check_schema("ErrorResponse", error_body("no"))


def test_the_client_is_told_whether_to_repeat_the_request():
    assert ApiError(429, "no").headers() == {"x-should-retry": "false"}
    assert ApiError(503, "no", is_retryable=True).headers() == {"x-should-retry": "true"}


def test_an_unknown_base_says_how_to_get_it():
    error = UnknownBase("b", "Run `pip install b`.")
    assert isinstance(error, LookupError)
    assert str(error).endswith("is not available for fine-tuning or does not exist. Run `pip install b`.")
    assert str(UnknownBase("b")).endswith("does not exist.")


def test_a_model_that_is_not_there_is_named():
    error = model_not_found("m")
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert error.message.startswith("The model `m` does not exist or you do not have access to it.")


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError(errno.EACCES, "x"), False),
        (ValueError("disk is full"), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error, is_full):
    assert is_disk_full(error) is is_full


def test_a_store_that_cannot_grow_is_a_full_disk():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    with pytest.raises(sqlite3.OperationalError) as other:
        connection.execute("SELECT * FROM none")
    connection.close()
    assert is_disk_full(full.value)
    assert not is_disk_full(other.value)
