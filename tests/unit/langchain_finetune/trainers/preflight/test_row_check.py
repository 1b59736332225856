import dataclasses

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.errors import InvalidRowsError, NotEnoughExamplesError, SourceNotFoundError
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, HOSTS, LOCAL, OPENAI, TOGETHER
from langchain_finetune.rows import rules_of
from langchain_finetune.trainers.preflight import row_check
from langchain_finetune.trainers.preflight.row_check import MOST_LISTED, check_files, require_rows
from tests.fakes.training_rows import call, file_of, graded_row, preference_row, rows, text_row, tool_row

IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
SECRET = "the customer's secret"


def image_row():
    return {"messages": [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "a cat"}]}


def odd_arguments_row():
    answer = {"role": "assistant", "content": None, "tool_calls": [call(arguments="not json")]}
    return {"messages": [{"role": "user", "content": "hi"}, answer]}


def found(tmp_path, content, host=OPENAI):
    check = check_files(file_of(tmp_path, content), None, host)
    return [(p.row, p.field, p.code, p.is_error) for p in check.problems]


def test_good_rows_pass(tmp_path):
    check = check_files(file_of(tmp_path, rows(12)), None, OPENAI)
    require_rows(check)
    assert (check.num_rows, check.problems) == ({"train": 12}, [])
    assert check.num_bytes["train"] == (tmp_path / "rows.jsonl").stat().st_size


def test_each_problem_has_row_field_code_and_what_to_do(tmp_path):
    bad = text_row(3)
    bad["messages"][0]["content"] = f"{SECRET} <|im_end|>"
    path = file_of(tmp_path, [*rows(10), bad, {**text_row(4), "weight": 1}])
    check = check_files(path, None, OPENAI)
    told = [(p.file, p.row, p.field, p.code) for p in check.problems]
    assert told == [
        ("train", 11, "messages[0].content", "special_token"),
        ("train", 12, "weight", "unknown_key"),
    ]
    with pytest.raises(InvalidRowsError) as caught:
        require_rows(check)
    for text in ("train row 11, messages[0].content", "OpenAI would refuse", "Take the token out"):
        assert text in str(caught.value)
    assert SECRET not in str(caught.value)
    assert (caught.value.num_problems, len(caught.value.problems)) == (2, 2)


def test_lines_that_are_no_objects_are_told_by_number(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [orjson.dumps(row) for row in rows(10)]
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join([*lines, b"", b"[1]", b"not json", b"[" * 100_000]) + b"\n")
    check = check_files(path, None, OPENAI)
    assert [(p.row, p.code) for p in check.problems] == [(row, "not_json") for row in (11, 12, 13, 14)]


def test_what_only_lessens_the_effect_is_a_warning(tmp_path):
    assert found(tmp_path, [*rows(10), odd_arguments_row()]) == [
        (11, "messages[1].tool_calls", "invalid_tool_arguments", False)
    ]
    require_rows(check_files(tmp_path / "rows.jsonl", None, OPENAI))


def test_images_go_to_openai_and_not_to_the_embedded_server(tmp_path):
    content = [*rows(10), image_row()]
    assert found(tmp_path, content) == []
    assert found(tmp_path, content, LOCAL) == [(11, "messages[0].content", "unsupported_content", True)]


def test_arguments_off_their_schema_are_a_warning_everywhere(tmp_path):
    odd = tool_row(1)
    odd["messages"][1]["tool_calls"] = [call(arguments='{"num1": "many"}')]
    place = "messages[1].tool_calls[0].function.arguments"
    for host in HOSTS.values():
        assert found(tmp_path, [*rows(10), odd], host) == [(11, place, "arguments_off_schema", False)]


def test_images_are_refused_for_a_base_that_is_trained_on_text(tmp_path):
    path = file_of(tmp_path, [*rows(10), image_row()])
    told = {
        base: [problem.code for problem in check_files(path, None, OPENAI, base=base).problems]
        for base in ("gpt-4o-2024-08-06", "gpt-4.1-mini-2025-04-14")
    }
    assert told == {"gpt-4o-2024-08-06": [], "gpt-4.1-mini-2025-04-14": ["unsupported_content"]}


def test_too_many_rows_with_images_are_told(tmp_path, monkeypatch):
    few = dataclasses.replace(rules_of(OPENAI), max_image_rows=1)
    monkeypatch.setattr(row_check, "rules_of", lambda _: few)
    path = file_of(tmp_path, [*rows(10), image_row(), image_row()])
    [problem] = check_files(path, None, OPENAI).problems
    assert (problem.code, problem.row) == ("too_many_image_rows", None)
    assert problem.sentence == "The file has 2 rows with images, OpenAI takes 1."


def test_what_is_wrong_is_told_in_openais_words_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"messages": [], "weight": 1}\nnot json\n')
    assert [problem.host_words for problem in check_files(path, None, OPENAI).problems] == [
        'Example 1 contains an extra "weight".',
        None,
        "Example 2 cannot be parsed. Error: line contains invalid json",
        "Training file has 2 example(s), but must have at least 10 examples",
    ]


