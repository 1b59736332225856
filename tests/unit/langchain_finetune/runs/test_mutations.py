"""The mutation fuzzer: a damaged run ends as one session or one rejection, and says nothing less than it did.

`make fuzz` reads 100,000 mutants, `make test` 2,000; `FUZZ_MUTANTS` and `FUZZ_SEED` choose others.
"""

import os
import signal
from collections import Counter
from contextlib import contextmanager

import orjson
import pytest

from langchain_finetune import RunExportLoader
from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import SENTENCES, Rejection, read_example, read_run
from tests.fakes.recorded_runs import DATA
from tests.fakes.run_mutations import DAMAGES, mutants, records_in

NUM_MUTANTS = int(os.environ.get("FUZZ_MUTANTS", "2000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
NUM_SHARDS = 8
RECORDS = records_in(DATA)
# Far above what a mutant takes on the busiest machine: only a hang comes to it.
HANG_SECONDS = 120


@contextmanager
def no_hang():
    def give_up(*_):
        msg = f"a mutant is read for more than {HANG_SECONDS} seconds"
        raise AssertionError(msg)

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def id_of(record):
    value = record.get("id") if isinstance(record, dict) else None
    return str(value) if isinstance(value, str | int) else ""


def assert_outcome(record, read=read_run):
    with no_hang():
        outcome = read(record)
        again = read(record)
    assert repr(outcome) == repr(again)
    assert outcome.run_id == id_of(record)
    if isinstance(outcome, Rejection):
        assert outcome.reason in SENTENCES
        return "rejected"
    assert isinstance(outcome, RecordedSession)
    assert_in_form(outcome)
    assert_nothing_lost(record, outcome)
    return "read"


def assert_in_form(session):
    assert session.messages
    assert session.answer["role"] == "assistant"
    for message in (*session.messages, session.answer, *session.candidates):
        assert message.keys() <= {
            *("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal"),
        }
        assert isinstance(message["role"], str)
        assert isinstance(message["content"], str | list | None)
        for call in message.get("tool_calls", ()):
            assert call.keys() == {"id", "type", "function"}
            assert isinstance(call["function"]["arguments"], str)
    num_turns = 1 + sum(message["role"] == "assistant" for message in session.messages)
    assert session.reasoning is None or len(session.reasoning) == num_turns
    for tool in session.tools or ():
        assert isinstance(tool["function"], dict)
    problem = problem_of(session)
    # The loader rejects these as `not_json`; never for its depth.
    assert problem is None or "surrogates" in problem or "Integer" in problem


def problem_of(session):
    try:
        orjson.dumps(session)
    except TypeError as e:
        return str(e)
    return None


# --- nothing is lost ------------------------------------------------------------------------------------


def assert_nothing_lost(record, session):
    """Whatever the prompt's messages say, the session says."""
    said = set(texts_of([session.messages, session.answer, session.reasoning]))
    whole = "\0".join(said)
    for text in (*spoken_in(record), *answered_in(record)):
        assert text in said or text in whole, f"lost: {text[:80]!r}"
    extra = record.get("extra")
    parameters = extra.get("invocation_params") if isinstance(extra, dict) else None
    for schemas in ("tools", "functions"):
        if isinstance(parameters, dict) and parameters.get(schemas):
            assert getattr(session, schemas), f"lost: {schemas}"


def texts_of(value):
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)


def spoken_in(record):
    """Yield the texts and the called names of a prompt, as plainly as they can be found."""
    inputs = record.get("inputs")
    messages = inputs.get("messages") if isinstance(inputs, dict) else None
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], list):
        messages = messages[0]
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        fields = message.get("kwargs", message) if "lc" in message else message
        if not isinstance(fields, dict):
            continue
        yield from spoken_by(fields)


def answered_in(record):
    """Yield the text of the first answer, where it is one text."""
    outputs = record.get("outputs")
    if not isinstance(outputs, dict) or {"generations", "choices"} <= outputs.keys():
        return
    answer = outputs.get("generations") or outputs.get("choices")
    while isinstance(answer, list) and answer:
        answer = answer[0]
    message = answer.get("message") if isinstance(answer, dict) else None
    if isinstance(message, dict):
        fields = message.get("kwargs", message) if "lc" in message else message
        if isinstance(fields, dict) and isinstance(fields.get("content"), str):
            yield fields["content"]


def spoken_by(fields):
    content = fields.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for block in blocks:
        is_text = isinstance(block, dict) and block.get("type") == "text"
        if is_text and isinstance(block.get("text"), str):
            yield block["text"]
    kind = fields.get("type", fields.get("role"))
    calls = fields.get("tool_calls")
    if kind in ("ai", "assistant") and isinstance(calls, list):
        for call in calls:
            if isinstance(call, dict) and isinstance(call.get("name"), str):
                yield call["name"]


def shown(mutant):
    try:
        return repr(mutant)[:3000]
    except RecursionError:
        return "(too deep to show)"


@pytest.mark.parametrize("shard", range(NUM_SHARDS))
def test_every_mutant_ends_in_a_session_or_a_rejection(shard):
    outcomes: Counter[str] = Counter()
    for damages, mutant in mutants(RECORDS, NUM_MUTANTS // NUM_SHARDS, SEED * NUM_SHARDS + shard):
        try:
            outcomes[assert_outcome(mutant)] += 1
            if isinstance(mutant, dict):
                assert isinstance(read_example(mutant), RecordedSession | Rejection)
        except Exception as e:
            e.add_note(f"damages: {damages}, run: {shown(mutant)}")
            raise
    assert min(outcomes["read"], outcomes["rejected"]) > 0.05 * outcomes.total()


def test_every_damage_is_done():
    done = {name for names, _ in mutants(RECORDS, 1000, 1) for name in names.split("+")}
    assert done >= {*DAMAGES} - {"many", "huge"}


def test_the_loader_counts_every_mutant_once(tmp_path):
    kept = [
        {**mutant, "id": f"run-{number}", "run_type": "llm"}
        for number, (_, mutant) in enumerate(mutants(RECORDS, 150, 7))
        if isinstance(mutant, dict)
    ]
    lines = [line for mutant in kept if (line := line_of(mutant)) is not None]
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b"".join(lines))
    loaded = RunExportLoader(path, include_errors=True, include_tuned=True).invoke({})
    assert loaded.num_runs == loaded.num_sessions + loaded.num_rejected == len(lines)


def line_of(mutant):
    try:
        return orjson.dumps(mutant, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return None
