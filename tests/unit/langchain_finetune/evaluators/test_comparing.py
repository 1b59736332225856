"""What a comparison does beyond base and tuned model on rows of one turn."""

import json
import logging
import sqlite3

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

from langchain_finetune import _spool
from langchain_finetune.errors import MetricError, SourceNotFoundError, TrainingDataError
from langchain_finetune.evaluators import ComparisonReport, Judge, ModelComparison
from langchain_finetune.evaluators.questions import origins_from, questions_from
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import TOOL, call, preference_row, text_row, tool_row, training_data


@pytest.fixture
def host():
    """A host whose tuned models call the calculator, and whose bases talk unless they are forced."""
    host = FakeHost()

    def answer(body):
        number = body["messages"][-1]["content"].removeprefix("Reckon ")
        if body["model"].startswith("ft:") or body.get("tool_choice") == "required":
            wrong = "" if body["model"].startswith("ft:") else "9"
            arguments = f'{{"num1": {number}{wrong}}}'
            return {"role": "assistant", "content": None, "tool_calls": [call(arguments=arguments)]}
        return {"role": "assistant", "content": "Let me calculate that for you."}

    host.answer = answer
    return host


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def tuned(host, data=None):
    return trainer_at(host).invoke(data or training_data())


def asked(host):
    return [request.body for request in host.sent("POST", "/chat/completions")]


def data_of(test, report=(), train=None):
    """Training data with these rows held out."""
    with _spool.Spool("data") as spool:
        splits = {split: spool.writer(f"{split}.jsonl") for split in ("train", "test")}
        for row in train or [tool_row(number) for number in range(12)]:
            splits["train"].write(row)
        for row in test:
            splits["test"].write(row)
        lines = spool.writer("report.jsonl")
        for line in report:
            lines.write(line)
        return _spool.publish_training_data(spool, splits, lines, num_runs=12 + len(test))


def turns():
    """A row of three answers, of which the second is not trained on."""
    messages = []
    for number, weight in ((1, 1), (2, 0), (3, 1)):
        messages.append({"role": "user", "content": f"Reckon {number}"})
        answer = {
            "role": "assistant",
            "content": None,
            "tool_calls": [call(arguments=f'{{"num1": {number}}}')],
        }
        messages += [{**answer, "weight": weight}]
        if number < 3:
            messages.append({"role": "tool", "tool_call_id": "call_1", "content": str(number)})
    return {"messages": messages, "tools": [TOOL]}


def test_every_trained_answer_of_a_row_is_asked_for_with_its_prefix():
    first, second = questions_from([turns()])
    assert (first.turn, second.turn) == (1, 7)
    assert [len(question.prompt) for question in (first, second)] == [1, 7]
    assert not any("weight" in message for message in second.prompt)
    assert second.tags == ("tool:Calculator", "later turn")
    assert first.key != second.key


async def test_rows_of_several_turns_are_replayed_turn_by_turn(host, color):
    report = await color(ModelComparison(), "invoke", tuned(host, data_of([turns(), tool_row(9)])))
    assert (report.num_held_out, report.num_questions, report.num_asked) == (2, 3, 6)
    assert report.tuned_exact == 1.0
    assert [len(body["messages"]) for body in asked(host)][:3] in ([1, 7, 1], [1, 1, 7], [7, 1, 1])


def test_the_same_question_is_asked_once(host):
    report = ModelComparison().invoke(tuned(host, data_of([tool_row(5), tool_row(5), tool_row(6)])))
    assert (report.num_questions, report.num_asked) == (3, 4)
    assert report.tuned_exact == 1.0


def test_a_question_that_moved_to_another_row_is_not_asked_again(host):
    model = tuned(host, data_of([tool_row(15), tool_row(16)]))
    ModelComparison().invoke(model)
    moved = data_of([tool_row(16), tool_row(15)])
    assert ModelComparison(data=moved).invoke(model).num_asked == 0


def test_preferences_are_held_out_by_their_preferred_answer():
    (question,) = questions_from([preference_row(3)])
    assert question.expected.text == "It is 3."
    assert [message["role"] for message in question.prompt] == ["user", "assistant", "tool"]


