"""What a stage takes from a request over HTTP."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import ConfigurableField

from langchain_finetune import (
    FineTuneRunnable,
    LangSmithDatasetChatLoader,
    LangSmithRunChatLoader,
    RunExportLoader,
    RunSelection,
    TrainingDataConverter,
)
from langchain_finetune._served import chosen_fields, refuse_settings, refuse_untrusted
from langchain_finetune.errors import NotEnoughExamplesError, ServedInputError
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import rows, training_data

SERVED = {"metadata": {"__langserve_version": "0.3.3"}}

EXPORT = RunExportLoader("runs.jsonl", project_name="mine", limit=3)
LANGSMITH = LangSmithRunChatLoader(project_name="mine", feedback={"user_score": 1})
DATASET = LangSmithDatasetChatLoader("answers")
CONVERTER = TrainingDataConverter()
TRAINER = FineTuneRunnable("openai:gpt-4.1-mini-2025-04-14", api_key="sk-fake")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("stage", "given"),
    [
        (EXPORT, "/etc/passwd"),
        (EXPORT, ["/etc/passwd"]),
        (EXPORT, {"project_name": "theirs"}),
        (EXPORT, {"snapshot": "x"}),
        (EXPORT, {"snapshot": "x", "refresh": True}),
        (LANGSMITH, "theirs"),
        (LANGSMITH, {"project_name": "theirs"}),
        (LANGSMITH, ["018f0000-0000-7000-8000-000000000000"]),
        (LANGSMITH, [{"id": "018f0000-0000-7000-8000-000000000000"}]),
        (DATASET, "theirs"),
        (DATASET, {"dataset_name": "theirs"}),
        (CONVERTER, "/etc/passwd"),
        (CONVERTER, Path("/etc/passwd")),
        (CONVERTER, {"path": "/etc/passwd"}),
        (TRAINER, "/etc/passwd"),
        (TRAINER, ["/etc/passwd"]),
        (TRAINER, [["/etc/passwd"]]),
        (TRAINER, {"train": "/etc/passwd", "fingerprint": "x", "num_train": 10}),
    ],
)
def test_what_names_something_of_the_servers_is_refused(stage, given):
    with pytest.raises(ServedInputError):
        refuse_untrusted(stage, given)


@pytest.mark.parametrize(
    ("stage", "given"),
    [
        (EXPORT, None),
        (EXPORT, {}),
        (EXPORT, {"limit": 5, "project_name": "mine"}),
        (LANGSMITH, "mine"),
        (LANGSMITH, {"project_name": None}),
        (DATASET, "answers"),
        (CONVERTER, [{"messages": []}]),
        (TRAINER, rows(2)),
    ],
)
def test_values_and_the_servers_own_names_are_taken(stage, given):
    refuse_untrusted(stage, given)


def test_further_projects_are_taken_where_the_server_allows_them():
    refuse_untrusted(LANGSMITH, "theirs", ["theirs"])
    refuse_untrusted(DATASET, {"dataset_name": "theirs"}, ["theirs"])
    with pytest.raises(ServedInputError, match="'others' is not served here"):
        refuse_untrusted(LANGSMITH, "others", ["theirs"])


def test_a_handle_of_the_stage_before_is_taken():
    refuse_untrusted(TRAINER, training_data())


@given(JSON)
def test_no_json_names_a_path_to_any_stage(value):
    for stage in (CONVERTER, TRAINER):
        try:
            refuse_untrusted(stage, value)
        except ServedInputError:
            continue
        assert not isinstance(value, str | dict)
        assert not (isinstance(value, list) and any(isinstance(item, str | list) for item in value))
    try:
        refuse_untrusted(EXPORT, value)
    except ServedInputError:
        return
    assert value is None or value.get("project_name") in (None, "mine")


@pytest.mark.parametrize("name", ["base_url", "api_key", "client", "target", "path", "chat_model_kwargs"])
def test_no_setting_that_chooses_a_place_or_a_key_is_taken_even_where_it_is_allowed(name):
    with pytest.raises(ServedInputError, match=name):
        refuse_settings({name: "x"}, [name])


def test_other_settings_are_taken_where_they_are_allowed():
    refuse_settings({"seed": 1}, ["seed"])
    with pytest.raises(ServedInputError, match="cannot set seed"):
        refuse_settings({"seed": 1}, [])


async def test_a_stage_refuses_a_request_of_langserves_and_nobody_elses(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    trainer = trainer_at(FakeHost())
    with pytest.raises(ServedInputError, match="follows no paths"):
        trainer.invoke(str(path), SERVED)
    with pytest.raises(ServedInputError, match="follows no paths"):
        await trainer.ainvoke(str(path), SERVED)
    with pytest.raises(NotEnoughExamplesError):
        trainer.invoke(str(path))


def test_a_configurable_url_is_refused_in_a_request():
    host = FakeHost()
    trainer = trainer_at(host).configurable_fields(
        base_url=ConfigurableField(id="base_url"), suffix=ConfigurableField(id="suffix")
    )
    with pytest.raises(ServedInputError, match="cannot set base_url"):
        trainer.invoke(training_data(), {**SERVED, "configurable": {"base_url": None}})
    trainer.invoke(training_data(), {**SERVED, "configurable": {"suffix": "mine"}})
    assert next(iter(host.jobs.values()))["user_provided_suffix"] == "mine"


def test_fields_that_nobody_chose_undo_no_setting_of_the_loaders():
    # LangServe hands a selection over as all of its fields.
    whole = RunSelection(limit=7).model_dump()
    assert chosen_fields(LANGSMITH, whole) == {"limit": 7}
    assert chosen_fields(CONVERTER, [{"a": 1}]) == [{"a": 1}]
