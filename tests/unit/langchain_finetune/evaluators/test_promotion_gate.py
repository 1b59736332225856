import json

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.runnables import RunnableLambda

from langchain_finetune import PromotionGate
from langchain_finetune.errors import HostError, SettingError
from langchain_finetune.evaluators import ComparisonReport, ModelComparison
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import call, training_data

NUM = 40


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


class Events(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.seen = []

    def on_custom_event(self, name, data, **kwargs):
        if name == "langchain_finetune_gate":
            self.seen.append(data)


def host_that_answers(tuned_hits, base_hits):
    """A host whose models know the answers to some of the held-out questions."""
    host = FakeHost()

    def answer(body):
        number = int(body["messages"][-1]["content"].removeprefix("Reckon "))
        hits = tuned_hits if body["model"].startswith("ft:") else base_hits
        if number in hits:
            return {
                "role": "assistant",
                "content": None,
                "tool_calls": [call(arguments=f'{{"num1": {number}}}')],
            }
        return {"role": "assistant", "content": f"{body['model']} does not know."}

    host.answer = answer
    return host


def held_out():
    return range(14, 14 + NUM)


def tuned(host):
    return trainer_at(host).invoke(training_data(num_test=NUM))


async def test_a_model_that_wins_is_handed_on(color):
    events, model = Events(), tuned(host_that_answers(held_out(), range(20)))
    chosen = await color(
        PromotionGate(min_gain=0.5, max_regressions=0), "invoke", model, {"callbacks": [events]}
    )
    assert chosen is model
    (event,) = events.seen
    assert (event["promoted"], event["model"], event["metric"]) == (True, model.model_name, "exact")
    assert "the gain is more than +0.5: exact +0.85" in event["reason"]
    report = ComparisonReport.load(event["directory"])
    assert report.decision.promoted
    assert "promoted: " in str(report)
    assert json.dumps(event)


@pytest.mark.parametrize(
    ("tuned_hits", "base_hits", "settings", "reason"),
    [
        ((), range(99), {}, "did not get better"),
        (range(99), range(99), {}, "changed nothing"),
        (range(14, 30), range(14, 28), {}, "the gain may be no more than +0: exact +0.050"),
        (range(99), range(30), {"min_gain": 0.6}, "the gain may be no more than +0.6"),
        (range(20, 99), range(19), {"max_regressions": 4}, "5 regressions are more than 4"),
    ],
)
async def test_the_baseline_is_handed_on_with_the_reason(color, tuned_hits, base_hits, settings, reason):
    host, events = host_that_answers(tuned_hits, base_hits), Events()
    model = tuned(host)
    chosen = await color(PromotionGate(**settings), "invoke", model, {"callbacks": [events]})
    assert chosen.model_name == model.metadata["langchain_finetune_base"]
    assert reason in events.seen[0]["reason"]
    assert not events.seen[0]["promoted"]


def test_a_few_questions_cannot_promote_by_luck():
    host = host_that_answers(held_out(), ())
    model = trainer_at(host).invoke(training_data(num_test=3))
    assert PromotionGate().invoke(model) is model
    assert PromotionGate(min_gain=0.3).invoke(model) is not model


def test_some_loss_may_be_accepted_for_a_smaller_model():
    model = tuned(host_that_answers(range(14, 53), held_out()))
    assert PromotionGate(min_gain=-0.1).invoke(model) is model
    assert PromotionGate(min_gain=-0.01).invoke(model) is not model


def test_a_model_that_is_its_base_is_not_promoted_whatever_is_asked():
    host, events = host_that_answers((), ()), Events()
    host.answer = lambda _: {"role": "assistant", "content": "Hello."}
    model = tuned(host)
    chosen = PromotionGate(min_gain=-1).invoke(model, {"callbacks": [events]})
    assert chosen is not model
    assert "the adapter is not loaded" in events.seen[0]["reason"]


def test_a_baseline_of_ones_own_is_handed_on_as_it_is():
    fallback = FakeListChatModel(responses=["no"])
    model = tuned(host_that_answers((), ()))
    assert PromotionGate(ModelComparison(baseline=fallback)).invoke(model) is fallback


def test_it_stands_at_the_end_of_a_pipe_and_a_second_run_asks_nothing():
    host = host_that_answers(held_out(), ())
    pipe = RunnableLambda(lambda _: training_data(num_test=NUM)) | trainer_at(host) | PromotionGate()
    assert pipe.invoke("x").model_name.startswith("ft:")
    num_asked = len(host.sent("POST", "/chat/completions"))
    assert pipe.invoke("x").model_name.startswith("ft:")
    assert len(host.sent("POST", "/chat/completions")) == num_asked == 2 * NUM
    assert PromotionGate().get_input_jsonschema()
    assert PromotionGate().get_output_jsonschema()


def test_it_decides_about_one_model_that_has_something_to_fall_back_on():
    model = tuned(host_that_answers((), ()))
    with pytest.raises(SettingError, match="not about 2"):
        PromotionGate().invoke([model, model])
    with pytest.raises(SettingError, match="names no base to fall back on"):
        PromotionGate().invoke(FakeListChatModel(responses=["x"]))


def test_a_host_that_answers_nothing_is_no_decision():
    host = host_that_answers((), ())
    model = tuned(host)
    host.fail("POST", "/chat/completions", 500, times=999)
    with pytest.raises(HostError):
        PromotionGate().invoke(model)


def test_a_gate_is_small_in_a_trace():
    sizes = []

    class Trace(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            sizes.append(len(json.dumps([serialized, inputs], default=str)))

    PromotionGate().invoke(tuned(host_that_answers(held_out(), ())), {"callbacks": [Trace()]})
    assert max(sizes) < 2048
