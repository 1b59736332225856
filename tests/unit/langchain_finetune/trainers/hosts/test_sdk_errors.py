"""What the SDKs of Together and Fireworks raise has the classes that OpenAI's refusals have."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostUnreachableError,
    RateLimitedError,
    TrainingNotAvailable,
)
from langchain_finetune.hosts import FIREWORKS, TOGETHER
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.hosts.sdk_errors import error_of
from tests.fakes.refusals import PER_DAY, REFUSALS

HOSTS = {"together": TOGETHER, "fireworks": FIREWORKS}


@pytest.fixture(params=sorted(HOSTS))
def mapped(request):
    """What becomes of an answer, by the real SDK of a host."""
    sdk = pytest.importorskip(
        request.param,
        reason=f"{request.param} is NOT tested: pip install 'langchain-finetune[{request.param}]'",
    )

    def error_for(answer, now=None):
        def respond(asked):
            if isinstance(answer, Exception):
                raise answer
            return answer

        http = httpx.Client(transport=httpx.MockTransport(respond))
        given = {"api_key": "secret", "http_client": http, "base_url": "http://host", "max_retries": 0}
        if request.param == "together":
            ask = sdk.Together(**given).files.list
        else:
            ask = sdk.Fireworks(account_id="acme", **given).datasets.list
        with pytest.raises(Exception) as caught:  # noqa: PT011  whatever the SDK has
            ask()
        return error_of(caught.value, HOSTS[request.param], now)

    return error_for


def refusal(status, message, code=None, headers=None):
    return httpx.Response(status, json={"error": {"message": message, "code": code}}, headers=headers)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: f"{case[0]} {case[1]}")
def test_each_refusal_has_its_class_and_says_whether_to_come_again(mapped, case):
    status, code, message, kind, is_retryable = case
    error = mapped(refusal(status, message, code))
    assert type(error) is kind
    assert error.is_retryable == is_retryable
    assert message.rstrip(".") in str(error)


def test_how_long_the_host_asks_to_be_left_alone_is_carried(mapped):
    error = mapped(refusal(429, "slow down", headers={"retry-after": "7"}))
    assert (type(error), error.retry_after_seconds) == (RateLimitedError, 7.0)
    assert "in 7 s" in str(error)
    daily = mapped(refusal(429, PER_DAY), 86_400.0 * 20_000 + 3600)
    assert (daily.retry_after_seconds, is_transient(daily)) == (23 * 3600.0, False)


def test_a_refused_key_is_not_told_and_has_its_variable(mapped):
    error = mapped(refusal(401, "bad key secret"))
    assert isinstance(error, AuthenticationFailedError)
    assert "_API_KEY, or give `api_key=`" in str(error)
    assert "secret" not in str(error)


def test_an_account_that_may_train_no_more_is_told_where_it_still_can(mapped):
    error = mapped(refusal(403, "closed", "training_not_available"))
    assert isinstance(error, TrainingNotAvailable)
    assert "local:smollm2-135m-instruct" in str(error)


@pytest.mark.parametrize(
    ("cause", "text"),
    [(httpx.ConnectError("refused"), "cannot be reached"), (httpx.ReadTimeout("slow"), "in time")],
)
def test_a_broken_connection_is_worth_another_try(mapped, cause, text):
    error = mapped(cause)
    assert isinstance(error, HostUnreachableError)
    assert text in str(error)
    assert error.is_retryable


class Raised(Exception):
    def __init__(self, status, body):
        super().__init__()
        self.status_code, self.body = status, body


@given(
    st.sampled_from([400, 401, 402, 403, 404, 409, 429, 500, 501, 529]),
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from(["error", "message", "code", "type"]), inner),
        max_leaves=4,
    ),
)
def test_any_body_is_read_without_a_crash(status, body):
    assert str(error_of(Raised(status, body), TOGETHER))
