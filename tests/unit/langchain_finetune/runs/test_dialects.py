import dataclasses

import orjson
import pytest

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs import Rejection, read_fields, read_run
from langchain_finetune.runs.call import call_of
from langchain_finetune.runs.dialects import DIALECTS
from tests.fakes.recorded_runs import DATA, recorded


@pytest.mark.parametrize(
    ("recording", "dialect"),
    [
        ("core1__plain", "langchain"),
        ("core1__responses_tools_v0", "langchain"),
        ("ls015__openai_plain", "openai_chat"),
        ("ls015__openai_responses_str", "openai_responses"),
        ("ls015__anthropic_plain", "anthropic"),
        ("ls015__traceable_string", "traceable"),
    ],
)
def test_a_recording_is_read_in_its_dialect(recording, dialect):
    run = recorded(recording)["runs"][0]
    call = call_of("r", run, run["inputs"], run["outputs"])
    first = next(each for each in DIALECTS if each.recognizes(call))
    assert first.__name__.endswith(f".{dialect}")


@pytest.mark.parametrize("name", sorted(path.stem for path in DATA.glob("*.json")))
def test_the_fields_that_are_written_are_those_of_the_session_in_its_order(name):
    for run in recorded(name).get("runs", ()):
        fields = read_fields(run)
        if isinstance(fields, Rejection):
            assert fields == read_run(run)
            continue
        assert list(fields) == [each.name for each in dataclasses.fields(RecordedSession)]
        assert RecordedSession(**fields) == read_run(run)
        assert orjson.dumps(fields) == orjson.dumps(RecordedSession(**fields))


def test_a_row_of_an_earlier_version_still_reads():
    session = read_run(recorded("core1__plain")["runs"][0])
    fields = {name: getattr(session, name) for name in RecordedSession.__slots__}
    for added in ("reasoning", "turn_tools", "correction"):
        del fields[added]
    assert RecordedSession(**fields) == session
