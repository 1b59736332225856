"""Exports as they lie around: compressed, in folders, in buckets, as tables; and what is damaged."""

import asyncio
import gzip
import io
import json
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune import RunExportLoader
from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import (
    MissingExtraError,
    SelectionError,
    SourceError,
    SourceNotFoundError,
)
from langchain_finetune.loaders._export_files import ExportFile
from langchain_finetune.loaders._export_lines import read_blocks, read_lines
from langchain_finetune.loaders._exports import Export
from langchain_finetune.loaders._root_feedback import RootFeedback, may_be_rated
from tests.fakes.recorded_runs import calculator_run, chat_run, run_id, write_runs

NUM_RUNS = 300
GOOD = {"user_score": {"n": 1, "avg": 1.0}}
PROJECT = str(uuid.UUID(int=7))
V1 = f"export_id=e/tenant_id=t/session_id={PROJECT}/runs/year=2026/month=01/day={{day:02}}/part.parquet"
V2 = f"export_id=e/tenant_id=t/session_id={PROJECT}/resource=runs/year=2026/month=01/day={{day:02}}/p.parquet"


def ids(sessions):
    return [row["run_id"] for row in read_jsonl(sessions.path)]


def lines(runs):
    return b"".join(json.dumps(run).encode() + b"\n" for run in runs)


@pytest.fixture(scope="module")
def runs():
    return [chat_run(number, f"question {number}") for number in range(NUM_RUNS)]


@pytest.fixture
def as_lines(tmp_path, runs):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(lines(runs))
    return path


def beta_row(run):
    """Write a row as v2_beta does: what is nested is a JSON string."""
    row = {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in run.items()}
    return {**row, "start_time": datetime.fromisoformat(run["start_time"]).replace(tzinfo=UTC)}


def write_table(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def zstd(data):
    return zstandard.ZstdCompressor().compress(data)


# --- lines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("name", ["runs.jsonl.packed", "runs.jsonl"])
def test_archives_are_known_by_their_first_bytes_whatever_their_name(tmp_path, runs, as_lines, pack, name):
    half = NUM_RUNS // 2
    packed = tmp_path / "packed" / name
    packed.parent.mkdir()
    packed.write_bytes(
        pack(lines(runs[:half])) + pack(lines(runs[half:]))
    )  # members, as `cat a.gz b.gz` makes
    sessions = RunExportLoader(packed).invoke({})
    assert sessions.sha256 == RunExportLoader(as_lines).invoke({}).sha256
    assert sessions.num_sessions == NUM_RUNS


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_archive_is_an_error_that_says_how_far_it_was_read(tmp_path, runs, pack, share):
    data = pack(lines(runs))
    path = tmp_path / ("runs.jsonl.gz" if pack is gzip.compress else "runs.jsonl.zst")
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=rf"{path.name} is cut off: \d+ lines were read") as caught:
        RunExportLoader(path).invoke({})
    assert share == 0.0 or "question" not in str(caught.value)


def test_the_lines_before_the_cut_are_counted(tmp_path, runs):
    path = tmp_path / "runs.jsonl.gz"
    path.write_bytes(gzip.compress(lines(runs), compresslevel=0)[: len(lines(runs[:200]))])
    with pytest.raises(SourceError, match=r"is cut off: (199|200) lines were read"):
        RunExportLoader(path).invoke({})


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_damaged_archive_names_the_file_and_the_kind_of_damage(tmp_path, runs, pack):
    data = bytearray(pack(lines(runs)))
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path = tmp_path / "runs.jsonl.x"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"\.jsonl\.x is damaged or cannot be read \([\w.]+\): \d+ lines"):
        RunExportLoader(path).invoke({})


