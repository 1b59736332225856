"""Records runs with the real langsmith tracer and wrappers, without a network, for tests/data/runs.

`python -m tests.record_runs tests/data/runs` writes one file a scenario: what the tracer sent (`runs`) and
what the model's host was really sent (`model_requests`).
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import langsmith
import openai
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tracers.langchain import LangChainTracer
from langchain_openai import ChatOpenAI
from langsmith import RunTree, trace, traceable, tracing_context
from langsmith.wrappers import wrap_openai
from pydantic import BaseModel

PNG: Final = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Final = {
    "name": "get_weather",
    "description": "Get the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class Recorder:
    """Stands at the far side of both wires: the model's host and LangSmith."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.client = langsmith.Client(
            api_url="http://langsmith.invalid",
            api_key="none",
            session=_Session(self),
            auto_batch_tracing=False,
        )

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request for a completion or a response."""
        body = json.loads(request.content)
        self.requests.append(body)
        has_result = (
            "tool" in json.dumps(body.get("messages", ""))
            or "function_call_output" in request.content.decode()
        )
        if request.url.path.endswith("responses"):
            return httpx2.Response(200, json=_response(body, has_result=has_result))
        if body.get("stream"):
            chunks = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(body))
            return httpx2.Response(
                200, text=chunks + "data: [DONE]\n\n", headers={"content-type": "text/event-stream"}
            )
        return httpx2.Response(200, json=_completion(body, has_result=has_result))

    def openai(self) -> openai.OpenAI:
        """Return a client of the host."""
        return openai.OpenAI(
            api_key="none",
            base_url="http://openai.invalid/v1",
            http_client=httpx2.Client(transport=httpx2.MockTransport(self.answer)),
        )

    def chat_model(self, **settings: Any) -> ChatOpenAI:
        """Return LangChain's chat model of the host."""
        settings = {"model": "gpt-4o-mini", **settings}
        return ChatOpenAI(
            api_key="none",
            base_url="http://openai.invalid/v1",
            http_client=httpx2.Client(transport=httpx2.MockTransport(self.answer)),
            **settings,
        )

    def config(self, **metadata: Any) -> dict[str, Any]:
        """Return a config that traces to this recorder."""
        return {"callbacks": [LangChainTracer(client=self.client)], "metadata": metadata}


