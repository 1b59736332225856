"""Each call of the protocol, sync and async, by the real client against the fake host's transport."""

import asyncio

import httpx2
import openai
import pytest

from langchain_finetune.errors import HostError, HostUnreachableError, JobNotFoundError, UnknownBaseError
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.connection import Connection
from langchain_finetune.trainers.key import KEY_FIELD
from langchain_finetune.trainers.openai_protocol import (
    cancel_job,
    create_job,
    events_since,
    find_model,
    jobs_with_key,
    retrieve_job,
    retrieve_model,
    upload,
)
from tests.fakes.clients import connection_to
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost, Plan, Response
from tests.fakes.openai_host import HostError as Refusal


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture(params=["sync", "async"])
def do(request, host):
    """Does an exchange in one of the two colors."""
    connection = connection_to(host)

    async def run(exchange):
        return await COLORS[request.param](connection, "run", exchange)

    return run


async def create(do, tmp_path, **more):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n")
    file_id = await do(upload(path, "rows.jsonl"))
    return await do(create_job({"model": "gpt-4.1-mini-2025-04-14", "training_file": file_id, **more}))


async def test_an_upload_sends_the_bytes_as_they_are(do, host, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"text": "öß\\n\r"}\r\n{}\n'.encode())
    file_id = await do(upload(path, "train-abc.jsonl"))
    assert host.contents[file_id] == path.read_bytes()
    assert host.files[file_id]["filename"] == "train-abc.jsonl"


async def test_a_job_is_created_without_the_fields_that_are_none(do, host, tmp_path):
    job = await create(do, tmp_path, suffix=None, seed=None, metadata={KEY_FIELD: "k"})
    assert job.status == "validating_files"
    [request] = host.sent("POST", "/fine_tuning/jobs")
    assert set(request.body) == {"model", "training_file", "metadata"}


async def test_a_job_is_posted_once_whatever_the_client_would_do(host, tmp_path):
    connection = connection_to(host, max_retries=5)
    host.fail("POST", "/fine_tuning/jobs", 500)
    with pytest.raises(HostError):
        connection.run(create_job({"model": "gpt-4.1-mini-2025-04-14", "training_file": "file-1"}))
    assert len(host.sent("POST", "/fine_tuning/jobs")) == 1


async def test_jobs_are_found_by_their_key_newest_first(do, tmp_path):
    first = await create(do, tmp_path, metadata={KEY_FIELD: "k"})
    await create(do, tmp_path, metadata={KEY_FIELD: "other"})
    second = await create(do, tmp_path, metadata={KEY_FIELD: "k"})
    assert [job.id for job in await do(jobs_with_key("k"))] == [second.id, first.id]
    assert await do(jobs_with_key("none")) == []


async def test_a_host_that_lists_everything_is_not_believed(do, host, tmp_path, monkeypatch):
    mine = await create(do, tmp_path, metadata={KEY_FIELD: "k"})
    for _ in range(120):
        await create(do, tmp_path, metadata={KEY_FIELD: "other"})
    unfiltered = host._list_jobs
    monkeypatch.setattr(
        host, "_list_jobs", lambda r: unfiltered(type(r)(r.method, r.path, _unfiltered(r.query)))
    )
    assert [job.id for job in await do(jobs_with_key("k"))] == [mine.id]
    assert len(host.sent("GET", "/fine_tuning/jobs")) == 2


def _unfiltered(query):
    return {name: values for name, values in query.items() if not name.startswith("metadata")}


async def test_events_come_oldest_first_across_pages_and_each_once(do, host, tmp_path):
    job = await create(do, tmp_path)
    host.event_page_size = 3
    for number in range(10):
        host.add_event(job.id, f"event {number}")
    events = await do(events_since(job.id, set()))
    assert [event["message"] for event in events[1:]] == [f"event {number}" for number in range(10)]
    seen = {event["id"] for event in events}
    assert await do(events_since(job.id, seen)) == []
    host.add_event(job.id, "new")
    assert [event["message"] for event in await do(events_since(job.id, seen))] == ["new"]


async def test_new_events_while_paging_are_no_gap_and_no_repeat(do, host, tmp_path):
    job = await create(do, tmp_path)
    host.event_page_size = 2
    for number in range(6):
        host.add_event(job.id, f"event {number}")
    listed, answer = [], host._list_events

    def list_events(request, job_id):
        page = answer(request, job_id)
        host.add_event(job_id, f"late {len(listed)}")
        listed.append(page)
        return page

    host._list_events = list_events
    first = await do(events_since(job.id, set()))
    host._list_events = answer
    rest = await do(events_since(job.id, {event["id"] for event in first}))
    got = [event["id"] for event in first + rest]
    assert got == [event["id"] for event in host.events[job.id]]


@pytest.mark.parametrize("exchange", [retrieve_job, cancel_job, lambda job_id: events_since(job_id, set())])
async def test_a_job_that_the_host_does_not_have_is_named(do, exchange):
    with pytest.raises(JobNotFoundError, match="ftjob-none") as caught:
        await do(exchange("ftjob-none"))
    assert caught.value.job_id == "ftjob-none"


async def test_states_and_errors_that_the_client_does_not_know_are_read(do, host, tmp_path):
    host.plan = Plan(states=("reticulating", "reticulating"), error="odd")
    job = await create(do, tmp_path)
    assert job.status == "reticulating"
    assert (await do(retrieve_job(job.id))).status == "reticulating"


async def test_a_model_is_described_or_unknown(do):
    assert (await do(retrieve_model("gpt-4.1-mini-2025-04-14")))["owned_by"] == "fake"
    assert await do(find_model("gpt-9")) is None
    with pytest.raises(UnknownBaseError):
        await do(retrieve_model("gpt-9"))


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_a_host_that_does_not_talk_of_models_is_no_host_without_the_model(do, host, status):
    host.fail("GET", "/models/.*", Refusal(status, "not for you").response)
    assert await do(find_model("gpt-4.1-mini-2025-04-14")) == {}


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"<html>Sign in</html>", {"content-type": "text/html"}),
        Response(200, b'{"id": "ftjob-', {"content-type": "application/json"}),
        Response(200, b"\xff\xfe", {"content-type": "application/json"}),
        Response(200, b"{}", {"content-type": "application/json"}),
        Response(200, b"[]", {"content-type": "application/json"}),
        Response(200, b"null", {"content-type": "application/json"}),
    ],
)
async def test_an_answer_that_is_no_job_is_an_error_of_the_host(do, host, answer):
    host.fail("GET", "/fine_tuning/jobs/.*", answer)
    with pytest.raises(HostError) as caught:
        await do(retrieve_job("ftjob-1"))
    assert caught.value.status_code == 502


async def test_a_cancellation_reaches_the_request_under_way(host):
    started = asyncio.Event()

    async def hang(_):
        started.set()
        await asyncio.sleep(60)

    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(hang))
    client = openai.AsyncOpenAI(api_key="k", base_url="http://host/v1", http_client=http_client)
    task = asyncio.create_task(Connection(OPENAI, async_client=client).arun(retrieve_job("ftjob-1")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_polls_are_short_and_left_to_the_loop_around_them(host):
    connection = connection_to(host, max_retries=5)
    host.fail("GET", "/fine_tuning/jobs/.*", httpx2.ReadError("reset"), times=10)
    with pytest.raises(HostUnreachableError):
        connection.run(retrieve_job("ftjob-1", is_poll=True))
    assert len(host.requests) == 1