def test_a_cut_file_is_an_error_and_a_last_line_without_its_newline_is_none(tmp_path, runs):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(lines(runs[:3])[:-1])
    assert RunExportLoader(path).invoke({}).num_sessions == 3
    path.write_bytes(lines(runs[:3])[:-20])
    with pytest.raises(SourceError, match=r"line 3, is no JSON and is not ended: .* 2 lines were read"):
        RunExportLoader(path).invoke({})


def test_a_file_of_something_else_is_an_error_and_not_a_list_of_rejections(tmp_path, runs):
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(runs, indent=2) + "\n")
    with pytest.raises(SourceError, match=r"line 1, is no JSON, and so is every other line: expected"):
        RunExportLoader(path).invoke({})


def test_a_line_without_end_is_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("langchain_finetune.loaders._export_lines._MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "zeros.jsonl.gz"
    path.write_bytes(gzip.compress(bytes(50 << 20)))
    with pytest.raises(SourceError, match="line 1 is longer than"):
        RunExportLoader(path).invoke({})


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=400), st.sampled_from(["x.jsonl", "x.jsonl.gz", "x.jsonl.zst", "x.parquet"]), st.data()
)
def test_no_bytes_end_in_anything_but_sessions_or_an_error_of_ours(tmp_path, noise, name, data):
    whole = lines([chat_run(1, "hi"), chat_run(2, "yo")])
    packed = {"gz": gzip.compress, "zst": zstd}.get(name.rpartition(".")[2], bytes)(whole)
    at = data.draw(st.integers(0, len(packed)))
    path = tmp_path / name
    path.write_bytes(packed[:at] + noise + packed[at + len(noise) :])
    sessions = None
    with suppress(SourceError, SelectionError):
        sessions = RunExportLoader(path).invoke({})
    if sessions is not None:
        assert sessions.num_sessions + sessions.num_rejected == sessions.num_runs > 0


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\n", b"{}\n", b"\r\n", b"\0", b"abc", b"x\ny", b"\xff" * 30]), max_size=30),
    st.integers(1, 40),
)
def test_blocks_are_whole_lines_and_all_of_them(pieces, num_bytes):
    file = ExportFile("f", lambda: io.BufferedReader(Pieces(pieces)))
    text, number = b"".join(pieces), 1
    blocks = list(read_blocks(file, num_bytes))
    assert b"".join(block.text for block in blocks) == text
    for block in blocks:
        assert block.first_line == number
        assert block.text.endswith(b"\n") or block is blocks[-1]
        number += block.text.count(b"\n")
    assert list(read_lines(file)) == (text.split(b"\n") if text else [])


class Pieces(io.RawIOBase):
    """Gives some bytes at a time, as a network does."""

    def __init__(self, pieces):
        self._pieces = [piece for piece in pieces if piece]

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = self._pieces.pop(0) if self._pieces else b""
        if rest := piece[len(buffer) :]:
            self._pieces.insert(0, rest)
        given = piece[: len(buffer)]
        buffer[: len(given)] = given
        return len(given)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 12))
