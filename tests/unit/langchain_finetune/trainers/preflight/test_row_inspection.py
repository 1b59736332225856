import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.errors import SourceNotFoundError
from langchain_finetune.trainers.preflight.row_inspection import inspect_rows
from tests.fakes.training_rows import ROW_OF, file_of, rows, tool_row

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@pytest.mark.parametrize("method", ROW_OF)
def test_the_method_is_read_off_the_rows(tmp_path, method):
    found = inspect_rows(file_of(tmp_path, [ROW_OF[method](number) for number in range(12)]))
    assert (found.method, found.num_rows, found.num_readable, found.num_errors) == (method, 12, 12, 0)


def test_figures_of_rows_with_tools(tmp_path):
    found = inspect_rows(file_of(tmp_path, [tool_row(number) for number in range(12)]))
    assert found.tools == {"Calculator": 12}
    assert (found.num_with_tools, found.num_trained, found.num_messages) == (12, 12, 24)
    assert 0 < found.longest_tokens < found.num_tokens


def test_few_rows_are_enough_where_they_are_held_out(tmp_path):
    path = file_of(tmp_path, rows(3))
    assert [problem.code for problem in inspect_rows(path).problems] == ["not_enough_rows"]
    assert inspect_rows(path, is_held_out=True).num_errors == 0


def test_rows_that_are_not_there(tmp_path):
    with pytest.raises(SourceNotFoundError):
        inspect_rows(tmp_path / "none.jsonl")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(JSON, max_size=4))
def test_whatever_stands_in_a_file_is_counted(tmp_path, values):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in values))
    found = inspect_rows(path)
    assert found.num_rows == len(values)
    assert found.num_readable <= found.num_rows
    assert found.num_errors >= found.num_rows - found.num_readable