async def test_the_honest_baseline_is_forced_to_call(host, color):
    model = tuned(host, data_of([tool_row(5), text_row(6), tool_row(7)]))
    report = await color(ModelComparison(forced_baseline=True), "invoke", model)
    forced = [body for body in asked(host) if "tool_choice" in body]
    assert [(body["model"], body["tool_choice"]) for body in forced] == [(report.base, "required")] * 2
    assert [body["parallel_tool_calls"] for body in forced] == [False] * 2
    assert (report.num_asked, report.forced_exact, report.base_exact) == (8, 0.0, 0.0)
    assert (await color(ModelComparison(forced_baseline=True), "invoke", model)).num_asked == 0
    summary = report.summary()
    assert [each["role"] for each in summary["models"]] == ["baseline", "forced", "contender"]
    called = summary["scores"]["tool_calls.called"]
    assert called[f"{report.base} (forced calls)"]["mean"] == 1.0
    assert "forced calls" in str(report)


def test_where_several_calls_were_recorded_several_may_be_made(host):
    row = tool_row(5)
    row["messages"][-1]["tool_calls"].append(call(arguments='{"num1": 6}', call_id="call_2"))
    model = tuned(host, data_of([row, tool_row(7)]))
    ModelComparison(forced_baseline=True).invoke(model)
    forced = {body["messages"][-1]["content"]: body for body in asked(host) if "tool_choice" in body}
    assert "parallel_tool_calls" not in forced["Reckon 5"]
    assert forced["Reckon 7"]["parallel_tool_calls"] is False


def test_legacy_functions_are_forced_by_name(host):
    row = {**tool_row(5), "functions": [TOOL["function"]]}
    del row["tools"]
    ModelComparison(forced_baseline=True).invoke(tuned(host, data_of([row])))
    assert [body["function_call"] for body in asked(host) if "function_call" in body] == [
        {"name": "Calculator"}
    ]


def test_a_host_that_cannot_force_calls_is_compared_without(host):
    reply = host.answer

    def answer(body):
        if "tool_choice" in body:
            raise Refusal(400, "tool_choice is not supported")
        return reply(body)

    host.answer = answer
    report = ModelComparison(forced_baseline=True).invoke(tuned(host))
    assert (report.forced_exact, report.num_failed) == (None, 0)
    assert report.tuned_exact == 1.0


async def test_a_tuned_model_that_is_its_base_is_called_so(host, color, caplog):
    host.answer = lambda _: {"role": "assistant", "content": "Hello."}
    with caplog.at_level(logging.WARNING, "langchain_finetune"):
        report = await color(ModelComparison(), "invoke", tuned(host))
    assert report.is_adapter_loaded is False
    assert "the adapter is not loaded" in report.warnings[0]
    assert "the adapter is not loaded" in caplog.text
    assert "warning: ft:" in str(report)
    assert report.num_asked == 6 + 16
    prompts = {body["messages"][-1]["content"] for body in asked(host)}
    assert {f"Reckon {number}" for number in range(8)} <= prompts


def test_one_answer_that_differs_proves_the_adapter(host):
    reply = host.answer
    host.answer = lambda body: (
        reply(body) if "Reckon 14" not in str(body["messages"]) else {"role": "assistant", "content": "Hm."}
    )
    report = ModelComparison().invoke(tuned(host))
    assert report.is_adapter_loaded is True
    assert report.num_asked == 6


def test_on_held_out_rows_that_both_answer_alike_the_training_prompts_tell(host):
    reply = host.answer
    host.answer = lambda body: (
        {"role": "assistant", "content": "Hm."}
        if body["messages"][-1]["content"] > "Reckon 13"
        else reply(body)
    )
    data = data_of([tool_row(number) for number in (80, 81)])
    assert ModelComparison().invoke(tuned(host, data)).is_adapter_loaded is True
    other = ModelComparison(check_adapter=False).invoke(tuned(host, data))
    assert other.is_adapter_loaded is None
    assert ModelComparison(baseline=ChatOpenAI(model="x", api_key="k")).metrics


def test_answers_of_other_weights_under_the_same_name_are_asked_anew(host):
    model = tuned(host)
    base = model.metadata["langchain_finetune_base"]
    host.models[base]["weights_sha256"] = "a" * 64
    assert ModelComparison().invoke(model).num_asked == 6
    assert ModelComparison().invoke(model).num_asked == 0
    host.models[base]["weights_sha256"] = "b" * 64
    assert ModelComparison().invoke(model).num_asked == 3


