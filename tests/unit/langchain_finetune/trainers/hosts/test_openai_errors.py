import pickle

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    TrainingDataError,
    TrainingNotAvailable,
    UnknownBaseError,
)
from langchain_finetune.hosts import AZURE, LOCAL, OPENAI
from langchain_finetune.trainers.hosts.openai_errors import error_of
from langchain_finetune.trainers.hosts.refusals import is_ambiguous, is_transient
from tests.fakes.loopback import Response
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.refusals import PER_DAY, REFUSALS

REFUSED_TRAINING = (
    "OpenAI is winding down the fine-tuning platform and your organization is no longer able to create new "
    "fine-tuning training jobs. Learn more https://developers.openai.com/api/docs/deprecations"
)


def raised_by_client(answer) -> openai.APIError:
    """What the real client makes of an answer."""
    host = FakeHost()
    host.fail("GET", "/models", answer)
    http_client = httpx2.Client(transport=host.transport())
    client = openai.OpenAI(
        api_key="sk-fake", base_url="http://host/v1", http_client=http_client, max_retries=0
    )
    with pytest.raises(openai.APIError) as caught:
        client.models.list()
    return caught.value


def mapped(answer, host=OPENAI):
    return error_of(raised_by_client(answer), host)


def refusal(status, message, code=None, param=None):
    return Refusal(status, message, code, param).response


def test_the_end_of_self_serve_training_has_its_own_error_with_alternatives():
    error = mapped(refusal(403, REFUSED_TRAINING, "training_not_available"))
    assert isinstance(error, TrainingNotAvailable)
    assert (error.status_code, error.code) == (403, "training_not_available")
    assert REFUSED_TRAINING in str(error)
    assert "local:smollm2-135m-instruct" in str(error)
    for fact in ("2027-01-06", "2027-01-14", "https://developers.openai.com/api/docs/deprecations"):
        assert fact in str(error)
    assert not error.is_retryable


def test_openais_dates_are_not_told_of_another_host():
    error = mapped(refusal(403, "closed", "training_not_available"), AZURE)
    assert isinstance(error, TrainingNotAvailable)
    assert "2027" not in str(error)
    assert "local:smollm2-135m-instruct" in str(error)


def test_a_refused_key_says_where_a_key_comes_from_and_shows_none():
    error = mapped(refusal(401, "Incorrect API key provided: sk-fa****ke.", "invalid_api_key"))
    assert isinstance(error, AuthenticationFailedError)
    assert "OPENAI_API_KEY" in str(error)
    assert "sk-fa" not in str(error)


def test_a_refused_key_of_the_embedded_server_says_how_to_restart_it():
    assert "langchain-finetune stop" in str(mapped(refusal(401, "no", "invalid_api_key"), LOCAL))


@pytest.mark.parametrize(("status", "code"), [(404, "model_not_found"), (400, "model_not_available")])
def test_an_unknown_base_has_its_own_error(status, code):
    error = mapped(refusal(status, "The model 'gpt-9' does not exist", code, "model"))
    assert isinstance(error, UnknownBaseError)
    assert "gpt-9" in str(error)


def test_any_other_refusal_carries_what_the_host_said():
    error = mapped(refusal(400, "seed is too large", "invalid_value", "seed"))
    assert type(error) is HostError
    assert (error.status_code, error.code, error.param) == (400, "invalid_value", "seed")
    assert str(error) == "OpenAI answered 400: seed is too large (code invalid_value)"


def test_a_refusal_that_is_no_json_is_told_by_its_status():
    answer = Response(503, b"<html>gateway</html>", {"content-type": "text/html"})
    assert str(mapped(answer)) == "OpenAI answered 503: HTTP status 503"


