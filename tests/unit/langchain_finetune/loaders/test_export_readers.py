"""An export that several processes read: what comes out is what one process gives, and they all end."""

import gzip
import json
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from langchain_finetune import RunExportLoader
from langchain_finetune.errors import SelectionError, SourceError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders import _export_readers as readers_module
from langchain_finetune.loaders._export_blocks import FileBlock, read_block
from langchain_finetune.loaders._export_lines import Block
from langchain_finetune.loaders._export_readers import Readers
from langchain_finetune.loaders._root_feedback import RootFeedback
from langchain_finetune.loaders._selection import Sieve
from tests.fakes.recorded_runs import calculator_run, chat_run, run_id

NUM_RUNS = 120
GOOD = {"user_score": {"n": 1, "avg": 1.0}}


def root(number):
    rated = GOOD if number % 3 else None
    return {**chat_run(number, "x"), "run_type": "chain", "feedback_stats": rated}


def runs(first=0):
    """Runs of every end: children of rated roots, which come later; errored ones; tags; and no run."""
    for number in range(first, first + NUM_RUNS):
        parent = 10_000 + number
        fields = {"trace_id": run_id(parent), "parent_run_id": run_id(parent)} if number % 2 else {}
        run = calculator_run(number, number, 2, **fields)
        yield {**run, "error": "Oops()" if number % 7 == 0 else None, "tags": ["a"] * (number % 5)}
    yield [1]
    yield from (root(10_000 + number) for number in range(first, first + NUM_RUNS))


def lines(rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def folder(tmp_path):
    """Lines, plain and packed, and a table."""
    (tmp_path / "one.jsonl").write_bytes(lines(runs()) + b"\n")
    (tmp_path / "three.jsonl.gz").write_bytes(gzip.compress(lines(runs(1000))))
    rows = [
        {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in run.items()}
        for run in (chat_run(number, "hi") for number in range(2000, 2010))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "two.parquet")
    return tmp_path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("langchain_finetune.loaders._exports.BLOCK_BYTES", 20_000)


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    processes = []
    popen = readers_module.subprocess.Popen

    def start(*args, **settings):
        processes.append(popen(*args, **settings))
        return processes[-1]

    monkeypatch.setattr(readers_module.subprocess, "Popen", start)
    return processes


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "selection",
    [
        {},
        {"feedback": {"user_score": 1}, "include_errors": True},
        {"limit": 50, "tags": ["a"]},
    ],
)
def test_several_processes_give_what_one_gives(folder, started, selection):
    one = RunExportLoader(folder, **selection).invoke({})
    several = RunExportLoader(folder, num_processes=2, **selection).invoke({})
    assert several == one
    assert one.num_unselected + one.num_rejected > 0
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)


@pytest.mark.usefixtures("small_blocks")
def test_what_is_damaged_is_told_as_one_process_tells_it(tmp_path):
    (tmp_path / "cut.jsonl").write_bytes(lines(runs())[:-20])
    (tmp_path / "other.jsonl").write_text(json.dumps({"a": 1}, indent=2) + "\n")
    for name in ("cut.jsonl", "other.jsonl"):
        told = []
        for num_processes in (1, 2):
            with pytest.raises(SourceError) as caught:
                RunExportLoader(tmp_path / name, num_processes=num_processes).invoke({})
            told.append(str(caught.value))
        assert told[0] == told[1]


def test_work_that_is_broken_off_ends_the_processes(folder, started, monkeypatch):
    monkeypatch.setattr("langchain_finetune.loaders._spooling._PAGE", 10)
    loader = RunExportLoader(folder, num_processes=2)
    before = threading.active_count()
    steps = loader._steps(loader._accept({}))
    assert next(steps).data["num_runs"] > 0
    steps.close()
    with pytest.raises(KeyboardInterrupt):
        interrupted(folder / "one.jsonl")
    assert len(started) == 4
    assert all(process.returncode is not None for process in started)
    assert threading.active_count() == before


def interrupted(path):
    with Readers(2, RunSelection()) as readers:
        next(readers.read((block_of(path) for _ in range(10)), roots=no_roots))
        raise KeyboardInterrupt


def block_of(path):
    return FileBlock(str(path), {}, Block(1, path.read_bytes()))


def no_roots():
    return RootFeedback([])


def test_a_process_that_dies_is_an_error_that_says_so(folder, started):
    block = FileBlock("a", {}, Block(1, lines([chat_run(1, "hi")])))
    with Readers(1, RunSelection()) as readers:
        next(readers.read([block], no_roots))
        started[0].kill()
        with pytest.raises(SourceError, match=r"has ended \(exit code -9\).*num_processes=1"):
            next(readers.read([block], no_roots))


def test_a_predicate_is_refused(folder):
    with pytest.raises(SelectionError, match="leave num_processes at 1"):
        RunExportLoader(folder, num_processes=2, feedback=bool).invoke({})


# --- one block, as a process reads it -------------------------------------------------------------------


def read(rows, roots=None, **selection):
    return read_block(FileBlock("f", {}, Block(5, lines(rows))), Sieve(RunSelection(**selection)), roots)


def test_sessions_that_follow_each_other_are_one_piece():
    rows = [chat_run(1, "a"), chat_run(2, "b"), [1], chat_run(3, "c", error="Oops()"), chat_run(4, "d")]
    pieces, bad, rejected, last = read(rows).found
    assert (pieces.num_runs, pieces.lines.count(b"\n"), last.num_runs) == (2, 2, 1)
    assert bad.number == 7
    assert rejected.lines.run_id == run_id(3)


def test_with_a_limit_every_session_is_a_piece_of_its_own():
    found = read([chat_run(1, "a"), chat_run(2, "b")], limit=1).found
    assert [each.num_runs for each in found] == [1, 1]


def test_a_block_waits_for_the_roots_only_where_a_run_asks_for_its_root():
    child = chat_run(1, "a", trace_id=run_id(9), parent_run_id=run_id(9))
    assert read([chat_run(2, "b")]) is not None
    assert read([chat_run(2, "b"), child]) is None
    (found,) = read([child], roots={run_id(9): {"user_score": 1.0}}, feedback={"user_score": 1}).found
    assert json.loads(found.lines)["feedback"] == {"user_score": 1.0}
