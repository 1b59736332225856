import random
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.rendering.examples import Example, Refused, Rendering, lacks_schemas
from langchain_finetune.converters.rendering.pairing import answer_key
from langchain_finetune.converters.rendering.preferences import preference_examples
from langchain_finetune.errors import SettingError
from langchain_finetune.rows import FORMATS
from langchain_finetune.runs import Reason
from tests.fakes.recorded_sessions import assistant, calling, result, session, sessions_file, tool, user
from tests.training_lines import check_line

GOOD, BAD = assistant("good"), assistant("bad")


def rendered(directory, sessions, between=b"", **fields):
    path = sessions_file(directory, sessions, between)
    return list(preference_examples(path, Rendering(method="dpo", **fields)))


def scored(run_id, text, score, question="hi", **fields):
    fields.setdefault("answer", assistant(text))
    return session(run_id, messages=[user(question)], feedback={"user": score}, **fields)


def outputs(example):
    row = example.row
    check_line("dpo", row)
    assert list(FORMATS["dpo"].find_misshapes(row)) == []
    [preferred], [other] = row["preferred_output"], row["non_preferred_output"]
    return preferred["content"], other["content"]


def reasons(found):
    return {it.run_id: it.reason for it in found if isinstance(it, Refused)}


# --- corrections and choices ----------------------------------------------------------------------------


def test_a_correction_is_preferred_over_the_answer(tmp_path):
    given = session(
        messages=[{"role": "developer", "content": "dev"}, user("hi")],
        answer=BAD,
        correction=GOOD,
        tools=[tool()],
        parallel_tool_calls=False,
    )
    [example] = rendered(tmp_path, [given])
    assert example == Example("r", example.row, given)
    assert example.row == {
        "input": {
            "messages": [{"role": "system", "content": "dev"}, user("hi")],
            "tools": [tool()],
            "parallel_tool_calls": False,
        },
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    }
    assert outputs(example) == ("good", "bad")
    assert list(FORMATS["dpo"].find_problems(example.row)) == []


def test_a_correction_that_says_what_the_answer_says_prefers_nothing(tmp_path):
    same = calling("f", '{"a": 1, "b": 2}')
    answer = calling("f", '{"b":2,"a":1}', call_id="another")
    [refused] = rendered(tmp_path, [session(answer=answer, correction=same, tools=[tool()])])
    assert refused == Refused("r", Reason.SAME_OUTPUTS, "correction")


def test_a_correction_that_is_one_of_the_candidates_is_a_choice_among_them(tmp_path):
    given = session(
        answer=BAD, candidates=[GOOD, assistant("worse"), BAD], correction={"role": "assistant", **GOOD}
    )
    [example] = rendered(tmp_path, [given])
    assert outputs(example) == ("good", "bad")
    found = rendered(tmp_path, [given], max_pairs_per_prompt=5)
    assert [outputs(it) for it in found] == [("good", "bad"), ("good", "worse")]
    assert [it.is_further for it in found] == [False, True]


def test_a_correction_that_is_the_answer_chooses_it_over_the_candidates(tmp_path):
    [example] = rendered(tmp_path, [session(answer=GOOD, candidates=[GOOD, BAD], correction=GOOD)])
    assert outputs(example) == ("good", "bad")


def test_a_correction_in_words_of_its_own_says_nothing_of_the_candidates(tmp_path):
    given = session(answer=BAD, candidates=[assistant("other")], correction=GOOD)
    [example] = rendered(tmp_path, [given], max_pairs_per_prompt=5)
    assert outputs(example) == ("good", "bad")


def test_candidates_without_a_preference_make_no_pair(tmp_path):
    found = rendered(tmp_path, [session("a", candidates=[BAD]), session("b")])
    assert found == [Refused("a", Reason.NO_PREFERENCE), Refused("b", Reason.UNRATED)]


def test_legacy_functions_have_no_place(tmp_path):
    given = session(functions=[{"name": "f"}], correction=GOOD, feedback={"user": 1})
    assert rendered(tmp_path, [given]) == [Refused("r", Reason.UNKNOWN_KEY, "functions")]


