"""The last step of a pipe that lets an alias stand for what came out of it."""

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

from langchain_finetune import AliasStore, Promotion
from langchain_finetune.errors import AliasNotFoundError
from tests.fakes.clients import trainer_at
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import training_data


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


async def test_the_tuned_model_is_promoted_and_handed_on(color):
    pipe = trainer_at(FakeHost()) | Promotion(alias="calculator@production", note="nightly")
    model = await color(pipe, "invoke", training_data())
    assert isinstance(model, ChatOpenAI)
    assert AliasStore().resolve("calculator@production").model == model.model_name
    assert AliasStore().history("calculator@production")[0].note == "nightly"


async def test_a_served_trainers_model_is_promoted_too(color, tmp_path):
    store = AliasStore(tmp_path / "own.sqlite")
    pipe = trainer_at(FakeHost()).as_served() | Promotion(alias="a", store=store)
    assert store.current() == {}
    tuned = await color(pipe, "invoke", training_data())
    assert store.resolve("a") == tuned


async def test_a_baseline_that_a_gate_hands_on_moves_nothing(color):
    baseline = ChatOpenAI(model="gpt-4.1", api_key="x")
    step = Promotion(alias="a")
    assert await color(step, "invoke", baseline) is baseline
    with pytest.raises(AliasNotFoundError):
        AliasStore().resolve("a")


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="not a str"):
        Promotion(alias="a").invoke("model")


def test_its_schemas_are_json():
    pipe = RunnableLambda(lambda x: x) | Promotion(alias="a")
    assert pipe.get_output_jsonschema()
    assert Promotion(alias="a").get_input_jsonschema()
