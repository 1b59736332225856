import orjson

from langchain_finetune.hosts import LOCAL
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.preflight import token_count
from langchain_finetune.trainers.preflight.token_count import count_by_server, count_offline
from tests.fakes.clients import clients
from tests.fakes.openai_account import FakeAccount
from tests.fakes.training_rows import file_of, rows, text_row, tool_row, training_data

BASE = "gpt-4.1-mini-2025-04-14"


def test_tiktoken_counts_where_it_has_the_encoding(bytes_as_tokens):
    count = count_offline(training_data(), f"ft:{BASE}:acme::1", None)
    assert (count.basis, count.is_exact) == ("tiktoken", False)
    assert count.num_tokens > 12 * 20


def test_nothing_is_downloaded_for_a_count(no_encodings):
    # A download would fail here: the tests have no network.
    assert count_offline(training_data(), BASE, None).basis == "characters"


def with_report(tmp_path, lines):
    report = tmp_path / "report.jsonl"
    report.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return training_data(num_train=3, num_validation=0, num_test=0).model_copy(update={"report": report})


def kept(row, tokens, split="train", status="kept"):
    return {"run_id": "r", "status": status, "split": split, "row": row, "tokens": tokens}


def test_the_recorded_usage_counts_where_every_row_has_it(tmp_path, no_encodings):
    lines = [kept(0, 100), kept(1, 200), kept(2, 300), kept(0, 999, "test"), kept(2, 999, status="duplicate")]
    count = count_offline(with_report(tmp_path, lines), BASE, None)
    assert (count.num_tokens, count.basis, count.is_exact) == (600, "recorded", False)
    assert (count.mean, count.longest, count.longest_row) == (200.0, 300, 3)


def test_the_recorded_usage_of_one_answer_is_not_that_of_two(tmp_path, no_encodings):
    report = with_report(tmp_path, [kept(0, 100), kept(1, 200), kept(2, 300)]).report
    pairs = training_data(num_train=3, num_validation=0, num_test=0, method="dpo")
    count = count_offline(pairs.model_copy(update={"report": report}), BASE, None)
    assert (count.basis, count.num_tokens == 600) == ("characters", False)


def test_a_row_without_usage_makes_the_count_an_estimate(tmp_path, no_encodings):
    count = count_offline(with_report(tmp_path, [kept(0, 100), kept(1, 200)]), BASE, None)
    assert (count.basis, count.longest) == ("characters", 200)


def test_rows_over_the_limit_are_counted_as_cut_off(tmp_path, no_encodings):
    count = count_offline(with_report(tmp_path, [kept(0, 100), kept(1, 200), kept(2, 300)]), BASE, 150)
    assert (count.num_tokens, count.num_too_long, count.longest) == (100 + 150 + 150, 2, 300)


def test_rows_that_cannot_be_read_are_estimated_by_their_bytes(tmp_path, no_encodings):
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"not json, thirty-five bytes long ..\n{}\n")
    data = training_data().model_copy(update={"train": path})
    assert count_offline(data, BASE, None).longest == 10


# --- by the embedded server ---


def counted(path, host, limit=None):
    connection = Connection(LOCAL, **clients(host))
    return connection.run(count_by_server(path, "small", limit))


def test_the_embedded_server_counts_every_row(tmp_path):
    host = FakeAccount()
    host.tokens_per_row = 50
    count = counted(file_of(tmp_path, [tool_row(1), *rows(11)]), host, 40)
    assert (count.num_tokens, count.basis, count.is_exact, count.num_too_long) == (480, "tokenizer", True, 12)
    bodies = [request.body for request in host.sent("POST", "/tokenize")]
    assert len(bodies) == 12
    assert bodies[0]["tools"]
    assert {body["add_generation_prompt"] for body in bodies} == {False}


def test_of_many_rows_some_stand_for_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(token_count, "MOST_TOKENIZED", 10)
    host = FakeAccount()
    host.tokens_per_row = 50
    count = counted(file_of(tmp_path, [text_row(1)] * 95), host)
    assert len(host.sent("POST", "/tokenize")) == 10
    assert (count.num_tokens, count.is_exact) == (95 * 50, False)


def test_a_server_that_does_not_count_leaves_it_to_an_estimate(tmp_path):
    assert counted(file_of(tmp_path, rows()), FakeAccount()) is None
