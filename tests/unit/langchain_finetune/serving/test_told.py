"""What a client is told of an error, and of an event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from langchain_finetune import errors
from langchain_finetune._spool import state_path
from langchain_finetune.serving.events import events_after, seen_event, server_sent
from langchain_finetune.serving.told import scrubbed, secrets_of, told_of
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ServedInputError("x"), 422),
        (errors.SelectionError("x"), 422),
        (errors.NotEnoughExamplesError("x"), 422),
        (errors.CostLimitError("x"), 422),
        (errors.AliasNotFoundError("x"), 404),
        (errors.JobNotFoundError("x"), 404),
        (errors.RateLimitedError("x", retry_after_seconds=3.0), 429),
        (errors.HostUnavailableError("x"), 502),
        (errors.NotSupportedError("x"), 501),
        (errors.JobError("x"), 409),
        (errors.StorageError("x"), 500),
        (errors.SourceError("x"), 500),
        (errors.MissingExtraError("x"), 500),
        (RuntimeError("x"), 500),
    ],
)
def test_each_error_has_its_status(error, status):
    told = told_of(error)
    assert told.status_code == status
    assert (told.message == "x") is (status < 500 or status in (501, 502))


@pytest.mark.parametrize("kind", [errors.AuthenticationFailedError, errors.AccessDeniedError])
def test_what_a_host_says_of_keys_is_told_without_its_words(kind):
    assert "secret" not in told_of(kind("the secret of the account")).message


def test_a_value_that_cannot_be_read_is_named_and_not_repeated():
    class Model(BaseModel):
        limit: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"limit": "secret"})
    told = told_of(caught.value)
    assert told.status_code == 422
    assert "limit" in told.message
    assert "secret" not in told.message


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-proj-abc_DEF-123 is odd", "key [key] is odd"),
        ("lsv2_pt_0123456789abcdef", "[key]"),
        ("Authorization: Bearer abc.def", "Authorization: [key]"),
        ("cannot read /srv/data/private/rows.jsonl, line 3", "cannot read rows.jsonl, line 3"),
        ("at https://user:pass@host.example/v1/models", "at https://[key]host.example/v1/models"),
        ("see https://platform.openai.com/docs/guides", "see https://platform.openai.com/docs/guides"),
        ("56/7 and a/b stay", "56/7 and a/b stay"),
        ("my word", "my word"),
    ],
)
def test_keys_and_places_are_taken_out(text, clean):
    assert scrubbed(text) == clean


def test_the_state_directory_is_no_clients_business():
    assert str(state_path()) not in scrubbed(f"cannot use {state_path()}/data/abc: disk full")


@given(
    st.text(max_size=30), st.text(max_size=30), st.text(alphabet="abcdef0123456789", min_size=8, max_size=20)
)
def test_a_known_key_is_in_no_text(before, after, secret):
    assert secret not in scrubbed(f"{before} {secret} {after}", [secret]).replace("[key]", "")


def test_the_keys_of_a_trainer_are_known(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient")
    assert {"sk-fake", "sk-ambient"} <= set(secrets_of(trainer_at(FakeHost())))


@given(
    st.dictionaries(
        st.sampled_from(["id", "type", "level", "message", "created_at", "data", "secret"]),
        st.none()
        | st.text(st.characters())
        | st.integers()
        | st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    )
)
def test_whatever_a_host_sends_is_an_event_on_its_own_lines(event):
    seen = seen_event(event)
    wire = server_sent("job_event", seen.data, seen.id)
    lines = wire.decode().split("\n")
    assert [line.partition(":")[0] for line in lines] == ["id", "event", "data", "", ""]
    assert "secret" not in json.loads(lines[2].removeprefix("data: "))


def test_half_a_character_is_no_reason_to_break_off():
    assert server_sent("x", seen_event({"message": "\ud800"}).data)


def test_who_comes_back_with_an_unknown_id_gets_all():
    events = [seen_event({"id": str(number), "message": "m"}) for number in range(4)]
    assert events_after(events, events[1].id) == events[2:]
    assert events_after(events, None) == events
    assert events_after(events, "unknown") == events
