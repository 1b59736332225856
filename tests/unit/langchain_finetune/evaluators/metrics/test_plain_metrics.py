"""Validity, texts, refusals, usage and prices: small metrics, a table each."""

import pytest

from langchain_finetune.errors import MetricError, MissingExtraError
from langchain_finetune.evaluators import (
    ChrF,
    Exact,
    ExactText,
    Latency,
    NormalizedText,
    Price,
    RefusalAgreement,
    Tokens,
    Validity,
)
from langchain_finetune.evaluators.metrics import chrf
from langchain_finetune.evaluators.metrics.metric import flat
from tests.fakes.eval_examples import asks, calls, says
from tests.fakes.training_rows import TOOL

STRICT = {"type": "function", "function": {**TOOL["function"], "parameters": {
    "type": "object", "properties": {"num1": {"type": "number"}}, "required": ["num1"]}}}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "is_valid"),
    [
        (calls(("Calculator", {"num1": 5})), True),
        (calls(("Calculator", {"num1": "5"})), False),
        (calls(("Calculator", {})), False),
        (calls(("Calculator", "{no json")), False),
        (calls(("Other", {"num1": 5})), False),
        (calls(("Calculator", {"num1": 5}), ("Other", {})), False),
        (says("Let me see."), False),
    ],
)
def test_a_call_is_valid_when_an_application_can_carry_it_out(answer, is_valid):
    assert Validity().score(asks(calls(("Calculator", {"num1": 1})), tools=(STRICT,)), answer) is is_valid


@pytest.mark.parametrize(
    ("expected", "given", "is_valid"),
    [
        ('{"a": 1}', "[2]", True),
        ('{"a": 1}', "{a: 1}", False),
        ('{"a": 1}', "7", False),
        ("Hello.", "x", None),
    ],
)
def test_text_has_to_be_json_where_json_was_recorded(expected, given, is_valid):
    assert Validity().score(asks(says(expected)), says(given)) is is_valid


@pytest.mark.parametrize(
    ("given", "exact", "normalized"),
    [
        ("It is 8.", True, True),
        (" It is 8.\n", True, True),
        ("**it  IS 8**", False, True),
        ("It is 9.", False, False),
    ],
)
def test_texts_agree_to_the_letter_or_but_for_their_dress(given, exact, normalized):
    example = asks(says("It is 8."))
    assert ExactText().score(example, says(given)) is exact
    assert NormalizedText().score(example, says(given)) is normalized
    assert Exact().score(example, says(given)) is exact


@pytest.fixture
def sacrebleu():
    pytest.importorskip("sacrebleu", reason="chrF is NOT tested: sacrebleu is not installed")
    chrf._chrf.cache_clear()


def test_metrics_of_text_say_nothing_of_calls(sacrebleu):
    example = asks(calls(("Calculator", {})))
    for metric in (ExactText(), NormalizedText(), ChrF()):
        assert metric.score(example, says("x")) is None


def test_chrf_grows_with_similarity(sacrebleu):
    example = asks(says("The invoice is due on Friday."))
    texts = (
        "Bananas.",
        "The invoice came late.",
        "The invoice is due Friday.",
        "The invoice is due on Friday.",
    )
    found = [ChrF().score(example, says(text)) for text in texts]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1.0)
    assert 0 <= found[0] < 0.2


def test_chrf_without_its_library_says_how_to_get_it(monkeypatch):
    chrf._chrf.cache_clear()
    monkeypatch.setattr(chrf, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(MissingExtraError, match=r'pip install "langchain-finetune\[evaluation\]"'):
        ChrF()


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        (says("I'm sorry, but I can't help with that."), True),
        (says("I\u2019m sorry, I cannot do this."), True),
        (says("Sorry, no."), True),
        (says("I cannot share that."), True),
        (says("Unfortunately, I am unable to do so."), True),
        (says("We must decline."), True),
        (says("", refusal="No."), True),
        (says("The customer says sorry."), False),
        (says("I can help."), False),
        (says("Ice cannot melt here."), False),
        (calls(("f", {}), text="I'm sorry, let me look."), False),
        (says(""), False),
    ],
)
def test_refusals_are_known_by_their_beginning(answer, is_refusal):
    metric = RefusalAgreement()
    assert metric.score(asks(says("It is 8.")), answer) is (not is_refusal)
    assert metric.score(asks(says("I can't tell.")), answer) is is_refusal


def test_time_and_tokens_are_what_was_measured():
    answer, example = says("x", input_tokens=30, output_tokens=4, seconds=0.25), asks(says("x"))
    assert Latency().score(example, answer) == 0.25
    assert Tokens().score(example, answer) == {"input": 30, "output": 4}
    assert flat("tokens", Tokens().score(example, says("x"))) == {}


@pytest.mark.parametrize(
    ("model", "provider", "usd"),
    [
        ("ft:gpt-4.1-mini-2025-04-14:acme::abc", "openai", 0.8 + 6.4),
        ("ft:gpt-4o-2024-08-06:acme::abc", "openai", 3.75 + 30.0),
        ("anything", "local", 0.0),
        ("mine", "custom", 1.0 + 4.0),
        ("ft:gpt-9:acme::abc", "openai", None),
        ("gpt-4.1", "openai", None),
        ("unknown", None, None),
    ],
)
def test_a_price_is_the_hosts_list_price_or_ones_own(model, provider, usd):
    metric = Price(prices={"mine": (1.0, 2.0)}).for_model(model, provider)
    answer = says("x", input_tokens=1_000_000, output_tokens=2_000_000)
    assert metric.score(asks(says("x")), answer) == (None if usd is None else pytest.approx(usd))
    assert metric.score(asks(says("x")), says("x")) is None


@pytest.mark.parametrize("value", ["x", float("nan"), float("inf"), [1], object()])
def test_a_score_that_is_none_is_refused_with_the_metrics_name(value):
    with pytest.raises(MetricError, match="'mine' returned"):
        flat("mine", value)
