import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune import RunExportLoader, TrainingData, TrainingDataConverter
from langchain_finetune._spool import training_data_from
from langchain_finetune._tables import one_line, width_of
from langchain_finetune.errors import SettingError, SourceError
from tests.fakes.recorded_runs import calculator_run, write_runs
from tests.fakes.training_rows import call, rows, tool_row, training_data

WORDS = "What is the answer"


@pytest.fixture
def converted(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(1, 31)]
    loader = RunExportLoader(write_runs(tmp_path / "runs.jsonl", runs))
    return (loader | TrainingDataConverter(test_fraction=0.3)).invoke({})


@pytest.fixture
def terminal(monkeypatch):
    def columns(number):
        monkeypatch.setenv("COLUMNS", str(number))

    columns(80)
    return columns


def cells(shown):
    return [(row.asked, row.answered) for row in shown.rows]


def test_a_row_shows_its_question_its_call_its_tokens_and_its_run(converted, terminal):
    report = [json.loads(line) for line in converted.report.read_text().splitlines()]
    shown = converted.preview(3, "test")
    assert len(shown.rows) == 3
    for number, row in enumerate(shown.rows):
        (line,) = (it for it in report if (it.get("split"), it.get("row")) == ("test", number))
        assert (row.split, row.row, row.run_id, row.tokens) == (
            "test",
            number,
            line["run_id"],
            line["tokens"],
        )
        assert row.answered.startswith("Calculator(num1=")
        assert row.answered.endswith("num2=7)")
    assert "What" in shown.rows[0].asked


def test_the_table_fits_the_terminal_and_begins_with_the_counts(converted, terminal):
    for columns in (80, 100, 160):
        terminal(columns)
        lines = str(converted.preview(4, "all")).splitlines()
        assert lines[0].startswith(
            f"rows: {converted.num_train} train, {converted.num_validation} validation"
        )
        assert lines[1] == "from: 30 runs"
        assert lines[2].split("  ")[0] == "split"
        assert len(lines) == 3 + 4 + min(4, converted.num_validation) + min(4, converted.num_test)
        assert max(map(width_of, lines)) <= columns
    whole = converted.preview(1).rows[0].run_id
    assert whole in lines[3]
    terminal(80)
    assert f"…{whole[-8:]}" in str(converted.preview(1))


def test_a_notebook_gets_html_in_which_everything_is_escaped():
    row = {
        "messages": [
            {"role": "user", "content": "<script>alert(1)</script>"},
            {"role": "assistant", "content": "<b>bold</b>" * 50},
        ]
    }
    html = training_data_from([row]).preview()._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("&lt;b&gt;") == 50
    assert "rows: 1 train" in html


def test_what_a_terminal_would_obey_does_not_come_through(terminal):
    asked = "\x1b[2Jclear\x07\u202eright to left\u202c\nnext\tline " + "日本語" * 40
    row = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "ok"}]}
    text = str(training_data_from([row]).preview())
    assert text.replace("\n", "").isprintable()
    assert "clear right to left next line 日本語" in " ".join(text.split())
    assert max(map(width_of, text.splitlines())) <= 80


def test_every_trained_answer_after_the_question_is_shown_and_no_other():
    def said(text, **fields):
        return {"role": "assistant", "content": text, **fields}

    user = {
        "role": "user",
        "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}],
    }
    told = {"role": "tool", "tool_call_id": "call_1", "content": "5"}
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call(arguments='{"a": [1, "x"]}'), call("broken", "{")],
    }
    loop = [{"role": "user", "content": "first"}, said("early"), user, called, told, said("five")]
    weighted = [*loop[:3], {**called, "weight": 0}, told, said("five", weight=1)]
    legacy = [user, {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]
    refused = [{"role": "system", "content": "s"}, said(None, refusal="no")]
    shown = training_data_from([{"messages": it} for it in (loop, weighted, legacy, refused)]).preview()
    assert cells(shown) == [
        ("second [image]", 'Calculator(a=[1,"x"]) broken({) → five'),
        ("second [image]", "five"),
        ("second [image]", "f()"),
        ("", "no"),
    ]


def test_other_methods_show_both_answers_and_what_the_grader_reads():
    preferred = training_data(method="dpo").preview(1)
    assert cells(preferred) == [("Reckon 0", "It is 0.  rather than  I cannot say.")]
    assert cells(training_data(method="reinforcement").preview(1)) == [("What is 0?", 'answer={"is":0}')]
    assert "(dpo)" in str(preferred)


def test_tokens_are_an_estimate_where_nobody_counted(terminal):
    shown = training_data_from([tool_row(1), {"messages": "no row at all"}]).preview()
    assert shown.rows[0].is_estimated
    assert f"~{shown.rows[0].tokens}" in str(shown)
    assert shown.rows[1].tokens is None
    assert "run" not in str(shown).splitlines()[2].split()


def test_there_may_be_nothing_to_show(terminal):
    data = training_data_from(rows())
    assert str(data.preview(split="test")).endswith("(no rows here)")
    assert str(data.preview(0)).splitlines()[0] == "rows: 12 train, 0 validation, 0 test (supervised)"
    with pytest.raises(SettingError, match="no split 'dev': give train, validation, test or all"):
        data.preview(split="dev")
    data.train.unlink()
    with pytest.raises(SourceError, match=r"train\.jsonl"):
        data.preview()


def test_no_handle_tells_what_stands_in_its_rows():
    data = training_data_from([{"messages": [{"role": "user", "content": WORDS}]}])
    assert WORDS in repr(data.preview())
    for text in (repr(data), str(data), data.model_dump_json(), repr(data.model_dump())):
        assert WORDS not in text
    assert TrainingData.model_validate_json(data.model_dump_json()) == data


def test_the_report_is_read_no_further_than_the_rows_stand(converted):
    lines = converted.report.read_bytes().splitlines(keepends=True)
    first = next(
        number
        for number, line in enumerate(lines)
        if {"split": "train", "row": 1}.items() <= orjson.loads(line).items()
    )
    converted.report.write_bytes(b"".join([*lines[: first + 1], b'{"kept" and broken\n']))
    assert all(row.run_id for row in converted.preview(2).rows)
    with pytest.raises(SourceError, match=f"line {first + 2}"):
        converted.preview(3)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "a"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(["messages", "input", "preferred_output", "non_preferred_output", "tools", "x"])


@given(st.dictionaries(KEYS, JSON, max_size=5), st.sampled_from(["supervised", "dpo", "reinforcement"]))
def test_any_row_can_be_looked_at(tmp_path_factory, row, method):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(json.dumps(row))
    data = training_data_from(path).model_copy(update={"method": method})
    assert len(str(data.preview()).splitlines()) == 4


@given(st.text(), st.integers(1, 30))
def test_a_line_takes_no_more_columns_than_it_may(text, most):
    line = one_line(text, most)
    assert width_of(line) <= most
    assert line == "" or line.isprintable()
    if line and not line.endswith("…"):
        assert line.replace(" ", "") in "".join(it for it in text if it.isprintable()).replace(" ", "")