class _Session:
    """What langsmith's client uses of a requests session."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def mount(self, *_: Any) -> None:
        """Take an adapter."""

    def close(self) -> None:
        """Close nothing."""

    def request(self, method: str, url: str, *, data: Any = None, **_: Any) -> "_Answer":
        """Keep the run that is posted or patched."""
        if method in ("POST", "PATCH") and data and "/runs" in url:
            body = json.loads(data)
            run_id = body.get("id") or url.rpartition("/")[2]
            run = self._recorder.runs.setdefault(run_id, {"id": run_id})
            run.update({key: value for key, value in body.items() if value is not None})
        return _Answer()


class _Answer:
    """A response of LangSmith that says nothing."""

    status_code = 200
    text = "{}"

    def raise_for_status(self) -> None:
        """Accept everything."""

    def json(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


# --- the model ------------------------------------------------------------------------------------------


def _completion(body: dict[str, Any], *, has_result: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "It is sunny.", "refusal": None}
    reason = "stop"
    if body.get("tools") and not has_result:
        call = {"name": "get_weather", "arguments": '{"city": "Zürich"}'}
        message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": call}]}
        reason = "tool_calls"
    elif "response_format" in body:
        message["content"] = '{"name": "Ann", "age": 7}'
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1760000000,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
    }


def _chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "It is "}, None),
        ({"content": "sunny."}, None),
        ({}, "stop"),
    ]
    if body.get("tools"):
        first = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        }
        deltas[1:3] = [
            ({"tool_calls": [first]}, None),
            ({"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]}, None),
            ({"tool_calls": [{"index": 0, "function": {"arguments": '"Zürich"}'}}]}, None),
        ]
        deltas[-1] = ({}, "tool_calls")
    for delta, reason in deltas:
        yield {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1760000000,
            "model": body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }


def _response(body: dict[str, Any], *, has_result: bool) -> dict[str, Any]:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    text = {"type": "output_text", "text": "It is sunny.", "annotations": []}
    message = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city": "Zürich"}',
        "status": "completed",
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1760000000,
        "model": body["model"],
        "status": "completed",
        "output": [reasoning, call if body.get("tools") and not has_result else message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 20,
            "output_tokens": 10,
            "total_tokens": 30,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 4},
        },
    }


# --- scenarios ------------------------------------------------------------------------------------------


def responses_history(recorder: Recorder) -> None:
    """An image, a text of the model's own and a tool loop over the Responses API."""
    model = recorder.chat_model(model="gpt-5", use_responses_api=True, store=False).bind_tools([_tool()])
    question = HumanMessage(
        [
            {"type": "text", "text": "where?"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        ],
        name="ann",
    )
    history = [
        SystemMessage("Be brief."),
        question,
        AIMessage("In Zürich."),
        HumanMessage("And the weather?"),
    ]
    answer = model.invoke(history, recorder.config())
    model.invoke([*history, answer, ToolMessage("sunny", tool_call_id="call_1")], recorder.config())


def responses_instructions(recorder: Recorder) -> None:
    """Instructions bound to the model: they are in the request, not among the messages."""
    model = recorder.chat_model(model="gpt-5", use_responses_api=True, output_version="v0")
    model.bind(instructions="Be brief.").invoke([HumanMessage("hi")], recorder.config())


def structured_output(recorder: Recorder) -> None:
    """A class as the answer's form: the tracer writes down its name."""
    recorder.chat_model().with_structured_output(Person, method="json_schema").invoke(
        [HumanMessage("who?")], recorder.config()
    )


def langgraph_node(recorder: Recorder) -> None:
    """What LangGraph puts into the metadata of its nodes' calls."""
    config = recorder.config(
        thread_id="thread-1", langgraph_node="agent", langgraph_step=3, checkpoint_ns="agent:1", user="u-7"
    )
    model = recorder.chat_model(temperature=0).bind_tools([_tool()], parallel_tool_calls=False)
    call = {"name": "get_weather", "args": {"city": "Zürich"}, "id": "call_0", "type": "tool_call"}
    model.invoke(
        [HumanMessage("hi"), AIMessage("", tool_calls=[call]), ToolMessage("ok", tool_call_id="call_0")],
        config,
    )


def escaped_data(recorder: Recorder) -> None:
    """Arguments that look like LangChain's own objects."""
    call = {
        "name": "get_weather",
        "args": {"city": {"lc": 1, "type": "x"}},
        "id": "call_0",
        "type": "tool_call",
    }
    history = [HumanMessage("hi"), AIMessage("", tool_calls=[call]), ToolMessage("ok", tool_call_id="call_0")]
    recorder.chat_model().invoke(history, recorder.config())


def stream_tools(recorder: Recorder) -> None:
    """A streamed tool call: the arguments come in pieces."""
    model = recorder.chat_model().bind_tools([_tool()])
    for _ in model.stream([HumanMessage("weather?")], recorder.config()):
        pass


def wrapped_responses_tools(recorder: Recorder) -> None:
    """A tool loop over `wrap_openai`'s Responses API, the output handed back as it came."""
    client = _wrapped(recorder)
    tools: Any = [{"type": "function", **WEATHER, "strict": False}]
    items: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "weather?"},
    ]
    settings: Any = {"model": "gpt-5", "tools": tools, "parallel_tool_calls": False}
    response = client.responses.create(input=items, **settings)
    items += [*response.output, {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}]
    client.responses.create(input=items, **settings)


def wrapped_chat_tools(recorder: Recorder) -> None:
    """A tool loop over `wrap_openai`, the message object handed back as it came."""
    client = _wrapped(recorder)
    tools: Any = [{"type": "function", "function": WEATHER}]
    messages: list[Any] = [{"role": "user", "content": "weather?"}]
    completion = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)
    messages += [
        completion.choices[0].message,
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=tools)


def wrapped_chat_parse(recorder: Recorder) -> None:
    """`wrap_openai` with a class as the answer's form."""
    _wrapped(recorder).chat.completions.parse(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "who?"}], response_format=Person
    )