def test_no_line_is_longer_than_the_bound_however_it_comes_in(lengths, chunk):
    text = b"".join(b"x" * length + b"\n" for length in lengths)
    pieces = [text[at : at + chunk] for at in range(0, len(text), chunk)]
    file = ExportFile("f", lambda: io.BufferedReader(Pieces(pieces)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("langchain_finetune.loaders._export_lines._MAX_LINE_BYTES", 20)
        if max(lengths, default=0) < 20:
            assert len(list(read_lines(file))) == (len(lengths) + 1 if lengths else 0)
        else:
            with pytest.raises(SourceError, match="is longer than"):
                list(read_lines(file))


# --- tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [V1, V2])
def test_a_bulk_export_is_read_as_its_runs_are(tmp_path, runs, as_lines, layout):
    for day in range(1, 4):
        part = [beta_row(run) for run in runs[(day - 1) * 100 : day * 100]]
        write_table(tmp_path / "bulk" / layout.format(day=day), part, row_group_size=30, compression="zstd")
    (tmp_path / "bulk" / "export_id=e" / "_SUCCESS").write_text("")
    sessions = RunExportLoader(tmp_path / "bulk").invoke({})
    assert sessions.num_sessions == NUM_RUNS
    assert sessions.sha256 == RunExportLoader(as_lines).invoke({}).sha256


def test_a_table_with_nested_columns_gives_the_same_sessions(tmp_path):
    runs = [calculator_run(1, 2, 3), chat_run(2, "hi")]
    runs[0]["extra"]["metadata"] = {"app": "a"}
    runs[1]["extra"]["metadata"] = {"user": "u"}  # struct columns give every row both keys
    table = write_table(tmp_path / "nested.parquet", runs)
    as_lines = write_runs(tmp_path / "runs.jsonl", runs)
    assert RunExportLoader(table).invoke({}).sha256 == RunExportLoader(as_lines).invoke({}).sha256


def test_ids_may_be_binary_and_times_of_nanoseconds(tmp_path, runs):
    rows = [beta_row(run) for run in runs]
    columns = {
        name: [row[name] for row in rows] for name in ("inputs", "outputs", "extra", "run_type", "end_time")
    }
    binary = pa.array([uuid.UUID(run["id"]).bytes for run in runs], pa.binary(16))
    started = pa.array(
        [int(row["start_time"].timestamp()) * 10**9 + 1 for row in rows], pa.timestamp("ns", "UTC")
    )
    pq.write_table(
        pa.table({**columns, "id": binary, "trace_id": binary, "start_time": started}), tmp_path / "b.parquet"
    )
    loader = RunExportLoader(tmp_path / "b.parquet", start_time="2026-01-05T10:04:00")
    assert ids(loader.invoke({})) == [run_id(number) for number in range(240, 300)]


def test_the_project_is_read_off_the_folders_where_no_column_has_it(tmp_path, runs):
    write_table(tmp_path / V2.format(day=1), [beta_row(run) for run in runs])
    assert RunExportLoader(tmp_path, project_name=PROJECT).invoke({}).num_sessions == NUM_RUNS
    with pytest.raises(SelectionError, match="project_name removed 300"):
        RunExportLoader(tmp_path, project_name=run_id(8)).invoke({})


def test_feedback_on_a_root_selects_its_child_across_files(tmp_path):
    children = [
        calculator_run(number, number, 2, trace_id=run_id(100 + number), parent_run_id=run_id(100 + number))
        for number in range(4)
    ]
    roots = [
        {**chat_run(100 + number, "x"), "run_type": "chain", "feedback_stats": GOOD if number % 2 else None}
        for number in range(4)
    ]
    for day, rows in enumerate((children, roots), start=1):
        write_table(tmp_path / V2.format(day=day), [beta_row(run) for run in rows])
    sessions = RunExportLoader(tmp_path, feedback={"user_score": 1}).invoke({})
    assert ids(sessions) == [run_id(1), run_id(3)]
    assert next(read_jsonl(sessions.path))["feedback"] == {"user_score": 1.0}
    assert sessions.num_runs == 4


def test_other_resources_of_a_bulk_export_are_left_alone(tmp_path, runs):
    write_table(tmp_path / V2.format(day=1), [beta_row(run) for run in runs[:10]])
    write_table(tmp_path / V2.format(day=1).replace("resource=runs", "resource=feedback"), [{"key": "k"}])
    assert RunExportLoader(tmp_path).invoke({}).num_runs == 10


def test_a_table_of_something_else_says_what_it_lacks(tmp_path):
    with pytest.raises(SourceError, match=r"t\.parquet has no columns `inputs` and `outputs`.*export_fields"):
        RunExportLoader(write_table(tmp_path / "t.parquet", [{"id": "a"}])).invoke({})


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_table_is_an_error(tmp_path, runs, share):
    path = write_table(tmp_path / "t.parquet", [beta_row(run) for run in runs])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=r"t\.parquet is damaged or cannot be read \(.*\): 0 rows"):
        RunExportLoader(path).invoke({})


def test_a_table_damaged_in_its_middle_says_how_many_rows_were_read(tmp_path, runs):
    path = write_table(tmp_path / "t.parquet", [beta_row(run) for run in runs], row_group_size=100)
    offset = pq.ParquetFile(path).metadata.row_group(2).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"t\.parquet is damaged .*: (128|200) rows were read"):
        RunExportLoader(path).invoke({})


