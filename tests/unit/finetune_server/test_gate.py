import errno
import json
import logging
from pathlib import Path

import pytest

from finetune_server import gate
from finetune_server.gate import Activity, Gate
from finetune_server.keys import KeyCheck, KeyFile, digest_of
from finetune_server.logs import JsonFormatter
from tests.openai_schemas import check_schema

NOWHERE = KeyFile(Path("/nonexistent/keys.json"))


async def ask(  # noqa: PLR0913 - a request
    app, *, path="/v1/x", key="k", body=b"", headers=(), activity=None, method="POST", peer="127.0.0.1"
):
    """What a client gets: status, headers, body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "client": (peer, 1), "server": ("10.0.0.1", 2)}
    scope["headers"] = [(b"authorization", f"Bearer {key}".encode()), *headers] if key else [*headers]
    keys = KeyCheck(digest_of("k"), named=NOWHERE)
    guard = Gate(app, keys=keys, activity=activity or Activity(), max_body_bytes=10)
    await guard(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content


async def ok(_scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize(
    ("key", "message"), [(None, "You didn't provide an API key."), ("x", "Incorrect API key provided.")]
)
async def test_without_the_key_the_app_is_not_asked(key, message):
    async def never(*_args):
        pytest.fail("the app was asked")

    status, headers, content = await ask(never, key=key)
    assert status == 401
    assert json.loads(content)["error"]["message"].startswith(message)
    check_schema("ErrorResponse", json.loads(content))
    assert headers[b"x-request-id"].startswith(b"req-")


async def test_the_health_check_needs_no_key_and_is_no_activity(monkeypatch):
    activity = Activity()
    monkeypatch.setattr(activity, "begin", lambda: pytest.fail("counted"))
    assert (await ask(ok, path="/healthz", key=None, activity=activity))[0] == 200


def told(caplog):
    """The log's entries, as the server writes them."""
    records = [record for record in caplog.records if record.name == gate.__name__]
    return [json.loads(JsonFormatter().format(record)) for record in records]


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", [], 200),
        ("10.0.0.1", [], 200),
        ("10.0.0.9", [], 401),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], 401),
        ("10.0.0.9", [(b"x-forwarded-for", b"127.0.0.1")], 401),
    ],
)
async def test_the_local_key_is_for_this_machine_and_not_for_what_a_proxy_passes_on(peer, headers, status):
    answered, _, content = await ask(ok, peer=peer, headers=headers)
    assert answered == status
    assert status == 200 or b"langchain-finetune keys create NAME" in content


async def test_a_page_in_a_browser_is_not_let_in_nor_told_that_it_might(caplog):
    origin = [(b"origin", b"https://evil.example"), (b"access-control-request-method", b"POST")]
    for method, path in (("OPTIONS", "/v1/files"), ("POST", "/v1/files"), ("GET", "/openapi.json")):
        status, headers, _ = await ask(ok, method=method, path=path, key=None, headers=origin)
        assert status == 401
        assert not [name for name in headers if name.startswith(b"access-control-")]


async def test_the_request_line_says_who_asked_what_and_never_the_key(caplog):
    with caplog.at_level(logging.INFO):
        await ask(ok, path="/v1/x" + "y" * 500)
        await ask(ok, key="wrong-xyzzy")
    first, second = told(caplog)
    assert (first["message"], first["method"], first["status"]) == ("request", "POST", 200)
    assert first["path"].startswith("/v1/xyyy")
    assert len(first["path"]) == 200
    assert (first["peer"], first["caller"]) == ("127.0.0.1", "local")
    assert (second["status"], second["caller"]) == (401, None)
    assert "xyzzy" not in json.dumps(second)


async def test_every_answer_has_a_request_id():
    status, headers, content = await ask(ok)
    assert (status, content) == (200, b"ok")
    assert headers[b"x-request-id"].startswith(b"req-")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValueError("xyzzy"), 500, "internal_error"),
        (OSError(errno.ENOSPC, "xyzzy"), 507, "insufficient_storage"),
    ],
)
async def test_an_error_nobody_expected_is_told_to_the_log_without_its_words(error, status, code, caplog):
    async def fail(*_args):
        raise error

    with caplog.at_level(logging.INFO):
        answered, headers, content = await ask(fail)
    assert answered == status
    assert json.loads(content)["error"]["code"] == code
    assert headers[b"x-should-retry"] == b"false"
    assert b"xyzzy" not in content
    failed, request = told(caplog)
    assert (failed["message"], failed["error"]) == ("request failed", type(error).__name__)
    assert failed["traceback"].endswith(" fail")
    assert headers[b"x-request-id"].decode() == failed["id"] == request["id"]
    assert "xyzzy" not in json.dumps([failed, request])


async def test_an_error_after_the_answer_began_is_logged_and_not_answered_twice(caplog):
    async def fail_late(scope, receive, send):
        await ok(scope, receive, send)
        raise ValueError

    assert (await ask(fail_late))[0] == 200
    assert [each.get("error") for each in told(caplog)] == ["ValueError"]


async def test_a_body_over_the_bound_is_refused_when_announced_and_when_not():
    announced = await ask(ok, headers=[(b"content-length", b"11")])
    assert announced[0] == 413
    assert (await ask(ok, headers=[(b"content-length", b"10")]))[0] == 200
    with pytest.raises(gate.HTTPException) as caught:
        await ask_through_fastapi(b"x" * 11)
    assert caught.value.status_code == 413


async def ask_through_fastapi(body: bytes) -> None:
    """As FastAPI does: the exception of `receive` reaches its handlers."""
    raised = []

    async def reads(scope, receive, send):
        try:
            await receive()
        except gate.HTTPException as error:
            raised.append(error)
        await ok(scope, receive_nothing, send)

    await ask(reads, body=body)
    raise raised[0]


async def receive_nothing():
    return {"type": "http.disconnect"}


async def test_an_upload_is_not_bound_by_the_gate():
    assert (await ask(ok, path="/v1/files", body=b"x" * 99, headers=[(b"content-length", b"99")]))[0] == 200


async def test_idleness_counts_from_the_end_of_the_last_request(monkeypatch):
    now = 100.0
    monkeypatch.setattr(gate.time, "monotonic", lambda: now)
    activity = Activity()
    now = 110.0
    assert activity.idle_seconds() == 10
    activity.begin()
    now = 120.0
    assert activity.idle_seconds() == 0
    activity.end()
    now = 125.0
    assert activity.idle_seconds() == 5