def test_a_row_over_the_hosts_bytes_is_told_whatever_it_is(tmp_path, monkeypatch):
    small = dataclasses.replace(rules_of(LOCAL), max_row_bytes=100)
    monkeypatch.setattr(row_check, "rules_of", lambda _: small)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"x" * 101 + b"\n" + b'{"messages": 5}\n')
    codes = [(p.row, p.code) for p in check_files(path, None, LOCAL).problems]
    assert codes == [(1, "too_long"), (1, "not_json"), (2, "no_messages"), (None, "not_enough_rows")]


def test_too_few_rows_are_an_error_of_their_own(tmp_path):
    check = check_files(file_of(tmp_path, rows(9)), None, OPENAI)
    assert [(p.row, p.code) for p in check.problems] == [(None, "not_enough_rows")]
    with pytest.raises(NotEnoughExamplesError, match="9 training rows, OpenAI needs at least 10"):
        require_rows(check)


def test_validation_rows_are_held_to_the_rules_too(tmp_path):
    (tmp_path / "v").mkdir()
    train, validation = file_of(tmp_path, rows(10)), file_of(tmp_path / "v", [{"messages": []}])
    check = check_files(train, validation, OPENAI)
    assert [(p.file, p.row, p.code) for p in check.problems] == [("validation", 1, "no_messages")]
    assert check.num_rows == {"train": 10, "validation": 1}


def test_errors_are_kept_before_warnings_and_all_are_counted(tmp_path):
    content = [odd_arguments_row()] * (MOST_LISTED + 5) + [{"messages": []}] * 3
    check = check_files(file_of(tmp_path, content), None, OPENAI)
    assert (check.num_warnings, check.num_errors, len(check.problems)) == (MOST_LISTED + 5, 3, MOST_LISTED)
    assert [p.row for p in check.errors] == [MOST_LISTED + 6, MOST_LISTED + 7, MOST_LISTED + 8]


def test_a_file_over_the_hosts_size_is_told(tmp_path):
    small = dataclasses.replace(OPENAI, max_file_bytes=100, max_examples=11)
    codes = [code for _, _, code, _ in found(tmp_path, rows(12), small)]
    assert codes == ["file_too_large", "too_many_rows"]


def test_a_host_whose_limits_are_not_known_refuses_no_file_for_its_size(tmp_path):
    unlimited = dataclasses.replace(CUSTOM, max_file_bytes=None, max_examples=None)
    assert found(tmp_path, rows(12), unlimited) == []


# --- the other methods ---


@pytest.mark.parametrize("host", [OPENAI, AZURE, TOGETHER, FIREWORKS], ids=lambda host: host.name)
def test_rows_of_preferences_are_held_to_the_rules_of_their_own_format(tmp_path, host):
    same, image = preference_row(10), preference_row(11)
    same["non_preferred_output"] = same["preferred_output"]
    image["input"]["messages"][0]["content"] = [IMAGE]
    path = file_of(tmp_path, [*map(preference_row, range(10)), same, image, text_row(12)])
    check = check_files(path, None, host, method="dpo")
    assert [(p.row, p.field, p.code, p.is_error) for p in check.problems] == [
        (11, "non_preferred_output", "same_outputs", False),
        (12, "input.messages[0].content", "unsupported_content", True),
        (13, "messages", "unknown_key", True),
        (13, "input", "no_messages", True),
        (13, "preferred_output", "invalid_output", True),
        (13, "non_preferred_output", "invalid_output", True),
    ]
    assert "rows of preferences are text" in check.problems[1].advice
    assert "`input.messages`" in check.problems[3].advice


def test_rows_for_reinforcement_are_held_to_their_shape_and_need_validation(tmp_path):
    (tmp_path / "v").mkdir()
    system = {"messages": [{"role": "system", "content": SECRET}, {"role": "user", "content": "hi"}]}
    path = file_of(tmp_path, [*map(graded_row, range(10)), system, text_row(1)])
    check = check_files(path, None, OPENAI, method="reinforcement")
    assert [(p.file, p.row, p.field, p.code) for p in check.problems] == [
        ("train", 11, "messages[0].role", "unknown_role"),
        ("train", 12, "messages[1]", "no_question"),
        ("validation", None, "", "no_validation_rows"),
    ]
    assert "what was system is developer" in check.problems[0].advice
    with pytest.raises(InvalidRowsError, match="only with validation rows"):
        require_rows(check)
    validation = file_of(tmp_path / "v", [graded_row(1)])
    good = file_of(tmp_path, list(map(graded_row, range(10))))
    require_rows(check_files(good, validation, OPENAI, method="reinforcement"))


def test_a_method_may_have_fewer_rows_than_its_host(tmp_path):
    (tmp_path / "v").mkdir()
    train = file_of(tmp_path, list(map(graded_row, range(10))))
    validation = file_of(tmp_path / "v", list(map(graded_row, range(1001))))
    check = check_files(train, validation, OPENAI, method="reinforcement")
    assert [(p.file, p.code) for p in check.problems] == [("validation", "too_many_rows")]
    assert "1001 rows, OpenAI takes 1000" in check.problems[0].sentence


def test_a_host_with_rules_of_its_own_takes_what_openai_does_not(tmp_path):
    check = check_files(file_of(tmp_path, [{"prompt": "x"}] * 10), None, OPENAI, has_rules=False)
    require_rows(check)


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"gone\.jsonl"):
        check_files(tmp_path / "gone.jsonl", None, OPENAI)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_can_be_checked(tmp_path, lines):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    check = check_files(path, None, OPENAI)
    assert check.num_errors >= 1
