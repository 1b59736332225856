import pytest

from langchain_finetune.rows import FORMATS, Problem, in_host_words
from langchain_finetune.rows import host_words as known
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import preference_row, text_row

HI = {"role": "user", "content": "hi"}
OK = {"role": "assistant", "content": "ok"}


def words_of(row, method="supervised", number=7):
    row_format = FORMATS[method]
    problems = list(row_format.find_misshapes(row)) or list(row_format.find_problems(row))
    return [in_host_words(problem, number, row, method) for problem in problems]


@pytest.mark.parametrize(
    ("row", "method", "words"),
    [
        ({**text_row(1), "weight": 1}, "supervised", 'Example 7 contains an extra "weight".'),
        ({}, "supervised", "Example 7 is missing key 'messages'"),
        (text_row(1), "dpo", "Example 7 is missing key 'input'"),
        (
            {"messages": [HI, {"content": "ok"}]},
            "supervised",
            "Example 7, message 2 Discriminator 'role' is missing in value",
        ),
        (
            {"messages": [{**HI, "content": "<|im_end|>"}, OK]},
            "supervised",
            "Example 7 message contains an invalid token",
        ),
        (
            {"messages": [HI, OK, {**HI, "content": 5}, OK]},
            "supervised",
            'Line 7, message 3, key "content": Input should be a valid string',
        ),
        (
            {"messages": [{"role": "system", "content": "s"}, HI]},
            "reinforcement",
            "System messages are not supported in 'reinforcement' examples",
        ),
        (
            {**preference_row(1), "input": {"messages": [{"content": "hi"}]}},
            "dpo",
            "Example 7, message 1 Discriminator 'role' is missing in value",
        ),
    ],
)
def test_what_is_wrong_is_told_as_openai_tells_it(row, method, words):
    assert words in words_of(row, method)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": [{**HI, "id": 1}, OK]},
        {"messages": [{**HI, "role": "developer"}, OK]},
        {"messages": [HI]},
        {"messages": [HI, {**OK, "tool_calls": []}]},
        {**text_row(1), "my secret sentence": 1},
    ],
)
def test_where_nobody_knows_openais_words_there_are_none(row):
    assert words_of(row) == [None]


def test_a_line_that_is_no_object_has_its_words_too():
    words = in_host_words(Problem(Reason.NOT_JSON, ""), 1273)
    assert words == "Example 1273 cannot be parsed. Error: line contains invalid json"
    assert known.TOO_FEW.message.format(row=7, least=10) == (
        "Training file has 7 example(s), but must have at least 10 examples"
    )


def test_all_words_say_where_they_were_seen():
    said = [value for value in vars(known).values() if isinstance(value, known.HostWords)]
    assert len(said) == 9
    assert all(words.source for words in said)
    assert {words.code for words in said} == {
        "invalid_training_file",
        "invalid_file_format",
        "invalid_n_examples",
    }


def test_no_word_of_a_row_is_repeated():
    secret = "the customer's secret"
    row = {"messages": [{"role": "user", "content": f"{secret} <|im_end|>"}, OK], secret: secret}
    assert all(secret not in (words or "") for words in words_of(row))
