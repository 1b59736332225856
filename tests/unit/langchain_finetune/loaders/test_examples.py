import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.handles import RecordedSession
from langchain_finetune.loaders._examples import read_row_example
from langchain_finetune.runs import Rejection
from tests.fakes.dataset_host import example
from tests.fakes.recorded_runs import CALCULATOR

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "yo"}
OLD_USER = {"type": "human", "data": {"content": "hi"}}
OLD_ANSWER = {"type": "ai", "data": {"content": "yo"}}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"messages": [USER]}, {"messages": [ANSWER]}),
        ({"messages": [USER]}, {"message": ANSWER}),
        ({"messages": [USER]}, {"output": ANSWER}),
        ({"messages": [USER]}, {"output": "yo"}),
        ({"messages": [USER]}, {"choices": [{"message": ANSWER}]}),
        ({"messages": [USER]}, ANSWER),
        ({"messages": [USER, ANSWER]}, None),
        ({"input": [OLD_USER]}, {"output": OLD_ANSWER}),
        ({"messages": [OLD_USER]}, {"output": OLD_ANSWER}),
    ],
)
def test_every_way_of_writing_an_example_gives_the_same_session(inputs, outputs):
    session = read_row_example(example(1, inputs, outputs))
    assert (session.messages, session.answer) == ([USER], ANSWER)
    assert session.run_id.endswith("1")


WEIGHTED = {**ANSWER, "weight": 1}


@pytest.mark.parametrize(
    "outputs", [{"message": WEIGHTED}, {"messages": [WEIGHTED]}, {"output": WEIGHTED}, WEIGHTED]
)
def test_tools_choice_weights_and_metadata_are_kept(outputs):
    messages = [USER, {**ANSWER, "weight": 0}, USER]
    inputs = {"messages": messages, "tools": [CALCULATOR], "tool_choice": "auto"}
    session = read_row_example(example(1, inputs, outputs, metadata={"team": "a"}))
    assert session.messages == [USER, {**ANSWER, "weight": 0}, USER]
    assert session.answer == WEIGHTED
    assert session.tools == [CALCULATOR]
    assert session.metadata == {"team": "a", "tool_choice": "auto"}


@pytest.mark.parametrize("weight", [True, 2, "1", None, [1]])
def test_what_is_no_weight_is_left_out(weight):
    messages = [USER, {**ANSWER, "weight": weight}]
    assert read_row_example(example(1, {"messages": messages}, {})).answer == ANSWER


def test_two_answers_of_which_one_is_preferred_are_an_answer_and_its_correction():
    other = {"role": "assistant", "content": "no idea"}
    outputs = {"preferred_output": [WEIGHTED], "non_preferred_output": [other]}
    session = read_row_example(example(1, {"messages": [USER], "tools": [CALCULATOR]}, outputs))
    assert (session.answer, session.correction, session.tools) == (other, WEIGHTED, [CALCULATOR])
    broken = {**outputs, "non_preferred_output": [{"role": "assistant", "content": ""}]}
    assert isinstance(read_row_example(example(1, {"messages": [USER]}, broken)), Rejection)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "input", "output", "role", "type", "content", "data", "tool_calls"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(JSON, JSON, JSON)
def test_nothing_in_an_example_raises(inputs, outputs, metadata):
    read = read_row_example(example(1, inputs, outputs, metadata=metadata))
    assert isinstance(read, RecordedSession | Rejection)
