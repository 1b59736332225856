import httpx2
import openai
import pytest

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnreachableError,
    TrainingNotAvailable,
    UnknownBaseError,
)
from langchain_finetune.hosts import LOCAL, OPENAI
from langchain_finetune.trainers.openai_errors import error_of, is_ambiguous, is_transient
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_host import HostError as Refusal

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
    assert not error.is_retryable


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
    from tests.fakes.openai_host import Response  # noqa: PLC0415

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
        (refusal(429, "later", "daily_rate_limit_exceeded"), True, False),
        (refusal(500, "oops"), True, True),
        (refusal(502, "oops"), True, True),
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
