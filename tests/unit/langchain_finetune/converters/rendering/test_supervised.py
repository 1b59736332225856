from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters.rendering.examples import lacks_schemas
from langchain_finetune.converters.rendering.supervised import supervised_examples, supervised_row
from langchain_finetune.rows import FORMATS, find_problem
from tests.fakes.recorded_runs import CALCULATOR
from tests.fakes.recorded_sessions import assistant, calling, result, session, tool, user
from tests.training_lines import check_line

HI = user("hi")
FUNCTION_CALL = assistant(None, function_call={"name": "f", "arguments": "{}"})


def rows_of(given, **settings):
    return [it.row for it in supervised_examples(given, **settings)]


def weights(row):
    return [it.get("weight") for it in row["messages"] if it["role"] == "assistant"]


def names(row):
    return [it["function"]["name"] for it in row.get("tools", [])]


# --- one row --------------------------------------------------------------------------------------------


def test_the_answer_is_the_last_message_and_nothing_else_is_added():
    assert supervised_row(session()) == {"messages": [HI, assistant("ok")]}


def test_what_is_missing_has_its_default_and_defaults_add_nothing():
    empty = session(
        tools=None, functions=None, parallel_tool_calls=None, correction=None, turn_tools=None, reasoning=None
    )
    assert rows_of(empty, reasoning="think") == rows_of(session()) == [supervised_row(session())]


def test_an_example_knows_where_it_comes_from():
    given = session("a", thread_id="t", tags=["x"])
    [example] = supervised_examples(given)
    assert (example.run_id, example.is_further, example.merged, example.partners) == ("a", False, (), ())
    assert example.session is given


def test_tools_stand_in_the_row_with_the_order_of_their_keys():
    row = supervised_row(session(tools=[CALCULATOR], parallel_tool_calls=False))
    assert list(row) == ["messages", "tools", "parallel_tool_calls"]
    assert row["tools"] == [CALCULATOR]
    assert row["parallel_tool_calls"] is False


def test_parallel_tool_calls_without_tools_has_no_place():
    assert "parallel_tool_calls" not in supervised_row(session(parallel_tool_calls=True))


def test_functions_stand_in_the_row():
    row = supervised_row(session(functions=[CALCULATOR["function"]]))
    assert row["functions"] == [CALCULATOR["function"]]


def test_the_developer_becomes_the_system_and_the_session_stays_as_it_is():
    messages = [{"role": "developer", "content": "dev", "name": "ops"}, HI]
    given = session(messages=messages)
    row = supervised_row(given)
    assert row["messages"][0] == {"role": "system", "content": "dev", "name": "ops"}
    assert given["messages"] is messages
    assert len(messages) == 2
    assert messages[0]["role"] == "developer"


def test_further_candidates_are_not_trained_on():
    assert len(supervised_row(session(candidates=[assistant("other")]))["messages"]) == 2


def test_a_correction_is_the_target():
    assert supervised_row(session(correction=assistant("better")))["messages"][-1] == assistant("better")


def test_a_call_without_any_schema_is_noticed():
    assert lacks_schemas(supervised_row(session(answer=calling())))
    assert not lacks_schemas(supervised_row(session(answer=calling(), tools=[tool()])))
    assert lacks_schemas(supervised_row(session(answer=FUNCTION_CALL, tools=[tool()])))
    assert not lacks_schemas(supervised_row(session(answer=FUNCTION_CALL, functions=[{"name": "f"}])))
    assert not lacks_schemas(supervised_row(session()))


# --- turns with different tools -------------------------------------------------------------------------


GROWING = session(
    messages=[user("a"), calling("f"), result(), assistant("done"), user("b")],
    answer=calling("g", call_id="call_1"),
    tools=[tool("f"), tool("g")],
    turn_tools=[["f"], ["f"], ["g", "f"]],
    parallel_tool_calls=True,
)


def test_turns_with_other_tools_are_trained_on_in_a_row_of_their_own():
    first, further = supervised_examples(GROWING)
    assert (first.is_further, further.is_further) == (False, True)
    assert names(first.row) == ["f", "g"]
    assert weights(first.row) == [0, 0, 1]
    assert first.row["messages"][-1]["tool_calls"] == GROWING["answer"]["tool_calls"]
    assert names(further.row) == ["f"]
    assert further.row["messages"] == GROWING["messages"][:4]
    assert further.row["parallel_tool_calls"] is True


def test_a_row_ends_with_its_last_turn_and_has_weights_only_where_one_is_left_out():
    back_and_forth = {**GROWING, "turn_tools": [["f", "g"], ["f"], ["g", "f"]]}
    first, further = rows_of(back_and_forth)
    assert weights(first) == [1, 0, 1]
    assert weights(further) == [0, 1]
    assert (names(first), names(further)) == (["f", "g"], ["f"])


def test_a_turn_without_tools_gets_a_row_without_tools():
    *_, further = rows_of({**GROWING, "turn_tools": [[], ["f", "g"], ["f", "g"]]})
    assert list(further) == ["messages"]
    assert further["messages"] == GROWING["messages"][:2]


def test_a_session_whose_turns_had_the_same_tools_is_one_row():
    [row] = rows_of({**GROWING, "turn_tools": [["f"]] * 3})
    assert weights(row) == [None] * 3
    assert names(row) == ["f"]


