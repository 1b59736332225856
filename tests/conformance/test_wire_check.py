"""The kit's own check: what breaks a schema is found, whatever the test asserts."""

import httpx2
import openai
import pytest

from tests.conformance.wire_check import CheckedTransport, WireCheck

FILE = {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "a", "status": "processed"}
EVENT = b'data: {"id": 1}\n\n'


def answers(status: int = 200, **answer):
    """The faults that a host's answers have, to a retrieved file and to a streamed chat."""
    wire = WireCheck("http://host/v1")
    transport = CheckedTransport(httpx2.MockTransport(lambda _: httpx2.Response(status, **answer)), wire)
    return wire, httpx2.Client(transport=transport, base_url="http://host/v1")


@pytest.mark.parametrize(
    ("status", "answer", "fault"),
    [
        (200, {"json": FILE}, "'purpose' is a required property"),
        (200, {"json": FILE | {"purpose": "fine-tune", "bytes": "1"}}, "'1' is not of type 'integer'"),
        (200, {"text": "no json"}, "assert"),
        (200, {"content": EVENT, "headers": {"content-type": "text/event-stream"}}, "no end"),
        (201, {"json": FILE | {"purpose": "fine-tune"}}, "201"),
        (404, {"json": {"detail": "Not Found"}}, "'error' is a required property"),
        (502, {"text": "Bad Gateway"}, "Expecting value"),
    ],
)
def test_an_answer_that_breaks_its_schema_is_a_fault(status, answer, fault):
    wire, client = answers(status, **answer)
    client.get("/files/file-1")
    assert len(wire.faults) == 1
    assert fault in wire.faults[0] or fault == "assert"


def test_an_endpoint_without_a_known_schema_is_a_fault():
    wire, client = answers(json={})
    client.get("/files/file-1/more")
    assert "no schema of this endpoint is known" in wire.faults[0]


def test_a_chunk_that_breaks_its_schema_is_a_fault():
    content = EVENT + b"data: [DONE]\n\n"
    wire, client = answers(content=content, headers={"content-type": "text/event-stream"})
    client.post("/chat/completions")
    assert "CreateChatCompletionStreamResponse" in wire.faults[0]


def test_a_good_answer_is_no_fault_and_is_counted():
    wire, client = answers(json=FILE | {"purpose": "fine-tune"})
    openai_client = openai.OpenAI(base_url="http://host/v1", api_key="k", http_client=client)
    assert openai_client.files.retrieve("file-1").id == "file-1"
    assert (wire.faults, wire.answered) == ([], {"GET /files/{id}"})


def test_a_name_with_a_slash_is_one_name():
    model = {"id": "ft:/a/b", "object": "model", "created": 1, "owned_by": "me"}
    wire, client = answers(json=model)
    openai_client = openai.OpenAI(base_url="http://host/v1", api_key="k", http_client=client)
    openai_client.models.retrieve("ft:/a/b")
    assert (wire.faults, wire.answered) == ([], {"GET /models/{id}"})