def traceable_completion(recorder: Recorder) -> None:
    """A function that returns the client's own object."""

    @traceable(run_type="llm", client=recorder.client)
    def call(messages: list[Any], model: str) -> Any:
        return recorder.openai().chat.completions.create(model=model, messages=messages)

    _traced(lambda: call([{"role": "user", "content": "weather?"}], "gpt-4o-mini"))


def traceable_chunks(recorder: Recorder) -> None:
    """Generators of the client's chunks, one with a text and one with a tool call."""

    @traceable(run_type="llm", client=recorder.client)
    def stream(messages: list[Any], **settings: Any) -> Any:
        yield from recorder.openai().chat.completions.create(
            model="gpt-4o-mini", messages=messages, stream=True, **settings
        )

    question = [{"role": "user", "content": "weather?"}]
    _traced(lambda: [*stream(question)])
    _traced(lambda: [*stream(question, tools=[{"type": "function", "function": WEATHER}])])


def traceable_message_chunks(recorder: Recorder) -> None:
    """An async generator of LangChain's chunks, and arguments with names of the application's own."""

    @traceable(run_type="llm", client=recorder.client)
    async def stream(system_prompt: str, conversation: list[Any]) -> Any:
        for text in ("It is ", "sunny."):
            yield AIMessageChunk(text)

    async def read() -> None:
        async for _ in stream("Be brief.", [HumanMessage("weather?")]):
            pass

    _traced(lambda: asyncio.run(read()))


def traceable_constructed(recorder: Recorder) -> None:
    """A function of one question that returns a LangChain message."""

    @traceable(run_type="llm", client=recorder.client)
    def ask(question: str, temperature: float) -> AIMessage:
        return AIMessage("It is sunny.")

    _traced(lambda: ask("weather?", 0.5))


def run_tree(recorder: Recorder) -> None:
    """A run that is put together by hand, and one within `trace`."""
    messages = [{"role": "user", "content": "weather?"}]
    run = RunTree(name="call", run_type="llm", inputs={"messages": messages}, ls_client=recorder.client)
    run.post()
    run.end(outputs={"output": {"role": "assistant", "content": "It is sunny."}})
    run.patch()
    with (
        tracing_context(enabled=True),
        trace("call", run_type="llm", inputs={"prompt": "weather?"}, client=recorder.client) as traced,
    ):
        traced.end(outputs={"completion": "It is sunny."})


def _tool() -> dict[str, Any]:
    return {"type": "function", "function": WEATHER}


def _wrapped(recorder: Recorder) -> Any:
    return wrap_openai(recorder.openai(), tracing_extra={"client": recorder.client, "enabled": True})


def _traced(call: Callable[[], object]) -> None:
    with tracing_context(enabled=True):
        call()


SCENARIOS: Final = (
    *(
        responses_history,
        responses_instructions,
        structured_output,
        langgraph_node,
        escaped_data,
        stream_tools,
    ),
    *(
        wrapped_responses_tools,
        wrapped_chat_tools,
        wrapped_chat_parse,
        traceable_completion,
        traceable_chunks,
    ),
    *(traceable_message_chunks, traceable_constructed, run_tree),
)


def record(folder: Path) -> None:
    """Write every scenario into a folder."""
    for scenario in SCENARIOS:
        recorder = Recorder()
        with tracing_context(enabled=True):
            scenario(recorder)
        content = {
            "scenario": scenario.__name__,
            "description": (scenario.__doc__ or "").strip(),
            "model_requests": recorder.requests,
            "runs": [_kept(run) for run in recorder.runs.values()],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / f"own__{scenario.__name__}.json").write_text(text + "\n")


def _kept(run: dict[str, Any]) -> dict[str, Any]:
    kept = {key: run[key] for key in KEPT if key in run}
    kept["extra"] = {key: value for key, value in run["extra"].items() if key != "runtime"}  # this machine's
    return kept


KEPT: Final = (
    *("id", "trace_id", "dotted_order", "parent_run_id", "name", "run_type", "start_time", "end_time"),
    *("inputs", "outputs", "extra", "error", "tags", "events"),
)

if __name__ == "__main__":
    record(Path(sys.argv[1]))