def test_the_last_turns_tools_alone_where_weights_are_given_later():
    [row] = rows_of(GROWING, trains_history=False)
    assert weights(row) == [None] * 3
    assert names(row) == ["f", "g"]
    [row] = rows_of({**GROWING, "turn_tools": [["f", "g"], ["f"], ["g"]]}, trains_history=False)
    assert names(row) == ["g"]


def test_what_a_dataset_says_is_not_trained_on_is_trained_on_in_no_row():
    messages = [{**it, "weight": 0} if it["role"] == "assistant" else it for it in GROWING["messages"]]
    [row] = rows_of({**GROWING, "messages": messages})
    assert weights(row) == [0, 0, 1]


def test_turns_that_nobody_can_tell_apart_had_all_tools():
    [row] = rows_of({**GROWING, "turn_tools": [["f"], ["g"]]})
    assert names(row) == ["f", "g"]
    assert weights(row) == [None] * 3


def test_a_correction_is_the_target_of_a_split_session_too():
    first, _ = rows_of({**GROWING, "correction": assistant("better")})
    assert first["messages"][-1] == assistant("better", weight=1)


@st.composite
def conversations(draw):
    """A session whose turns had any tools."""
    available = ["f", "g", "h"]
    num_turns = draw(st.integers(1, 6))
    messages, answers = [], []
    for number in range(num_turns):
        messages.append(user(f"question {number}"))
        name = draw(st.none() | st.sampled_from(available))
        answer = calling(name, call_id=f"c{number}") if name else assistant(f"answer {number}")
        answers.append(answer)
        if draw(st.booleans()) and draw(st.booleans()):
            answer = answers[-1] = {**answer, "weight": 0} if number < num_turns - 1 else answer
        messages.append(answer)
        if name and number < num_turns - 1:
            messages.append(result(f"c{number}"))
    *prompt, answer = messages
    sets = st.lists(st.sampled_from(available), unique=True)
    turn_tools = [
        sorted({*draw(sets), *(call["function"]["name"] for call in it.get("tool_calls") or ())})
        for it in answers
    ]
    return session(
        messages=prompt, answer=answer, tools=[tool(name) for name in available], turn_tools=turn_tools
    )


def bare(messages):
    return [{key: value for key, value in it.items() if key != "weight"} for it in messages]


@given(conversations())
def test_every_answer_is_trained_on_exactly_once_with_the_tools_that_it_had(given):
    whole = [*given["messages"], given["answer"]]
    turns = [index for index, it in enumerate(whole) if it["role"] == "assistant"]
    trained = Counter()
    rows = rows_of(given)
    for row in rows:
        cut = len(row["messages"])
        assert bare(row["messages"]) == bare(whole[:cut])
        check_line("supervised", row)
        assert list(FORMATS["supervised"].find_misshapes(row)) == []
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant" and message.get("weight") != 0:
                turn = turns.index(index)
                trained[turn] += 1
                assert set(names(row)) == set(given["turn_tools"][turn])
    wanted = [number for number, index in enumerate(turns) if whole[index].get("weight") != 0]
    assert trained == dict.fromkeys(wanted, 1)
    assert bare(rows[0]["messages"]) == bare(whole)
    assert rows == rows_of(given)


# --- reasoning ------------------------------------------------------------------------------------------


def test_reasoning_is_left_out_unless_it_is_asked_for():
    given = session(reasoning=["because"])
    assert rows_of(given) == [{"messages": [HI, assistant("ok")]}]
    [row] = rows_of(given, reasoning="think")
    assert row["messages"][-1] == assistant("<think>\nbecause\n</think>\n\nok")
    check_line("supervised", row)
    assert find_problem(row) is None


def test_earlier_turns_without_their_reasoning_are_not_trained_on():
    given = session(
        messages=[user("a"), assistant("A"), user("b"), calling(), result()],
        answer=assistant("B"),
        tools=[tool()],
        reasoning=["ra", "rb", "rc"],
    )
    [row] = rows_of(given, reasoning="think")
    assert [it["content"] for it in row["messages"] if it["role"] == "assistant"] == [
        "A",
        "<think>\nrb\n</think>\n\n",
        "<think>\nrc\n</think>\n\nB",
    ]
    assert weights(row) == [0, None, None]
    [row] = rows_of(given, reasoning="think", trains_history=False)
    assert weights(row) == [None] * 3


def test_a_turn_whose_reasoning_is_left_out_is_not_trained_on_in_a_split_session_either():
    given = {**GROWING, "reasoning": ["r1", None, "r3"]}
    [row] = rows_of(given, reasoning="think")
    assert weights(row) == [0, 0, 1]


def test_a_correction_shows_no_reasoning():
    given = session(correction=assistant("better"), reasoning=["so it is ok"])
    [row] = rows_of(given, reasoning="think")
    assert row["messages"][-1] == assistant("better")


@pytest.mark.parametrize("answer", [assistant(None, refusal="no"), assistant("")])
def test_an_answer_of_nothing_but_reasoning_stays_empty(answer):
    [row] = rows_of(session(answer=answer, reasoning=["hm"]), reasoning="think")
    assert row["messages"][-1] == answer
    assert find_problem(row) is not None