async def test_several_models_are_compared_by_their_names(host, color):
    model = tuned(host)
    other = GenericFakeChatModel(messages=iter([AIMessage("Eight.")] * 9))
    report = await color(ModelComparison(), "invoke", {"ours": model, "theirs": other})
    assert (report.base, report.tuned) == ("gpt-4.1-mini-2025-04-14", "ours")
    assert [each["name"] for each in report.summary()["models"]] == [report.base, "ours", "theirs"]
    assert report.summary()["scores"]["exact"]["theirs"]["mean"] == 0.0


def test_without_any_base_the_first_model_is_the_baseline():
    models = [FakeListChatModel(responses=["It is 2."]), FakeListChatModel(responses=["It is 3."])]
    report = ModelComparison(data=data_of([text_row(3), text_row(4)])).invoke(models)
    assert (report.base, report.tuned) == ("FakeListChatModel", "FakeListChatModel #2")
    assert (report.base_exact, report.tuned_exact) == (0.0, 0.5)
    with pytest.raises(TrainingDataError, match="names no base"):
        ModelComparison(data=data_of([text_row(3)])).invoke(models[0])


def test_held_out_rows_may_be_a_file(tmp_path, host):
    path = tmp_path / "held_out.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (tool_row(30), tool_row(31))))
    report = ModelComparison(data=path).invoke(tuned(host))
    assert (report.num_held_out, report.tuned_exact) == (2, 1.0)
    with pytest.raises(SourceNotFoundError):
        ModelComparison(data=tmp_path / "none.jsonl").invoke(tuned(host))


def test_own_metrics_stand_in_the_report_and_the_first_one_decides(host):
    def is_brief(example, answer):
        return len(answer.text) < 5

    report = ModelComparison(metrics=[is_brief, "exact"]).invoke(tuned(host))
    assert (report.metric, report.num_wins, report.gain[0]) == ("is_brief", 3, 1.0)
    assert set(report.summary()["scores"]) == {"is_brief", "exact"}
    with pytest.raises(MetricError, match="'broken'"):
        ModelComparison(metrics=[lambda example, answer: 1 / 0], forced_baseline=False).model_copy(
            update={"metrics": (broken,)}
        ).invoke(tuned(host))


def broken(example, answer):
    raise ValueError


def test_a_metric_that_is_none_is_refused_at_once():
    with pytest.raises(ValidationError, match="there is no metric 'exakt'"):
        ModelComparison(metrics=["exakt"])


class Referee(FakeListChatModel):
    """Sees whether the answer is the reference, or likes everything."""

    likes_everything: bool = False
    responses: list[str] = []  # noqa: RUF012  a field

    def _call(self, messages, stop=None, run_manager=None, **kwargs):
        text = messages[-1].content
        parts = [text.split(f"<{tag}>")[1].split(f"</{tag}>")[0] for tag in ("reference", "answer")]
        return "GOOD" if self.likes_everything or parts[0] == parts[1] else "BAD"


async def test_a_judge_that_tells_the_controls_has_a_say_and_is_asked_once(host, color):
    model, judge = tuned(host), Judge(Referee())
    comparison = ModelComparison(metrics=["exact", judge])
    report = await color(comparison, "invoke", model)
    # Three recorded and three corrupted answers; the tuned model's are the recorded ones, word for word.
    assert report.num_asked == 6 + 6 + 3
    assert report.summary()["scores"]["judge"][report.tuned]["mean"] == 1.0
    assert report.summary()["scores"]["judge"][report.base]["mean"] == 0.0
    assert report.summary()["judges"][0]["bad_told"] == 3
    assert report.warnings == ()
    assert (await color(comparison, "invoke", model)).num_asked == 0


def test_a_judge_that_likes_everything_has_no_say(host):
    report = ModelComparison(metrics=["exact", Referee(likes_everything=True)]).invoke(tuned(host))
    assert (
        "has no say: it told 3 of 3 recorded answers and 0 of 3 corrupted ones rightly" in report.warnings[0]
    )
    assert "judge" not in report.summary()["scores"]


def test_the_judges_calls_are_marked_as_this_packages_own(host):
    marks = []

    class Watcher(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, metadata=None, **kwargs):
            marks.append(metadata["langchain_finetune"])

    ModelComparison(metrics=["exact", Referee()]).invoke(tuned(host), {"callbacks": [Watcher()]})
    assert set(marks) == {"comparison"}


