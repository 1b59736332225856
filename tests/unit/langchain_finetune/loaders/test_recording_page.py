"""What docs/recording.md shows works as it stands there."""

import re
from pathlib import Path

from langchain_finetune import LangSmithRunChatLoader, RunStore
from langchain_finetune._spool import read_jsonl
from langchain_finetune.loaders._filter_language import COMPARATORS
from tests.fakes.recorded_app import echo_chain

PAGE = (Path(__file__).parents[4] / "docs" / "recording.md").read_text()


def test_the_examples_of_the_page_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    names = {"chain": echo_chain()}
    for block in blocks:
        exec(block, names)
    store = RunStore("runs.sqlite")
    assert (store.projects(), store.num_runs) == (["default", "my-app"], 12)
    sessions = names["loader"].invoke({})
    assert sessions.num_sessions == 1
    corrected = LangSmithRunChatLoader(client=store, corrections="only").invoke({})
    assert [row["correction"]["content"] for row in read_jsonl(corrected.path)] == ["8"]


def test_the_page_lists_the_filter_language():
    row = re.search(r"^\| fields \| (.*) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row[1])) == set(COMPARATORS)
    words = {word for each in COMPARATORS.values() for word in each}
    assert (
        set(re.findall(r"`(\w+)`", re.search(r"^\| comparators \| (.*) \|$", PAGE, re.MULTILINE)[1])) == words
    )
