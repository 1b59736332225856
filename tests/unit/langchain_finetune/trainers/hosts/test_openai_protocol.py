"""Each call of the protocol, sync and async, by the real client against the fake host's transport."""

import asyncio

import httpx2
import openai
import pytest

from langchain_finetune.errors import (
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    JobNotFoundError,
    UnknownBaseError,
)
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.hosts.openai_protocol import (
    cancel_job,
    create_job,
    download,
    events_since,
    find_model,
    is_model_ready,
    jobs_with_key,
    retrieve_job,
    retrieve_model,
    upload,
)
from langchain_finetune.trainers.jobs.key import KEY_FIELD
from tests.fakes.clients import clients, connection_to
from tests.fakes.colors import COLORS
from tests.fakes.loopback import Response
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan


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


async def test_a_host_that_sends_the_same_page_for_ever_is_not_asked_for_ever(do, host, tmp_path):
    job = await create(do, tmp_path)
    for number in range(5):
        host.add_event(job.id, f"event {number}")
    page = {"object": "list", "data": list(reversed(host.events[job.id])), "has_more": True}
    host.fail("GET", ".*/events", Response(200, page), times=99)
    assert len(await do(events_since(job.id, set()))) == 6
    assert len(host.sent("GET", ".*/events")) == 2


async def test_events_without_an_id_are_told_apart_by_what_they_say(do, host, tmp_path):
    job = await create(do, tmp_path)
    events = [{"message": text, "created_at": 1, "type": "message", "level": "info"} for text in "ba"]
    host.fail("GET", ".*/events", Response(200, {"data": events, "has_more": False}), times=9)
    assert [event["message"] for event in await do(events_since(job.id, set()))] == ["a", "b"]


@pytest.mark.parametrize("page", [{"object": "list", "data": None}, {"data": [], "has_more": True}])
async def test_an_empty_list_is_empty_however_it_is_written(do, host, page):
    host.fail("GET", ".*/events", Response(200, page))
    assert await do(events_since("ftjob-1", set())) == []


@pytest.mark.parametrize("body", [{}, {"object": "list"}, [], None, "text", {"data": "text"}])
async def test_a_list_that_is_none_is_an_error_of_the_host_and_no_empty_list(do, host, body):
    host.fail("GET", ".*/events", Response(200, body))
    with pytest.raises(HostUnavailableError):
        await do(events_since("ftjob-1", set()))


async def test_a_further_page_that_fails_for_now_is_asked_again(host, tmp_path):
    slept = []
    connection = connection_to(host)
    connection._sleep = slept.append
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n")
    file_id = connection.run(upload(path, "rows.jsonl"))
    job = connection.run(create_job({"model": "gpt-4.1-mini-2025-04-14", "training_file": file_id}))
    host.event_page_size = 4
    for number in range(9):
        host.add_event(job.id, f"event {number}")
    answer, calls = host._list_events, []

    def list_events(request, job_id):
        calls.append(request)
        if len(calls) in (2, 3):
            raise Refusal(503, "not now")
        return answer(request, job_id)

    host._list_events = list_events
    assert len(connection.run(events_since(job.id, set(), is_poll=True))) == 10
    assert slept == [0.5, 1.0]


async def test_a_file_is_downloaded_byte_for_byte(do, host):
    host.contents["file-1"] = b"\xff\x00step\r\n"
    assert await do(download("file-1")) == b"\xff\x00step\r\n"
    with pytest.raises(HostError, match="No such File"):
        await do(download("file-2"))


# --- whether a model can be asked ---

TUNED = "ft:gpt-4.1-mini-2025-04-14:fake::a"
GONE = Refusal(404, "The model does not exist", "model_not_found").response


async def test_a_model_that_is_described_is_ready_and_not_asked(do, host):
    host.models[TUNED] = host._model(TUNED)
    assert await do(is_model_ready(TUNED, "ftjob-1"))
    assert host.sent("POST", "/chat/completions") == []


@pytest.mark.parametrize(
    "refusal", [GONE, Refusal(403, "no").response, Refusal(404, "no such route").response]
)
async def test_a_host_that_does_not_list_tuned_models_is_asked_for_one_token(do, host, refusal):
    host.models[TUNED] = host._model(TUNED)
    host.fail("GET", "/models/.*", refusal)
    assert await do(is_model_ready(TUNED, "ftjob-1"))
    [request] = host.sent("POST", "/chat/completions")
    assert (request.body["max_tokens"], "ftjob-1" in str(request.body["messages"])) == (1, True)


async def test_a_model_that_is_nowhere_is_not_ready(do):
    assert not await do(is_model_ready(TUNED, "ftjob-1"))


@pytest.mark.parametrize(("status", "ready"), [(400, True), (403, True), (404, False)])
async def test_whoever_objects_to_the_question_knows_the_model(do, host, status, ready):
    host.fail("POST", "/chat/completions", Refusal(status, "no").response)
    assert await do(is_model_ready(TUNED, "ftjob-1")) is ready


@pytest.mark.parametrize("path", ["/models/.*", "/chat/completions"])
@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_question_that_is_not_answered_for_now_tells_nothing(do, host, path, status):
    for method in ("GET", "POST"):
        host.fail(method, path, status)
    with pytest.raises(HostError):
        await do(is_model_ready(TUNED, "ftjob-1"))


async def test_the_question_is_not_recorded_as_the_applications_own(host):
    recorded = []
    given = clients(host)
    for client in given.values():
        create = client.chat.completions.create
        client.chat.completions.create = lambda *a, create=create, **k: recorded.append(k) or create(*a, **k)
    connection = Connection(OPENAI, **given)
    connection.run(is_model_ready(TUNED, "ftjob-1"))
    await connection.arun(is_model_ready(TUNED, "ftjob-1"))
    assert len(host.sent("POST", "/chat/completions")) == 2
    assert recorded == []


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
