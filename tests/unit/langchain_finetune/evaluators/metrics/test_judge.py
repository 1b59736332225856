import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from langchain_finetune.errors import SettingError
from langchain_finetune.evaluators import Exact, Judge
from langchain_finetune.evaluators.metrics.judge import calibration, controls, corrupted
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall
from tests.fakes.eval_examples import asks, calls, says

MODEL = FakeListChatModel(responses=["GOOD"])
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.lists(st.integers(), max_size=2)
ANSWERS = st.builds(says, st.text(min_size=1, max_size=9)) | st.builds(
    lambda arguments: Answer("", (ToolCall("f", arguments),)),
    st.dictionaries(st.text(max_size=3), JSON, max_size=3),
)


@given(st.lists(ANSWERS, min_size=1, max_size=5))
def test_a_corrupted_answer_is_never_the_recorded_one(answers):
    examples = [asks(answer, row=row) for row, answer in enumerate(answers)]
    for control in controls(examples, 5):
        assert Exact().score(control.example, control.answer) is control.is_good


def test_the_prompt_shows_the_conversation_the_record_and_the_answer():
    prompt = Judge(MODEL, criteria="Be strict.").prompt(
        asks(calls(("f", {"a": 1})), asked="Reckon 8"), says("Eight.")
    )
    for part in ("Be strict.", "user: Reckon 8", 'call f({"a": 1})', "Eight.", "GOOD or BAD"):
        assert part in prompt


def test_long_turns_are_cut_and_empty_answers_are_named():
    prompt = Judge(MODEL).prompt(asks(says("x"), asked="y" * 9000), says(""))
    assert len(prompt) < 6000
    assert "(nothing)" in prompt


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("GOOD", True),
        ("BAD.", False),
        ("It is not GOOD, so: BAD", False),
        ("good", None),
        ("", None),
        ("GOODBYE", None),
    ],
)
def test_the_last_verdict_counts(text, verdict):
    assert Judge.verdict(text) is verdict


def test_a_judge_that_likes_everything_has_told_the_corrupted_ones_wrongly():
    made = controls([asks(says("8.")), asks(says("9."))], 2)
    assert calibration((control, True) for control in made).share == 0
    assert calibration((control, None) for control in made).share == 0
    assert calibration((control, control.is_good) for control in made).share == 1


def test_what_cannot_be_measured_is_refused():
    for wrong in ({"bar": 0}, {"bar": 1.1}, {"num_controls": 0}):
        with pytest.raises(SettingError):
            Judge(MODEL, **wrong)
    assert corrupted(asks(calls(("f", {}))), ()).calls == ()
