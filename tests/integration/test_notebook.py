"""LangSmith's notebook, brought up to date, runs from its first cell to its last, with a real training."""

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from langchain_finetune.cli.main import main as langchain_finetune

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "langsmith_llm_runs.ipynb"
HEADINGS = ["## 1. Select runs", "## 2. Prepare data", "## 3. Fine-tune the model", "## 4. Use in LangChain"]


@pytest.fixture
def stopped_afterwards() -> Iterator[None]:
    yield
    langchain_finetune(["stop"])


def read_notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_has_the_originals_headings_and_no_outputs_of_a_machine() -> None:
    cells = read_notebook().cells
    titles = [cell.source.splitlines()[0] for cell in cells if cell.source.startswith("## ")]
    assert [title for title in titles if title in HEADINGS] == HEADINGS
    assert [cell.outputs for cell in cells if cell.cell_type == "code" and cell.outputs] == []


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("stopped_afterwards")
def test_the_notebook_ends_with_the_number_8(monkeypatch: pytest.MonkeyPatch) -> None:
    libs = str(EXAMPLES.parent / "libs")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([libs, os.environ.get("PYTHONPATH", "")]))
    notebook = read_notebook()
    client = NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs[-1].data["text/plain"] == "8.0"
