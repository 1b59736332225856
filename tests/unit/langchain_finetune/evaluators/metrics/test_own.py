import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from langchain_finetune.errors import MetricError, SettingError
from langchain_finetune.evaluators import DEFAULT_METRICS, METRICS, Judge
from langchain_finetune.evaluators.metrics import read_metrics
from langchain_finetune.evaluators.metrics.metric import flat
from tests.fakes.eval_examples import asks, calls, says


@pytest.fixture
def openevals():
    return pytest.importorskip("openevals", reason="openevals is NOT tested: it is not installed")


def measured(metric, expected, given):
    (read,) = read_metrics([metric])
    return flat(read.name, read.score(asks(expected), given))


def test_a_function_of_example_and_answer_is_a_metric_under_its_name():
    def is_short(example, answer):
        return len(answer.text) <= len(example.expected.text)

    assert measured(is_short, says("It is 8."), says("8.")) == {"is_short": 1.0}


def test_a_dict_gives_several_scores_and_none_leaves_one_out():
    def parts(example, answer):
        return {
            "length": len(answer.text) / 10,
            "asked": example.prompt[0]["role"] == "user",
            "nothing": None,
        }

    assert measured(parts, says("x"), says("four")) == {"parts.length": 0.4, "parts.asked": 1.0}


async def test_async_functions_are_waited_for_inside_a_running_loop_too():
    async def later(example, answer):
        return 0.5

    assert measured(later, says("x"), says("x")) == {"later": 0.5}


def test_what_a_function_raises_is_told_with_the_row_and_without_its_text():
    def broken(example, answer):
        raise ValueError(answer.text)

    with pytest.raises(MetricError, match=r"'broken' failed on row 0, turn 1: ValueError") as caught:
        measured(broken, says("x"), says("a secret"))
    assert "a secret" not in str(caught.value)
    assert caught.value.metric == "broken"


@pytest.mark.parametrize("name", ["exact_match", "exact_match_async"])
def test_openevals_exact_match_is_taken_as_it_is(openevals, name):
    evaluator = getattr(openevals, name)
    same = calls(("f", {"b": 1, "a": 2}))
    score = measured(evaluator, same, calls(("f", {"a": 2, "b": 1})))
    assert list(score.values()) == [1.0]
    assert next(iter(score)).startswith(name.removesuffix("_async"))
    assert list(measured(evaluator, same, calls(("f", {"a": 3}))).values()) == [0.0]


def test_openevals_trajectories_and_judges_are_taken_as_they_are(openevals):
    trajectory = openevals.create_trajectory_match_evaluator(trajectory_match_mode="strict")
    expected = calls(("f", {"a": 1}))
    assert list(measured(trajectory, expected, calls(("f", {"a": 1}))).values()) == [1.0]
    assert list(measured(trajectory, expected, calls(("f", {"a": 2}))).values()) == [0.0]

    class Said(FakeListChatModel):
        def with_structured_output(self, schema, **kwargs):
            from langchain_core.runnables import RunnableLambda  # noqa: PLC0415

            return RunnableLambda(lambda prompt: {"score": "Reckon" in str(prompt), "reasoning": "so"})

    judge = openevals.create_llm_as_judge(
        prompt="{inputs} {outputs} {reference_outputs}", judge=Said(responses=["x"]), feedback_key="helpful"
    )
    (read,) = read_metrics([judge])
    assert read.name == "helpful"
    assert flat(read.name, read.score(asks(says("8."), asked="Reckon 8"), says("8."))) == {"helpful": 1.0}


def test_an_evaluator_of_any_of_the_keywords_gets_these_alone():
    def graded(outputs, inputs):
        return [{"key": "asked", "score": len(inputs["messages"])}, {"key": "said", "score": True}]

    assert measured(graded, says("x"), says("x")) == {"graded.asked": 1.0, "graded.said": 1.0}


def test_names_metrics_models_and_functions_may_be_given_and_nothing_else():
    model = FakeListChatModel(responses=["GOOD"])
    assert [metric.name for metric in read_metrics(set(METRICS) - {"chrf"})] == [
        *dict.fromkeys(set(METRICS) - {"chrf"})
    ]
    assert [metric.name for metric in read_metrics(DEFAULT_METRICS)] == list(DEFAULT_METRICS)
    assert read_metrics([model]) == (Judge(model),)
    for wrong in (["exakt"], [7], [], ["exact", "exact"], [model, model]):
        with pytest.raises(SettingError):
            read_metrics(wrong)
