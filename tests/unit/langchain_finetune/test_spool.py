import errno
import json
import os
import stat
import time

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune import _spool
from langchain_finetune._spool import (
    Spool,
    clean,
    line_offsets,
    load_training_data,
    open_jsonl,
    read_jsonl,
    sha256_of,
    state_directory,
    training_data_from,
    write_json,
)
from langchain_finetune.errors import SourceError, SourceNotFoundError, StorageError, TrainingDataError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def unfinished():
    return [path for path in state_directory().rglob("*") if path.name.startswith(".unfinished")]


def publish(rows, room="sessions"):
    with Spool(room) as spool:
        writer = spool.writer("rows.jsonl")
        for row in rows:
            writer.write(row)
        return spool.publish(writer.sha256) / "rows.jsonl", writer


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_back_as_they_were_written(rows):
    path, writer = publish(rows)
    assert list(read_jsonl(path)) == rows
    assert writer.num_rows == len(rows)
    assert writer.sha256 == sha256_of(path)


def test_the_directory_is_named_after_its_content_and_complete_at_once():
    path, writer = publish([{"a": 1}])
    assert path.parent.name == writer.sha256[:16]
    assert not unfinished()


def test_publishing_again_repairs_a_damaged_file():
    path, _ = publish([{"a": 1}])
    path.write_text("broken")
    again, _ = publish([{"a": 1}])
    assert again == path
    assert list(read_jsonl(path)) == [{"a": 1}]


def test_nothing_is_left_of_a_spool_that_fails():
    def fail():
        with Spool("sessions") as spool:
            spool.writer("rows.jsonl").write({"a": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list((state_directory() / "sessions").iterdir())


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_what_the_disk_refuses_is_one_clear_error_and_leaves_nothing(monkeypatch, number, advice):
    state_directory()

    def refuse(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_spool.os, "fsync", refuse)
    with pytest.raises(StorageError, match=advice) as caught:
        publish([{"a": 1}])
    assert caught.value.errno == number
    assert "LANGCHAIN_FINETUNE_HOME" in str(caught.value)
    assert not unfinished()


def test_a_json_document_that_cannot_be_written_leaves_the_old_one(monkeypatch, tmp_path):
    path = tmp_path / "document.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr(_spool.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(StorageError, match="disk is full"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_bytes()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_state_directory_is_private_and_has_a_layout():
    path = state_directory()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert json.loads((path / "layout.json").read_bytes()) == {"version": 1}


def test_a_layout_of_a_later_version_is_refused():
    write_json(state_directory() / "layout.json", {"version": 2})
    with pytest.raises(StorageError, match="has layout 2, this version reads 1"):
        state_directory()


@pytest.mark.parametrize("layout", ["{", "[]", "{}"])
def test_a_damaged_layout_is_a_clear_error(layout):
    (state_directory() / "layout.json").write_text(layout)
    with pytest.raises(StorageError, match="damaged"):
        state_directory()


def test_a_home_that_cannot_be_made_is_a_clear_error(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError, match=r"cannot use .*file.home: Not a directory"):
        state_directory()


def test_without_a_home_of_its_own_the_state_lies_in_the_data_home(monkeypatch, tmp_path):
    monkeypatch.delenv("LANGCHAIN_FINETUNE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "langchain-finetune"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"there is no file .*absent.jsonl") as caught:
        next(read_jsonl(tmp_path / "absent.jsonl"))
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{'a': 1}", "line 3 is no JSON"),
        ("[1]", "line 3 holds no JSON object"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path, line, problem):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n' + line + "\n")
    with pytest.raises(SourceError, match=problem) as caught:
        list(read_jsonl(path))
    assert str(path) in str(caught.value)
    assert line not in str(caught.value)


def test_a_directory_is_no_source(tmp_path):
    with pytest.raises(SourceError, match="cannot read"):
        list(read_jsonl(tmp_path))


def test_what_python_writes_beyond_the_standard_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": NaN, "b": "\\ud800"}\n')
    (row,) = read_jsonl(path)
    assert row["a"] != row["a"]
    assert row["b"] == "\ud800"


def test_rows_become_training_data_that_is_found_again_by_its_fingerprint():
    rows = [{"messages": [{"role": "user", "content": str(number)}]} for number in range(12)]
    data = training_data_from(row for row in rows)
    assert list(read_jsonl(data.train)) == rows
    assert (data.num_train, data.num_runs, data.validation, data.test) == (12, 12, None, None)
    assert load_training_data(data.fingerprint) == data
    assert load_training_data("0" * 64) is None
    assert training_data_from(rows) == data


def test_lines_of_a_file_are_taken_byte_by_byte(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"messages":  [1.0]}\r\n\n{"messages": []}')
    assert training_data_from(path).train.read_bytes() == b'{"messages":  [1.0]}\n{"messages": []}\n'
    assert training_data_from(str(path)) == training_data_from(path)


@pytest.mark.parametrize("rows", [[1], ["row"], [{"a": {1, 2}}], [{"a": "\ud800"}]])
def test_what_is_no_row_is_refused_with_its_number(rows):
    with pytest.raises(TrainingDataError, match="row 2 is no dict of JSON values"):
        training_data_from([{"messages": []}, *rows])


def test_no_rows_at_all_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.touch()
    with pytest.raises(TrainingDataError, match=r"rows.jsonl: there is no training row"):
        training_data_from(path)
    with pytest.raises(TrainingDataError, match="the rows given: there is no training row"):
        training_data_from([])


def test_clean_removes_what_is_old_and_nothing_else():
    old, _ = publish([{"a": 1}])
    new, _ = publish([{"a": 2}])
    data = training_data_from([{"messages": []}])
    server = state_directory() / "server"
    server.mkdir()
    week_ago = time.time() - 7 * 86_400
    for directory in (old.parent, data.train.parent, server):
        os.utime(directory, (week_ago, week_ago))
    cleaned = clean(older_than_days=6)
    assert (cleaned.num_sessions, cleaned.num_data) == (1, 1)
    assert cleaned.num_bytes > len('{"a":1}')
    assert new.exists()
    assert server.exists()
    assert not old.parent.exists()
    assert not data.train.parent.exists()


def test_clean_removes_what_a_crash_left():
    leftover = state_directory() / "sessions" / ".unfinished-x"
    leftover.mkdir(parents=True)
    os.utime(leftover, (0, 0))
    assert clean(older_than_days=1).num_sessions == 1
    assert not leftover.exists()


def test_using_a_directory_again_makes_it_young(monkeypatch):
    path, _ = publish([{"a": 1}])
    os.utime(path.parent, (0, 0))
    publish([{"a": 1}])
    assert clean(older_than_days=1).num_sessions == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["", "  ", "\r"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        )
    )
)
def test_each_object_is_read_again_by_its_offset(tmp_path, texts):
    path = tmp_path / "rows.jsonl"
    lines = [text if not text.strip(" \r") else orjson.dumps({"a": text}).decode() for text in texts]
    path.write_bytes("\n".join(lines).encode())
    rows, offsets = list(read_jsonl(path)), list(line_offsets(path))
    assert len(rows) == len(offsets)
    with open_jsonl(path) as read_at:
        assert [read_at(offset) for offset in reversed(offsets)] == rows[::-1]


def test_offsets_of_a_file_that_is_gone_name_it(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"gone\.jsonl"), open_jsonl(tmp_path / "gone.jsonl"):
        pass
