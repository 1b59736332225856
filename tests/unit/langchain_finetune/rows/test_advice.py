import pytest

from langchain_finetune.rows import advice_on
from langchain_finetune.rows.advice import ADVICE
from langchain_finetune.runs import Reason


def test_every_rule_has_its_advice():
    about_runs = {
        *("not_a_run", "not_an_llm_run", "not_chat_model", "unknown_shape", "too_deep", "errored"),
        *("pending", "hidden_inputs", "truncated", "content_filter", "previous_response_id"),
        *("builtin_tool", "not_found", "offloaded", "too_large"),
        *("unrated", "no_preference", "no_pair", "tied", "enough_pairs"),
    }
    assert {reason.value for reason in Reason} - {reason.value for reason in ADVICE} == about_runs


@pytest.mark.parametrize("reason", ADVICE)
def test_advice_is_one_sentence(reason):
    for method in ("supervised", "dpo", "reinforcement"):
        advice = advice_on(reason, method)
        assert advice.endswith(".")
        assert advice.count(". ") == 0


def test_a_method_may_have_advice_of_its_own():
    assert "`input.messages`" in advice_on(Reason.NO_MESSAGES, "dpo")
    assert "system is developer" in advice_on(Reason.UNKNOWN_ROLE, "reinforcement")
    assert advice_on(Reason.PENDING, "dpo") == "Correct the row, or leave it out."