def test_without_pyarrow_the_pip_line_is_told(tmp_path, runs, monkeypatch):
    path = write_table(tmp_path / "t.parquet", [beta_row(run) for run in runs[:1]])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'pip install "langchain-finetune\[parquet\]"'):
        RunExportLoader(path).invoke({})


# --- places ---------------------------------------------------------------------------------------------


def test_a_folder_a_glob_and_a_list_give_each_file_once_in_order(tmp_path, runs):
    folder = tmp_path / "exports"
    folder.mkdir()
    for number, name in enumerate(["b.jsonl", "a.jsonl.gz", "c.jsonl.zst", "notes.txt", ".hidden.jsonl"]):
        pack = {"a.jsonl.gz": gzip.compress, "c.jsonl.zst": zstd}.get(name, bytes)
        (folder / name).write_bytes(pack(lines(runs[number : number + 1])))
    order = [run_id(1), run_id(0), run_id(2)]
    assert ids(RunExportLoader(folder).invoke({})) == order
    assert ids(RunExportLoader(f"{folder}/*.jsonl*").invoke({})) == order
    assert ids(RunExportLoader(f"{tmp_path}/**/[abc].jsonl*").invoke({})) == order
    both = [folder / "b.jsonl", str(folder)]
    assert ids(RunExportLoader(both).invoke({})) == [run_id(0), run_id(1), run_id(2)]
    assert ids(RunExportLoader().invoke(both)) == [run_id(0), run_id(1), run_id(2)]


def test_a_name_with_brackets_is_a_name_where_such_a_file_is_there(tmp_path, runs):
    path = tmp_path / "runs[1].jsonl"
    path.write_bytes(lines(runs[:1]))
    assert RunExportLoader(path).invoke({}).num_sessions == 1


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"holds no export of runs: expected files .*parquet"):
        RunExportLoader(tmp_path).invoke({})
    with pytest.raises(SourceNotFoundError, match=r"there is no file .*/\*\.jsonl"):
        RunExportLoader(f"{tmp_path}/*.jsonl").invoke({})
    with pytest.raises(SelectionError, match="no export is named"):
        RunExportLoader([]).invoke({})


@pytest.fixture
def bucket(runs):
    store = fsspec.filesystem("memory")
    for day in (1, 2):
        with store.open("/bucket/" + V2.format(day=day), "wb") as file:
            rows = [beta_row(run) for run in runs[(day - 1) * 10 : day * 10]]
            pq.write_table(pa.Table.from_pylist(rows), file)
    with store.open("/bucket/lines/runs.jsonl.gz", "wb") as file:
        file.write(gzip.compress(lines(runs[:5])))
    yield "memory://bucket"
    store.rm("/bucket", recursive=True)


def test_a_url_is_read_through_fsspec(bucket):
    assert RunExportLoader(bucket + "/export_id=e").invoke({}).num_sessions == 20
    assert RunExportLoader(bucket + "/lines/runs.jsonl.gz").invoke({}).num_sessions == 5
    assert RunExportLoader(bucket + "/**/*.parquet").invoke({}).num_sessions == 20
    assert RunExportLoader(bucket, project_name=PROJECT).invoke({}).num_sessions == 20
    with pytest.raises(SourceNotFoundError, match="there is nothing at memory://bucket/other"):
        RunExportLoader(bucket + "/other").invoke({})


