import contextlib
import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune_server.errors import ApiError
from finetune_server.uploads import receive_upload

TYPE = "multipart/form-data; boundary=b"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


async def pieces(body: bytes, size: int):
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def receive(tmp_path, body: bytes, *, size: int = 7, content_type: str = TYPE, max_bytes: int = 10_000):
    target = tmp_path / "incoming"
    target.unlink(missing_ok=True)
    return await receive_upload(content_type, pieces(body, size), target, max_bytes=max_bytes)


async def test_the_file_is_on_the_disk_and_hashed_and_the_fields_are_told(tmp_path):
    body = form(part("purpose", b"fine-tune"), part("file", b"rows\r\n--bx", "a.jsonl"), part("x[y]", b"1"))
    upload = await receive(tmp_path, body)
    assert upload.path.read_bytes() == b"rows\r\n--bx"
    assert (upload.filename, upload.bytes) == ("a.jsonl", 10)
    assert upload.sha256 == hashlib.sha256(b"rows\r\n--bx").hexdigest()
    assert upload.fields == {"purpose": "fine-tune", "x[y]": "1"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(content=st.binary(max_size=200), size=st.integers(1, 50))
async def test_however_it_arrives_the_bytes_are_the_same(tmp_path, content, size):
    content = content.replace(b"\r\n--b", b"")
    upload = await receive(tmp_path, form(part("file", content, "a")), size=size)
    assert upload.path.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "shown"),
    [("../../etc/passwd", "passwd"), ("C:\\\\x\\\\y.jsonl", "y.jsonl"), ("x" * 300, "x" * 255)],
)
async def test_a_file_name_is_a_name_and_no_path(tmp_path, name, shown):
    assert (await receive(tmp_path, form(part("file", b"", name)))).filename == shown


async def test_an_empty_file_is_a_file(tmp_path):
    assert (await receive(tmp_path, form(part("file", b"", "a")))).bytes == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("", form(part("file", b"", "a"))),
        ("multipart/form-data", form(part("file", b"", "a"))),
        (f"multipart/form-data; boundary={'b' * 5000}", form(part("file", b"", "a"))),
        (TYPE, b""),
        (TYPE, b"nothing of the kind"),
        (TYPE, form(part("purpose", b"fine-tune"))),
        (TYPE, part("file", b"cut off", "a")),
        (TYPE, form(part("purpose", b"x" * 70_000), part("file", b"", "a"))),
        (TYPE, form(*[part(str(number), b"") for number in range(20)])),
    ],
)
async def test_what_is_no_whole_form_is_refused(tmp_path, content_type, body):
    with pytest.raises(ApiError) as caught:
        await receive(tmp_path, body, content_type=content_type, size=5000)
    assert (caught.value.status, caught.value.code) == (400, "invalid_form")


async def test_two_files_are_one_too_many(tmp_path):
    with pytest.raises(ApiError, match="Only one file"):
        await receive(tmp_path, form(part("file", b"", "a"), part("file", b"", "b")))


async def test_a_file_over_the_cap_is_refused_before_it_is_all_there(tmp_path):
    taken = 0

    async def endless():
        nonlocal taken
        yield part("file", b"", "a")[:-2]
        while True:
            taken += 1
            yield b"x" * 100

    with pytest.raises(ApiError) as caught:
        await receive_upload(TYPE, endless(), tmp_path / "f", max_bytes=1000)
    assert (caught.value.status, caught.value.code) == (413, "file_too_large")
    assert taken == 11


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(body=st.binary(max_size=200))
async def test_whatever_comes_it_is_a_file_or_refused(tmp_path, body):
    for sent in (body, part("file", b"", "a") + body):
        with contextlib.suppress(ApiError):
            await receive(tmp_path, sent)


async def received_or_refused(tmp_path, body: bytes, size: int):
    try:
        return await receive(tmp_path, body, size=size)
    except ApiError as error:
        return error


HEADERS = st.sampled_from(
    [
        b'Content-Disposition: form-data; name="file"; filename="a"',
        b'Content-Disposition: form-data; name="purpose"',
        b"content-disposition: form-data; name=file",
        b"Content-Disposition: form-data; filename*=utf-8''%ff%00",
        b'Content-Disposition: form-data; name="\xff\x00"',
        b'Content-Disposition: form-data; name="file"; filename="\\"',
        b"Content-Disposition:",
        b"Content-Type: multipart/mixed; boundary=b",
        b"No colon",
        b": no name",
        b"X" * 5000 + b": long",
    ]
)
PIECES = st.one_of(
    st.sampled_from([b"--b", b"--b--", b"--", b"--bb", b"--B", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"b"]),
    HEADERS.map(lambda header: b"--b\r\n" + header + b"\r\n\r\n"),
    HEADERS,
    st.binary(max_size=30),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(body=st.lists(PIECES, max_size=12).map(b"".join), size=st.integers(1, 60), is_ended=st.booleans())
async def test_a_malformed_form_is_refused_or_gives_the_bytes_of_one_file(tmp_path, body, size, is_ended):
    sent = form(body, part("file", b"rows", "a")) if is_ended else body
    upload = await received_or_refused(tmp_path, sent, size)
    if isinstance(upload, ApiError):
        # Any piece may also be more bytes than the file may have.
        assert (upload.status, upload.code) in {(400, "invalid_form"), (413, "file_too_large")}
        return
    kept = upload.path.read_bytes()
    assert kept in sent
    assert (upload.bytes, upload.sha256) == (len(kept), hashlib.sha256(kept).hexdigest())
    assert "/" not in upload.filename
    assert len(upload.fields) <= 16