def test_details_lie_on_disk_with_run_ids_tags_and_regressions(host):
    lines = [
        {"run_id": "run-a", "split": "test", "row": 0, "status": "kept", "tags": ["prod"]},
        {"run_id": "run-b", "split": "test", "row": 0, "status": "merged"},
        {"run_id": "run-c", "split": "test", "row": 1, "status": "kept", "tags": ["beta"]},
        {"run_id": "run-d", "split": "train", "row": 1, "status": "kept"},
        {"run_id": "run-e", "status": "rejected", "reason": "errored"},
    ]
    model = tuned(host, data_of([text_row(5), tool_row(6)], lines))
    reply = host.answer

    def answer(body):
        if "What is 5?" in str(body["messages"]):
            text = "No idea." if body["model"].startswith("ft:") else "It is 5."
            return {"role": "assistant", "content": text}
        return reply(body)

    host.answer = answer
    report = ModelComparison().invoke(model)
    assert (report.base_exact, report.tuned_exact, report.regressions, report.num_losses) == (
        0.5,
        0.5,
        (0,),
        1,
    )
    (lost,) = report.regressed()
    assert (lost["run_ids"], lost["baseline_score"], lost["score"]) == (["run-a", "run-b"], 1.0, 0.0)
    first, second = report.answers()
    assert first["tags"] == ["prod", "text"]
    assert second["models"][report.tuned]["answer"]["tool_calls"][0]["function"]["name"] == "Calculator"
    tags = {each["tag"]: each for each in report.summary()["tags"]}
    assert tags["prod"]["duels"][report.tuned]["losses"] == 1
    assert tags["tool:Calculator"]["duels"][report.tuned]["wins"] == 1
    assert ComparisonReport.load(report.directory) == report
    assert origins_from(lines)[0].run_ids == ("run-a", "run-b")


def test_details_that_were_cleaned_away_are_named(host):
    report = ModelComparison().invoke(tuned(host))
    assert _spool.clean(older_than_days=0).num_data == 2
    for look in (report.summary, report.write_html, lambda: list(report.answers())):
        with pytest.raises(SourceNotFoundError):
            look()


def test_the_answers_of_a_failed_model_count_as_nothing(host):
    reply = host.answer

    def answer(body):
        if body["model"].startswith("ft:") and "15" in str(body["messages"]):
            raise Refusal(400, "too long")
        return reply(body)

    host.answer = answer
    report = ModelComparison().invoke(tuned(host))
    assert report.tuned_exact == pytest.approx(2 / 3)
    scores = report.summary()["scores"]
    assert scores["refusal"][report.tuned]["mean"] == pytest.approx(2 / 3)
    assert scores["tool_calls.name"][report.tuned]["num"] == 3
    assert scores["seconds"][report.tuned]["num"] == 2
    assert [line["models"][report.tuned]["error"] for line in report.answers()][1].endswith("too long")


class Trace(BaseCallbackHandler):
    """What a tracer would be told of a stage."""

    run_inline = True

    def __init__(self):
        self.sizes = {}

    def on_chain_start(self, serialized, inputs, *, name=None, **kwargs):
        self.sizes[f"{name} in"] = len(json.dumps([serialized, inputs], default=str))
        assert "Reckon" not in json.dumps([serialized, inputs], default=str)

    def on_chain_end(self, outputs, **kwargs):
        self.sizes["out"] = len(json.dumps(outputs, default=lambda value: value.model_dump(mode="json")))


def test_a_trace_of_the_stage_stays_small_and_holds_no_row(host):
    trace = Trace()
    metrics = ["exact", "text", lambda example, answer: 1.0, Judge(Referee())]
    data = data_of([tool_row(number) for number in range(40)])
    comparison = ModelComparison(metrics=metrics)
    report = comparison.invoke(tuned(host, data), {"callbacks": [trace]})
    assert max(trace.sizes.values()) < 2048, trace.sizes
    assert len(report.model_dump_json()) < 2048


def test_an_answer_store_of_before_is_started_anew(host):
    path = _spool.state_directory() / "comparisons.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE answers (model, test_sha256, settings, row, answer, created_at)")
        old.execute("PRAGMA user_version = 1")
    old.close()
    assert ModelComparison().invoke(tuned(host)).num_asked == 6