# --- pairs of runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_good_first", [True, False])
def test_runs_of_one_prompt_with_different_scores_are_a_pair(tmp_path, is_good_first):
    runs = [scored("g", "good", 1), scored("b", "bad", 0)]
    runs = runs if is_good_first else runs[::-1]
    [example] = rendered(tmp_path, runs)
    assert outputs(example) == ("good", "bad")
    assert example.run_id == runs[0]["run_id"]
    assert example.merged == (runs[1]["run_id"],)
    assert example.partners == (runs[1],)
    assert example.session == runs[0]


def test_a_low_score_can_be_the_good_one(tmp_path):
    runs = [scored("g", "good", 0.1), scored("b", "bad", 0.9)]
    [example] = rendered(tmp_path, runs, lower_is_better=True)
    assert outputs(example) == ("good", "bad")


@pytest.mark.parametrize(
    "other",
    [
        scored("b", "bad", 0, question="another"),
        scored("b", "bad", 0, tools=[tool()]),
        scored("b", "bad", 0, tools=[tool("g")]),
        scored("b", "good", 0),
    ],
)
def test_another_prompt_other_tools_or_the_same_answer_make_no_pair(tmp_path, other):
    found = rendered(tmp_path, [scored("a", "good", 1), other])
    assert reasons(found) == dict.fromkeys("ab", Reason.NO_PAIR)


def test_the_tools_that_count_are_those_of_the_last_turn(tmp_path):
    both = {"tools": [tool("f"), tool("g")], "turn_tools": [["f"]]}
    runs = [scored("a", "good", 1, tools=[tool("f")]), scored("b", "bad", 0, **both)]
    [example] = rendered(tmp_path, runs)
    assert example.row["input"]["tools"] == [tool("f")]


def test_ties_make_no_pair(tmp_path):
    runs = [scored("a", "good", 1), scored("b", "bad", 1)]
    assert reasons(rendered(tmp_path, runs)) == dict.fromkeys("ab", Reason.TIED)


def test_ids_of_calls_are_no_difference(tmp_path):
    def run(run_id, text, score, call_id):
        messages = [user("hi"), calling(call_id=call_id), result(call_id)]
        return session(
            run_id, messages=messages, answer=assistant(text), tools=[tool()], feedback={"user": score}
        )

    [example] = rendered(tmp_path, [run("a", "good", 1, "x"), run("b", "bad", 0, "y")])
    assert outputs(example) == ("good", "bad")
    assert list(FORMATS["dpo"].find_problems(example.row)) == []


def test_the_best_is_paired_with_the_worst_and_the_second_best_with_the_second_worst(tmp_path):
    texts = "abcde"
    runs = [scored(text, text, score) for score, text in enumerate(reversed(texts))]
    found = rendered(tmp_path, runs)
    [example] = [it for it in found if isinstance(it, Example)]
    assert outputs(example) == ("a", "e")
    assert reasons(found) == dict.fromkeys("bcd", Reason.ENOUGH_PAIRS)
    found = rendered(tmp_path, runs, max_pairs_per_prompt=9)
    assert [outputs(it) for it in found if isinstance(it, Example)] == [("a", "e"), ("b", "d")]
    assert reasons(found) == {"c": Reason.ENOUGH_PAIRS}


def test_runs_that_gave_the_same_answer_count_as_one_with_their_average(tmp_path):
    runs = [
        scored("a1", "a", 1),
        scored("b1", "b", 0.8),
        scored("a2", "a", 0),
        scored("b2", "b", 0.8),
    ]
    [example] = rendered(tmp_path, runs)
    assert outputs(example) == ("b", "a")
    assert example.run_id == "a1"
    assert example.merged == ("b1", "a2", "b2")
    assert [it["run_id"] for it in example.partners] == ["b1", "a2", "b2"]


def test_what_was_corrected_is_never_preferred_whatever_its_score(tmp_path):
    corrected = scored("a", "a", 1, correction=assistant("better"))
    found = rendered(tmp_path, [corrected, scored("b", "b", 0.5), scored("c", "c", 0)])
    pairs = {it.run_id: outputs(it) for it in found if isinstance(it, Example)}
    assert pairs == {"a": ("better", "a"), "b": ("b", "c")}
    found = rendered(tmp_path, [corrected, scored("b", "b", 0.5)])
    assert reasons(found) == {"b": Reason.TIED}


