import pytest

from langchain_finetune.runs.response_format import response_format_of

SCHEMA = {"title": "Person", "type": "object"}
CHAT = {"type": "json_schema", "json_schema": {"name": "Person", "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "Person", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "request_",
    [
        {"response_format": CHAT},
        {"text": {"format": {"type": "json_schema", "name": "Person", "schema": SCHEMA}}},
        {"text": {"format": {"type": "json_schema", "name": "Person", "schema_": SCHEMA}}},
        {"text_format": SCHEMA},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ],
)
def test_every_wire_gives_the_chat_form(request_):
    assert response_format_of(request_) == CHAT


def test_an_object_without_a_schema_is_kept():
    assert response_format_of({"response_format": {"type": "json_object"}}) == {"type": "json_object"}


@pytest.mark.parametrize(
    "request_", [{}, {"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}]
)
def test_text_is_no_format(request_):
    assert response_format_of(request_) is None


@pytest.mark.parametrize("schema", [SCHEMA, TOOL])
def test_a_class_is_found_in_the_options(schema):
    options = {"ls_structured_output_format": {"kwargs": {"method": "json_schema"}, "schema": schema}}
    assert response_format_of({"response_format": "<class 'Person'>"}, options=options) == CHAT


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ls_structured_output_format": "x"},
        {"ls_structured_output_format": {"schema": "<class 'Person'>"}},
    ],
)
def test_a_class_that_is_lost_is_none(options):
    assert response_format_of({"response_format": "<class 'Person'>"}, options=options) is None
