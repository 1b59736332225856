import asyncio
import json

import httpx2
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_finetune import _spool
from langchain_finetune.errors import HostError, SourceNotFoundError, TrainingDataError
from langchain_finetune.evaluators import ModelComparison
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_answers import schema_errors
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import TOOL, call, rows, training_data


@pytest.fixture
def host():
    """A host whose tuned models call the calculator and whose bases talk."""
    host = FakeHost()

    def answer(body):
        number = body["messages"][-1]["content"].removeprefix("Reckon ")
        if body["model"].startswith("ft:"):
            return {
                "role": "assistant",
                "content": None,
                "tool_calls": [call(arguments=f'{{"num1": {number}.0}}')],
            }
        return {"role": "assistant", "content": "Let me calculate that for you."}

    host.answer = answer
    return host


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


class Watcher(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.events = []
        self.metadata = []

    def on_custom_event(self, name, data, *, run_id, **kwargs):
        self.events.append((name, data))

    def on_chat_model_start(self, serialized, messages, *, run_id, metadata=None, **kwargs):
        self.metadata.append(metadata["langchain_finetune"])


def tuned(host, data=None):
    return trainer_at(host).invoke(data or training_data())


def asked(host):
    return host.sent("POST", "/chat/completions")


async def test_base_and_tuned_are_compared_on_the_held_out_rows(host, color):
    model = tuned(host)
    report = await color(ModelComparison(), "invoke", model)
    assert (report.base_exact, report.tuned_exact) == (0.0, 1.0)
    assert (report.num_held_out, report.num_asked, report.num_failed) == (3, 6, 0)
    assert (report.base, report.tuned) == ("gpt-4.1-mini-2025-04-14", model.model_name)
    assert report.job_id == next(iter(host.jobs))
    assert report.regressions == report.tuned_misses == ()


async def test_the_questions_are_the_recorded_prompts_with_their_tools(host, color):
    await color(ModelComparison(), "invoke", tuned(host))
    for request in asked(host):
        assert schema_errors("CreateChatCompletionRequest", request.body) == []
        assert request.body["tools"] == [TOOL]
        assert request.body["temperature"] == 0
        assert 64 <= request.body["max_completion_tokens"] < 200
        assert [message["role"] for message in request.body["messages"]] == ["user"]


async def test_a_second_comparison_asks_nothing(host, color):
    model = tuned(host)
    first = await color(ModelComparison(), "invoke", model)
    num_asked = len(asked(host))
    second = await color(ModelComparison(), "invoke", model)
    assert len(asked(host)) == num_asked
    assert (second.num_asked, second.reused) == (0, True)
    assert (second.base_exact, second.tuned_exact) == (first.base_exact, first.tuned_exact)


async def test_other_settings_or_another_base_are_asked_anew(host, color):
    model = tuned(host)
    await color(ModelComparison(), "invoke", model)
    other = model.model_copy(update={"top_p": 0.5})
    assert (await color(ModelComparison(), "invoke", other)).num_asked == 6
    host.models["gpt-4.1"] = host._model("gpt-4.1")
    baseline = model.model_copy(update={"model_name": "gpt-4.1"})
    report = await color(ModelComparison(baseline=baseline), "invoke", model)
    assert (report.base, report.num_asked) == ("gpt-4.1", 3)


async def test_a_comparison_that_broke_off_goes_on_where_it_was(host, color):
    model, broken_off = tuned(host), RuntimeError("broken off")

    class Stop(BaseCallbackHandler):
        raise_error = run_inline = True

        def on_custom_event(self, name, data, *, run_id, **kwargs):
            if data["done"] == 2:
                raise broken_off

    with pytest.raises(RuntimeError, match="broken off"):
        await color(ModelComparison(), "invoke", model, {"callbacks": [Stop()], "max_concurrency": 1})
    report = await color(ModelComparison(), "invoke", model)
    assert report.num_asked in (3, 4)
    assert report.tuned_exact == 1.0


async def test_a_question_that_fails_is_a_miss_with_its_error_and_is_asked_again(host, color):
    model = tuned(host)
    host.fail("POST", "/chat/completions", Refusal(400, "too long").response)
    first = await color(ModelComparison(), "invoke", model)
    assert first.num_failed == 1
    assert "too long" in first.errors[0]
    second = await color(ModelComparison(), "invoke", model)
    assert (second.num_asked, second.num_failed) == (1, 0)


async def test_a_host_that_answers_nothing_is_no_result(host, color):
    model = tuned(host)
    host.fail("POST", "/chat/completions", 500, times=99)
    with pytest.raises(HostError, match="answered none of 3 questions"):
        await color(ModelComparison(), "invoke", model)


async def test_progress_is_told_after_each_answer(host, color):
    watcher = Watcher()
    await color(ModelComparison(), "invoke", tuned(host), {"callbacks": [watcher]})
    assert [name for name, _ in watcher.events] == ["langchain_finetune_compare"] * 6
    assert [data["done"] for _, data in watcher.events] == [1, 2, 3, 1, 2, 3]
    assert watcher.events[0][1]["model"] == "gpt-4.1-mini-2025-04-14"
    assert watcher.events[-1][1]["total"] == 3


async def test_every_call_is_marked_as_this_packages_own(host, color):
    watcher = Watcher()
    await color(ModelComparison(), "invoke", tuned(host), {"callbacks": [watcher]})
    assert watcher.metadata == ["comparison"] * 6


@pytest.mark.parametrize(("limit", "most"), [(None, 8), (1, 1)])
async def test_no_more_questions_at_a_time_than_allowed(host, color, limit, most):
    model = tuned(host, training_data(num_test=12))
    config = {"max_concurrency": limit} if limit else {}
    now, peak = [0], [0]

    class Gauge(BaseCallbackHandler):
        run_inline = True

        def on_chat_model_start(self, *args, **kwargs):
            now[0] += 1
            peak[0] = max(peak[0], now[0])

        def on_llm_end(self, *args, **kwargs):
            now[0] -= 1

    await color(ModelComparison(), "invoke", model, {**config, "callbacks": [Gauge()]})
    assert 1 <= peak[0] <= most


async def test_a_cancellation_asks_no_further(host):
    model = tuned(host, training_data(num_test=12))
    started, release, num_asked = asyncio.Event(), asyncio.Event(), [0]

    async def hang(_):
        num_asked[0] += 1
        started.set()
        await release.wait()
        return httpx2.Response(400)

    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(hang))
    slow = ChatOpenAI(
        model=model.model_name, api_key="k", base_url="http://host/v1", http_async_client=http_client
    )
    slow = slow.model_copy(update={"metadata": model.metadata})
    task = asyncio.create_task(ModelComparison().ainvoke(slow, {"max_concurrency": 2}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await asyncio.sleep(0.2)
    assert num_asked[0] <= 2


def test_rows_without_a_held_out_split_say_how_to_get_one(host):
    with pytest.raises(TrainingDataError, match="test_fraction="):
        ModelComparison().invoke(tuned(host, _spool.training_data_from(rows())))


def test_rows_that_were_cleaned_away_are_named(host):
    data = training_data()
    model = tuned(host, data)
    _spool.clean(older_than_days=0)
    with pytest.raises(SourceNotFoundError, match=data.fingerprint[:16]):
        ModelComparison().invoke(model)


def test_a_model_of_someone_else_is_refused():
    with pytest.raises(TrainingDataError, match="names no training data"):
        ModelComparison().invoke(ChatOpenAI(model="gpt-4.1", api_key="k"))
    with pytest.raises(TypeError, match="not a str"):
        ModelComparison().invoke("gpt-4.1")


def test_it_is_the_end_of_a_pipe(host):
    pipe = RunnableLambda(lambda _: training_data()) | trainer_at(host) | ModelComparison()
    report = pipe.invoke("x")
    assert report.tuned_exact == 1.0
    assert json.loads(report.model_dump_json())["num_held_out"] == 3
    assert pipe.get_output_jsonschema()["properties"]["tuned_exact"]
    assert ModelComparison().get_input_jsonschema()


def test_printed_it_is_a_table(host):
    report = ModelComparison().invoke(tuned(host))
    lines = str(report).splitlines()
    assert lines[0].split() == ["model", "exact", "match", "95", "%", "interval"]
    assert lines[1].split()[:2] == ["gpt-4.1-mini-2025-04-14", "0.0%"]
    assert lines[2].split()[1:] == ["100.0%", "43.9%", "to", "100.0%"]
    assert lines[3] == "gain +100.0% (+29.2% to +100.0%): 3 wins, 0 losses, 0 ties"
    assert lines[4].startswith("3 held-out rows, 6 questions asked in ")