def test_a_corrected_run_can_be_the_worse_half_and_is_merged_nowhere(tmp_path):
    found = rendered(tmp_path, [scored("a", "a", 1), scored("b", "b", 0, correction=assistant("better"))])
    assert [(it.run_id, outputs(it), it.merged, it.is_further) for it in found] == [
        ("a", ("a", "b"), (), False),
        ("b", ("better", "b"), (), False),
    ]
    assert found[0].partners[0]["run_id"] == "b"
    found = rendered(tmp_path, [scored("b", "b", 0, correction=assistant("better")), scored("a", "a", 1)])
    assert [(it.run_id, outputs(it), it.merged, it.is_further) for it in found] == [
        ("b", ("better", "b"), (), False),
        ("b", ("a", "b"), ("a",), True),
    ]


def test_an_answer_that_cannot_be_trained_on_takes_no_place_in_a_pair(tmp_path):
    runs = [
        scored("empty", "", -1),
        scored("broken", "", -2, answer=calling(arguments="{")),
        scored("a", "a", 1),
        scored("b", "b", 0),
    ]
    found = rendered(tmp_path, runs)
    assert [outputs(it) for it in found if isinstance(it, Example)] == [("a", "b")]
    assert [it for it in found if isinstance(it, Refused)] == [
        Refused("empty", Reason.EMPTY_ANSWER, "answer"),
        Refused("broken", Reason.INVALID_TOOL_ARGUMENTS, "answer.tool_calls"),
    ]


def test_a_prompt_that_cannot_be_trained_on_is_told_with_its_field(tmp_path):
    image = [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]
    given = session(messages=[{"role": "user", "content": image}], feedback={"user": 1})
    assert rendered(tmp_path, [given]) == [
        Refused("r", Reason.UNSUPPORTED_CONTENT, "input.messages[0].content")
    ]


def test_blank_lines_and_offsets_go_together(tmp_path):
    runs = [scored("a", "é" * 50, 1), session("x"), scored("b", "bad", 0)]
    found = rendered(tmp_path, runs, between=b"\n  \n")
    assert isinstance(found[0], Example)
    assert found[0].merged == ("b",)
    assert reasons(found) == {"x": Reason.UNRATED}


def test_calls_without_schemas_are_noticed(tmp_path):
    [example] = rendered(tmp_path, [session(answer=calling(), correction=GOOD)])
    assert lacks_schemas(example.row)
    [example] = rendered(tmp_path, [session(answer=calling(), correction=GOOD, tools=[tool()])])
    assert not lacks_schemas(example.row)


# --- the key --------------------------------------------------------------------------------------------


def test_the_only_key_is_taken_and_of_several_one_has_to_be_named(tmp_path):
    runs = [
        session("a", answer=GOOD, feedback={"user": 1, "style": 0}),
        session("b", answer=BAD, feedback={"user": 0, "style": 1}),
    ]
    with pytest.raises(SettingError, match=r"2 keys: 'user' \(2 runs\), 'style' \(2 runs\).*score_key"):
        rendered(tmp_path, runs)
    [example] = rendered(tmp_path, runs, score_key="style")
    assert outputs(example) == ("bad", "good")
    with pytest.raises(SettingError, match=r"'usr'. There are 'user'"):
        rendered(tmp_path, runs, score_key="usr")
    with pytest.raises(SettingError, match="leave score_key out"):
        rendered(tmp_path, [session()], score_key="user")


def test_what_is_no_number_is_no_score(tmp_path):
    runs = [session("a", feedback={"user": None}), session("b", feedback={"user": "1"})]
    assert reasons(rendered(tmp_path, runs)) == dict.fromkeys("ab", Reason.UNRATED)


# --- reasoning ------------------------------------------------------------------------------------------


