"""Files: in, listed, out again, and gone."""

import openai
import pytest

from tests.conformance.driver import items, refused, rows, upload


async def test_a_file_goes_in_and_comes_out_whole(client):
    content = rows(20)
    file = await client.files.create(file=("my rows.jsonl", content), purpose="fine-tune")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "my rows.jsonl", "fine-tune")
    assert (await client.files.content(file.id)).content == content
    assert (await client.files.retrieve(file.id)).id == file.id
    deleted = await client.files.delete(file.id)
    assert (deleted.id, deleted.deleted) == (file.id, True)
    await refused(client.files.retrieve(file.id), 404)


async def test_files_are_listed_page_by_page_in_both_orders(client):
    made = [await upload(client) for _ in range(3)]
    newest = await items(await client.files.list(limit=10_000), at_most=5)
    assert {file.id for file in newest} >= set(made)
    dates = [file.created_at for file in newest]
    assert dates == sorted(dates, reverse=True)
    page_by_page = await items(await client.files.list(limit=2), at_most=5)
    assert [file.id for file in page_by_page] == [file.id for file in newest]
    behind = await client.files.list(after=newest[0].id, limit=1)
    assert [file.id for file in behind.data] == [newest[1].id]
    assert behind.has_more
    oldest = await items(await client.files.list(order="asc", limit=3), at_most=6)
    dates = [file.created_at for file in oldest]
    assert dates == sorted(dates)
    assert len({file.id for file in oldest}) == len(oldest)


async def test_files_are_listed_by_purpose(client):
    made = await upload(client)
    found = await items(await client.files.list(purpose="fine-tune", limit=5), at_most=10)
    assert {file.purpose for file in found} == {"fine-tune"}
    assert made in [file.id for file in found]
    others = await items(await client.files.list(purpose="vision", limit=5), at_most=10)
    assert {file.purpose for file in others} <= {"vision"}


async def test_a_file_that_is_to_expire_says_when(client, host):
    host.needs("expires_after")
    expires_after = {"anchor": "created_at", "seconds": 3600}
    file = await client.files.create(
        file=("a.jsonl", rows()), purpose="fine-tune", expires_after=expires_after
    )
    assert file.expires_at == file.created_at + 3600
    too_soon = client.files.create(
        file=("a.jsonl", rows()), purpose="fine-tune", expires_after=expires_after | {"seconds": 5}
    )
    assert "expires_after" in (await refused(too_soon, 400)).message


@pytest.mark.parametrize(
    "content", [b'{"messages": []}\nnot json\n', b"[1]\n", b"\xff\n"], ids=["text", "list", "bytes"]
)
async def test_an_upload_that_is_no_json_lines_is_refused(client, content):
    error = await refused(upload(client, content), 400)
    assert "Expected file to have JSONL format, where every line is a valid JSON dictionary" in error.message


async def test_an_unknown_purpose_is_refused(client):
    error = await refused(client.files.create(file=("a.jsonl", rows()), purpose="nonsense"), 400)
    assert error.param == "purpose"


@pytest.mark.parametrize("call", ["retrieve", "content", "delete"])
async def test_a_file_that_does_not_exist_is_not_found(client, call):
    error = await refused(getattr(client.files, call)("file-000000000000000000000000"), 404)
    assert isinstance(error, openai.NotFoundError)
    assert error.message
