"""What the documents say is there."""

import re
from pathlib import Path

from langchain_finetune import errors
from langchain_finetune.runs import Reason

ROOT = Path(__file__).parents[2]


def test_every_error_is_listed():
    listed = (ROOT / "docs" / "errors.md").read_text()
    tree = errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FineTuneError):
            assert name in tree, name
            if value not in (errors.FineTuneError, errors.JobError):
                assert f"`{name}`" in listed, name


def test_every_reason_is_listed():
    listed = (ROOT / "docs" / "errors.md").read_text()
    assert [reason for reason in Reason if f"| `{reason.value}` |" not in listed] == []


def test_every_make_target_in_the_documents_exists():
    makefile = (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"`?make ([a-z-]+)", (ROOT / name).read_text()):
            assert f"\n{target}:" in makefile or target in ("and", "it"), target


def test_every_dependency_has_its_sentence():
    listed = (ROOT / "docs" / "architecture.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    names = re.findall(r'^  "([a-z0-9-]+)[<>=]', block, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if name not in listed] == []