async def test_a_url_is_read_while_a_loop_runs(bucket):
    sessions, again = await asyncio.gather(*(RunExportLoader(bucket).ainvoke({}) for _ in range(2)))
    assert sessions == again


def test_a_store_that_fails_is_an_error_of_ours_without_its_text():
    with pytest.raises(SourceError, match=r"nowhere://x cannot be reached \(ValueError\)"):
        RunExportLoader("nowhere://x").invoke({})


def test_a_missing_driver_is_named_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3://bucket/runs needs .*pip install s3fs"):
        RunExportLoader("s3://bucket/runs").invoke({})
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r'pip install "langchain-finetune\[parquet\]"'):
        RunExportLoader("s3://bucket/runs").invoke({})


def test_keys_of_a_store_are_in_no_repr_and_no_dump():
    loader = RunExportLoader("s3://user:s3cret@bucket/runs", storage_options={"secret": "s3cret"})
    assert "s3cret" not in repr(loader) + repr(loader._accept({})) + loader._accept({}).model_dump_json()
    assert "storage_options" not in loader.model_dump()


# --- feedback -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "is_rated"),
    [
        (b'{"feedback_stats": null}', False),
        (b'{"feedback_stats":{}}', False),
        (b'{"feedback_stats": "{}"}', False),
        (b'{"inputs": {"feedback_stats": null}, "feedback_stats": {"k": {"avg": 1}}}', True),
        (b'{"feedback_stats": "{\\"k\\": 1}"}', True),
        (b'{"id": "x"}', False),
    ],
)
def test_only_lines_that_may_be_rated_are_parsed_for_it(line, is_rated):
    assert may_be_rated(line) is is_rated


def test_files_are_read_a_second_time_only_where_a_run_asks_for_its_root(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Export, "_rated", lambda _export, file: asked.append(file.name) or ())
    rated = [chat_run(number, "hi", feedback_stats=GOOD) for number in range(3)]
    path = write_runs(tmp_path / "r.jsonl", rated)
    assert RunExportLoader(path, feedback={"user_score": 1}).invoke({}).num_sessions == 3
    assert asked == []
    write_runs(path, [*rated, chat_run(4, "hi", trace_id=run_id(1), parent_run_id=run_id(1))])
    RunExportLoader(path).invoke({})
    assert asked == [str(path)]


def test_root_feedback_is_a_mapping_by_trace_id():
    rows = [
        {"id": run_id(1), "feedback_stats": GOOD},
        {"id": "own-id", "feedback_stats": json.dumps(GOOD)},
        {"id": run_id(2), "feedback_stats": GOOD, "parent_run_id": run_id(1)},
        {"id": run_id(3), "feedback_stats": GOOD, "is_root": False},
    ]
    feedback = RootFeedback(rows)
    assert dict(feedback) == {run_id(1): {"user_score": 1.0}, "own-id": {"user_score": 1.0}}
    assert feedback[run_id(1)] is feedback["own-id"]
    assert feedback.get(run_id(2)) is None


def test_a_run_without_children_needs_no_extra(tmp_path, monkeypatch):
    for name in ("pyarrow", "fsspec.core"):
        monkeypatch.setitem(sys.modules, name, None)
    assert RunExportLoader(write_runs(tmp_path / "r.jsonl", [chat_run(1, "hi")])).invoke({}).num_sessions == 1


@pytest.mark.parametrize("run_type", [None, "LLM", 7])
def test_a_run_that_does_not_say_in_so_many_words_what_it_is_is_read_or_rejected(tmp_path, runs, run_type):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(lines([{**runs[0], "run_type": run_type}, runs[1]]))
    loaded = RunExportLoader(path).invoke({})
    assert loaded.num_runs == 2
    assert loaded.num_sessions + loaded.num_rejected == 2
    assert loaded.rejected_by_reason == ({"not_an_llm_run": 1} if run_type == 7 else {})