@pytest.mark.parametrize(
    ("exception", "text"),
    [
        (httpx2.ConnectError("refused"), "cannot be reached"),
        (httpx2.ReadError("reset"), "cannot be reached"),
        (httpx2.ReadTimeout("slow"), "did not answer in time"),
    ],
)
def test_a_broken_connection_is_unreachable_and_worth_another_try(exception, text):
    error = mapped(exception)
    assert isinstance(error, HostUnreachableError)
    assert text in str(error)
    assert error.is_retryable


@pytest.mark.parametrize(
    ("answer", "transient", "ambiguous"),
    [
        (refusal(400, "no"), False, False),
        (refusal(401, "no"), False, False),
        (refusal(403, "no", "training_not_available"), False, False),
        (refusal(404, "no"), False, False),
        (refusal(408, "slow"), True, True),
        (refusal(409, "conflict"), True, True),
        (refusal(429, "later"), True, False),
        (refusal(429, "later", "daily_rate_limit_exceeded"), False, False),
        (refusal(429, "pay first", "insufficient_quota"), False, False),
        (refusal(500, "oops"), True, True),
        (refusal(502, "oops"), True, True),
        (refusal(501, "no such call"), False, False),
        (refusal(503, "oops"), True, True),
        (httpx2.ConnectError("refused"), True, True),
        (httpx2.ReadTimeout("slow"), True, True),
    ],
)
def test_what_is_worth_another_look_and_what_may_have_been_done(answer, transient, ambiguous):
    error = mapped(answer)
    assert (is_transient(error), is_ambiguous(error)) == (transient, ambiguous)


def test_an_unknown_base_is_neither():
    error = mapped(refusal(404, "no", "model_not_found"))
    assert not is_transient(error)
    assert not is_ambiguous(error)


@pytest.mark.parametrize(("status", "code", "message", "kind", "is_retryable"), REFUSALS)
def test_each_refusal_has_its_class_and_says_whether_to_come_again(status, code, message, kind, is_retryable):
    error = mapped(refusal(status, message, code))
    assert type(error) is kind
    assert error.is_retryable == is_retryable
    assert message.rstrip(".") in str(error)


def test_a_file_that_the_host_refuses_is_training_data_that_no_host_accepts():
    assert isinstance(mapped(refusal(400, "no", "invalid_file_format")), TrainingDataError)


def test_a_file_that_is_gone_at_the_host_is_no_fault_of_its_rows():
    error = mapped(refusal(400, "training_file file-1 does not exist", "invalid_file", "training_file"))
    assert type(error) is HostError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Sun, 22 Nov 2026 10:00:30 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "soon"}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_the_host_asks_to_be_left_alone_is_carried(status, headers, seconds):
    assert mapped(Response(status, {"error": {"message": "later"}}, headers)).retry_after_seconds == seconds


def test_the_daily_limit_ends_at_midnight_utc():
    daily = raised_by_client(refusal(429, PER_DAY, "daily_rate_limit_exceeded"))
    assert error_of(daily, OPENAI, 86_400.0 * 20_000 + 3600).retry_after_seconds == 23 * 3600.0


def test_an_error_survives_another_process_with_all_it_carries():
    error = mapped(Response(429, {"error": {"message": "later", "code": "c"}}, {"retry-after": "3"}))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CLIENT = openai.OpenAI(api_key="sk-fake", base_url="http://host/v1")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([400, 401, 402, 403, 404, 409, 429, 500, 501, 529]),
    st.dictionaries(st.sampled_from(["message", "code", "param", "type"]), JSON),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_any_refusal_is_read_without_a_crash(status, error, header):
    request = httpx2.Request("GET", "http://host/v1/models")
    answer = httpx2.Response(status, json={"error": error}, headers={"retry-after": header}, request=request)
    raised = CLIENT._make_status_error_from_response(answer)
    mapped_error = error_of(raised, OPENAI)
    assert str(mapped_error)
    if isinstance(mapped_error, HostError):
        assert mapped_error.code is None or isinstance(mapped_error.code, str)
        assert mapped_error.param is None or isinstance(mapped_error.param, str)
