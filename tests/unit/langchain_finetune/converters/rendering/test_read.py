import os
from pathlib import Path

import orjson
import pytest

from langchain_finetune.converters.rendering.examples import Example, Refused, Rendering
from langchain_finetune.converters.rendering.read import read_examples
from langchain_finetune.errors import SourceNotFoundError
from langchain_finetune.handles import RecordedSession
from langchain_finetune.rows import FORMATS
from langchain_finetune.runs import read_run
from tests.fakes.recorded_runs import DATA
from tests.fakes.recorded_sessions import assistant, session, sessions_file, tool, user
from tests.training_lines import check_line

BESIDE = Path(__file__).parents[5].parent / "shared" / "spec" / "training_line_schemas.json"
SPECIFICATION = Path(os.environ.get("TRAINING_LINE_SCHEMAS", BESIDE))

RUNS = [
    session("a", feedback={"user": 1}, answer=assistant("good")),
    session("b", feedback={"user": 0}, answer=assistant("bad")),
    session(
        "c",
        messages=[user("x"), assistant("y"), user("z")],
        tools=[tool("f")],
        turn_tools=[[], ["f"]],
        reasoning=[None, "why"],
    ),
]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, ["a", "b", "c", "c"]),
        ({"reasoning": "think"}, ["a", "b", "c"]),
        ({"trains_history": False}, ["a", "b", "c"]),
        ({"method": "dpo"}, ["a", "c"]),
        ({"method": "reinforcement", "metadata_keys": ("x",)}, ["a", "b", "c"]),
    ],
)
def test_each_method_reads_the_file_in_order_and_again_the_same(tmp_path, settings, told):
    path = sessions_file(tmp_path, RUNS)
    rendering = Rendering(**settings)
    found = list(read_examples(path, rendering))
    assert [it.run_id for it in found] == told
    assert list(read_examples(path, rendering)) == found
    for example in found:
        if isinstance(example, Example):
            check_line(rendering.method, example.row)
            assert list(FORMATS[rendering.method].find_misshapes(example.row)) == []
        else:
            assert isinstance(example, Refused)


@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_a_file_that_is_gone_is_named(tmp_path, method):
    with pytest.raises(SourceNotFoundError, match=r"gone\.jsonl"):
        list(read_examples(tmp_path / "gone.jsonl", Rendering(method=method)))


def recorded():
    """The sessions of all recordings, as they lie in the spool."""
    runs = [
        run for path in sorted(DATA.glob("*.json")) for run in orjson.loads(path.read_bytes()).get("runs", [])
    ]
    read = [read_run(run) for run in runs]
    return [orjson.loads(orjson.dumps(it)) for it in read if isinstance(it, RecordedSession)]


def rows_of_recordings(directory, method, reasoning):
    """What the recordings become that breaks no rule; every other one is corrected or rated."""
    sessions = recorded()
    for number, each in enumerate(sessions):
        each["feedback"] = {"user": number % 2}
        if number % 3 == 0:
            each["correction"] = assistant(f"better {number}")
    rendering = Rendering(method=method, reasoning=reasoning)
    found = list(read_examples(sessions_file(directory, sessions), rendering))
    told = {it.run_id for it in found}
    told.update(run_id for it in found if isinstance(it, Example) for run_id in it.merged)
    assert told == {it["run_id"] for it in sessions}
    rows = [it.row for it in found if isinstance(it, Example)]
    row_format = FORMATS[method]
    assert [list(row_format.find_misshapes(row)) for row in rows] == [[]] * len(rows)
    return [row for row in rows if not list(row_format.find_problems(row))]


@pytest.mark.parametrize("reasoning", ["drop", "think"])
@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_rows_of_recorded_runs_are_what_openais_schema_says(tmp_path, method, reasoning):
    rows = rows_of_recordings(tmp_path, method, reasoning)
    assert len(rows) > 20
    for row in rows:
        check_line(method, row)


@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_rows_are_what_the_whole_published_schemas_say(tmp_path, method):
    if not SPECIFICATION.is_file():
        pytest.skip(f"NO SPECIFICATION at {SPECIFICATION}: rows were held to the shipped schemas alone")
    for row in rows_of_recordings(tmp_path, method, "think"):
        check_line(method, row, SPECIFICATION)


def test_the_schemas_refuse_what_is_no_line():
    row = {"messages": [user("hi"), assistant("ok")]}
    check_line("supervised", row)
    for method, bad in (
        ("supervised", {**row, "input": 1}),
        ("dpo", row),
        ("reinforcement", {"messages": []}),
    ):
        with pytest.raises(AssertionError, match="no line"):
            check_line(method, bad)