def test_reasoning_is_shown_where_both_answers_have_some(tmp_path):
    runs = [scored("a", "good", 1, reasoning=["ra"]), scored("b", "bad", 0, reasoning=["rb"])]
    [example] = rendered(tmp_path, runs)
    assert outputs(example) == ("good", "bad")
    [example] = rendered(tmp_path, runs, reasoning="think")
    assert outputs(example) == ("<think>\nra\n</think>\n\ngood", "<think>\nrb\n</think>\n\nbad")
    [example] = rendered(tmp_path, [runs[0], scored("b", "bad", 0)], reasoning="think")
    assert outputs(example) == ("good", "bad")
    corrected = session(answer=BAD, correction=GOOD, reasoning=["r"])
    [example] = rendered(tmp_path, [corrected], reasoning="think")
    assert outputs(example) == ("good", "bad")


# --- whatever the runs ----------------------------------------------------------------------------------


@st.composite
def many_runs(draw):
    """Runs of few prompts with few answers, some rated, some corrected, some with candidates."""
    texts = st.sampled_from("abcd")
    runs = []
    for number in range(draw(st.integers(1, 14))):
        fields = {"answer": assistant(draw(texts)), "messages": [user(draw(st.sampled_from("xy")))]}
        if draw(st.integers(0, 3)):
            fields["feedback"] = {"user": draw(st.sampled_from([0, 0.5, 1]))}
        if not draw(st.integers(0, 4)):
            fields["correction"] = assistant(draw(texts))
        if not draw(st.integers(0, 4)):
            fields["candidates"] = draw(st.lists(texts.map(assistant), max_size=3))
        runs.append(session(f"run{number}", **fields))
    return runs


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many_runs(), st.integers(1, 4))
def test_every_run_is_told_once_and_every_pair_is_of_one_prompt(tmp_path, runs, max_pairs):
    found = rendered(tmp_path, runs, max_pairs_per_prompt=max_pairs)
    assert found == rendered(tmp_path, runs, max_pairs_per_prompt=max_pairs)
    by_id = {it["run_id"]: it for it in runs}
    told = [it.run_id for it in found if isinstance(it, Refused)]
    told += [it.run_id for it in found if isinstance(it, Example) and not it.is_further]
    merged = [run_id for it in found if isinstance(it, Example) for run_id in it.merged]
    assert sorted(told + merged) == sorted(by_id)
    order = [list(by_id).index(it.run_id) for it in found]
    assert order == sorted(order)
    num_pairs = defaultdict(int)
    for example in (it for it in found if isinstance(it, Example)):
        preferred, other = outputs(example)
        assert list(FORMATS["dpo"].find_problems(example.row)) == []
        prompt = example.row["input"]["messages"]
        both = [example.session, *example.partners]
        assert all(it["messages"] == prompt for it in both)
        said = [answer_key(it["answer"])[0] for it in both]
        said += [answer_key(it["correction"])[0] for it in both if it.get("correction")]
        said += [it["content"] for run in both for it in run.get("candidates", [])]
        assert {preferred, other} <= set(said)
        if example.partners:
            num_pairs[prompt[0]["content"]] += 1
            assert average(runs, prompt, preferred) > average(runs, prompt, other)
    assert all(number <= max_pairs for number in num_pairs.values())


def average(runs, prompt, text):
    scores = [
        it["feedback"]["user"]
        for it in runs
        if it["messages"] == prompt and it["answer"]["content"] == text and it.get("feedback")
    ]
    return sum(scores) / len(scores)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many_runs(), st.randoms(use_true_random=False))
def test_the_pairs_do_not_depend_on_the_order_of_the_runs(tmp_path, runs, shuffler):
    shuffled = list(runs)
    shuffler.shuffle(shuffled)

    def pairs(given):
        found = rendered(tmp_path, given, max_pairs_per_prompt=3)
        return sorted(
            (it.row["input"]["messages"][0]["content"], *outputs(it))
            for it in found
            if isinstance(it, Example)
        )

    assert pairs(runs) == pairs(shuffled)


def test_many_runs_of_many_prompts(tmp_path):
    shuffler = random.Random(0)
    runs = [
        scored(f"{number}-{score}", f"answer {score}", score, question=f"question {number}")
        for number in range(300)
        for score in (0, 1)
    ]
    shuffler.shuffle(runs)
    found = rendered(tmp_path, runs)
    assert {outputs(it) for it in found} == {("answer 1", "answer 0")}
    assert len(found) == 300
    assert all(it.merged[0].split("-")[0] == it.run_id.split("-")[0] for it in found)
