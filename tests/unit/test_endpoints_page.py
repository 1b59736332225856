"""The page of endpoints and the OpenAPI document name what the app answers, and nothing else."""

import re
from http import HTTPStatus
from pathlib import Path

import pytest
from fastapi import FastAPI

from finetune_server.app import _add_routes, _describe
from finetune_server.openapi import OPERATIONS

PAGE = (Path(__file__).parents[2] / "docs" / "endpoints.md").read_text()
SECTIONS = {
    part.partition("\n")[0].strip("` "): part.partition("\n## ")[0] for part in PAGE.split("\n### ")[1:]
}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    _add_routes(app)
    _describe(app)
    return app


@pytest.fixture(scope="module")
def document(app):
    return app.openapi()


def operation_of(document, name: str) -> dict:
    method, path = name.split(" ")
    return document["paths"][path][method.lower()]


def parameters_of(document, name: str) -> set[str]:
    operation = operation_of(document, name)
    found = {parameter["name"] for parameter in operation.get("parameters", [])}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        found |= schema["properties"].keys()
    return found


def test_every_operation_of_the_app_is_described_and_no_other(document):
    found = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert found == set(OPERATIONS)


def test_every_operation_is_on_the_page_and_no_other():
    assert set(SECTIONS) == {*OPERATIONS, "GET /openapi.json"}


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_parameter_has_its_row_and_no_other(document, name):
    rows = re.findall(r"^\| ([^|]+) \| (?:path|query|header|body|form) \|", SECTIONS[name], re.MULTILINE)
    told = [parameter for row in rows for parameter in re.findall(r"`([^`]+)`", row)]
    assert len(set(told)) == len(told)
    assert set(told) == parameters_of(document, name)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_error_has_its_row(document, name):
    rows = re.findall(r"^\| ([0-9, ]+) \|", SECTIONS[name], re.MULTILINE)
    told = {status for row in rows for status in re.findall(r"\d+", row)}
    described = operation_of(document, name)["responses"].keys() - {"200", "401", "default"}
    assert described <= told
    assert {status for status in told if int(status) in set(HTTPStatus)} <= described


def test_the_document_knows_no_422_and_no_schema_that_is_missing(document):
    assert "422" not in str(document)
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= document["components"]["schemas"].keys()
    assert document["security"] == [{"key": []}]
    assert operation_of(document, "GET /healthz")["security"] == []
