import pytest
from pydantic import ValidationError

from finetune_server.jobs.job_request import JobRequest
from finetune_server.request_errors import error_of_http, error_of_validation
from tests.openai_schemas import check_schema

WHOLE = {"model": "m", "training_file": "f"}


def error_of(**change):
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(WHOLE | change)
    faults = [fault | {"loc": ("body", *fault["loc"])} for fault in caught.value.errors()]
    return error_of_validation(faults)


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        ({"model": None}, "Invalid 'model': Input should be a valid string.", "invalid_type"),
        ({"other": 1}, "Unknown parameter: 'other'.", "unknown_parameter"),
        ({"method": {}}, "Missing required parameter: 'method.type'.", "missing_required_parameter"),
        (
            {"hyperparameters": {"n_epochs": 0}},
            (
                "Invalid 'hyperparameters.n_epochs': Input should be 'auto'; "
                "Input should be greater than or equal to 1."
            ),
            "invalid_value",
        ),
        ({"suffix": "\ud800"}, "Invalid 'suffix': Input should be a valid string", "invalid_value"),
    ],
)
def test_the_parameter_at_fault_is_named_as_the_client_wrote_it(change, message, code):
    error = error_of(**change)
    assert error.status == 400
    assert error.message.startswith(message)
    assert error.code == code
    assert f"'{error.param}'" in message
    check_schema("ErrorResponse", error.body())


def test_the_value_that_was_sent_is_not_repeated():
    assert "xyzzy" not in error_of(suffix="xyzzy" * 20).message
    assert "xyzzy" not in error_of(seed="xyzzy").message


def test_a_body_that_is_no_json_has_openais_words():
    error = error_of_validation([{"type": "json_invalid", "loc": ("body", 3), "msg": "x"}])
    assert error.message.startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (404, "Invalid URL (GET /v1/x)", "unknown_url"),
        (405, "Not allowed to GET on /v1/x", "method_not_supported"),
        (413, "too long", "body_too_large"),
        (400, "too long", "invalid_request"),
    ],
)
def test_what_no_route_takes_is_answered_in_the_envelope(status, message, code):
    error = error_of_http(status, "too long", "GET", "/v1/x")
    assert (error.status, error.message, error.code) == (status, message, code)
