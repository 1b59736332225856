"""`/v1/files`: uploads, and what jobs leave."""

import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Literal

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse

from finetune_server import wire
from finetune_server.config import Settings
from finetune_server.errors import ApiError
from finetune_server.ids import new_id
from finetune_server.jobs.job_files import read_lines
from finetune_server.jobs.validation import parse_line
from finetune_server.jobs.validation_tools import RowFault
from finetune_server.openapi import UPLOAD_BODY
from finetune_server.routes.dependencies import After, FileLimit, SettingsOf, StoreOf
from finetune_server.storage.records import FileRecord
from finetune_server.storage.store import Store
from finetune_server.uploads import Upload, file_too_large, receive_upload

router = APIRouter()

_PURPOSE = "fine-tune"
_MULTIPART_OVERHEAD = 64 * 1024
_MIN_EXPIRY_SECONDS = 3600
_MAX_EXPIRY_SECONDS = 2_592_000
_MAX_DIGITS = 10


@router.post("/files", openapi_extra=UPLOAD_BODY)
async def create_file(request: Request, settings: SettingsOf, store: StoreOf) -> wire.Wire:
    """Takes in a file, in pieces."""
    limits = settings.limits
    length = int(request.headers.get("content-length", "0"))
    if length > limits.max_file_bytes + _MULTIPART_OVERHEAD:
        raise file_too_large(limits.max_file_bytes)
    _check_disk(settings, length)
    target = settings.incoming_dir / new_id("file")
    try:
        content_type = request.headers.get("content-type", "")
        upload = await receive_upload(content_type, request.stream(), target, max_bytes=limits.max_file_bytes)
        file = await anyio.to_thread.run_sync(_keep, upload, settings, store)
    finally:
        target.unlink(missing_ok=True)
    return wire.file_object(file)


@router.get("/files")
def list_files(
    store: StoreOf,
    purpose: str | None = None,
    limit: FileLimit = 10_000,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
    after: After = None,
) -> wire.Wire:
    """Files, newest first unless told otherwise."""
    now = int(time.time())
    if after is not None and store.find_file(after, now=now) is None:
        raise ApiError(400, f"No file {after} to list after.", param="after", code="invalid_value")
    page = store.page_of_files(now=now, limit=limit, order=order, purpose=purpose, after=after)
    shown = [wire.file_object(file) for file in page.records]
    return wire.bounded_list_object(shown, has_more=page.has_more, empty="")


@router.get("/files/{file_id}")
def retrieve_file(file_id: str, store: StoreOf) -> wire.Wire:
    """One file's description."""
    return wire.file_object(_found(store, file_id))


@router.get("/files/{file_id}/content", response_class=FileResponse)
def retrieve_content(file_id: str, settings: SettingsOf, store: StoreOf) -> FileResponse:
    """One file's bytes."""
    file = _found(store, file_id)
    path = settings.file_path(file.id)
    if not path.exists():
        raise ApiError(404, f"The bytes of {file_id} are gone from the disk.", code="file_not_found")
    return FileResponse(path, media_type="application/octet-stream", filename=file.filename)


@router.delete("/files/{file_id}")
def delete_file(file_id: str, settings: SettingsOf, store: StoreOf) -> wire.Wire:
    """Forgets a file; jobs that train on it keep what they need."""
    file = _found(store, file_id)
    store.delete_file(file.id)
    settings.file_path(file.id).unlink(missing_ok=True)
    return wire.deleted_object(file.id, "file")


def _found(store: Store, file_id: str) -> FileRecord:
    file = store.find_file(file_id, now=int(time.time()))
    if file is None:
        raise ApiError(404, f"No such File object: {file_id}", param="id", code="file_not_found")
    return file


def _check_disk(settings: Settings, num_bytes: int) -> None:
    if shutil.disk_usage(settings.state_dir).free < num_bytes + settings.limits.min_free_bytes:
        message = (
            f"There is no room for {num_bytes} bytes. Free some of the disk that holds {settings.state_dir}."
        )
        raise ApiError(507, message, type="server_error", code="insufficient_storage")


def _keep(upload: Upload, settings: Settings, store: Store) -> FileRecord:
    now = int(time.time())
    _check_purpose(upload.fields.get("purpose"))
    expires_at = _expires_at(upload.fields, now)
    _check_lines(upload.path, settings.limits.max_row_bytes)
    file = FileRecord(
        id=upload.path.name,
        filename=upload.filename,
        purpose=_PURPOSE,
        bytes=upload.bytes,
        sha256=upload.sha256,
        created_at=now,
        expires_at=expires_at,
    )
    upload.path.replace(settings.file_path(file.id))
    _flush_directory(settings.files_dir)
    store.add_file(file)
    return file


def _check_purpose(purpose: str | None) -> None:
    if purpose is None:
        raise ApiError(
            400, "'purpose' is a required property", param="purpose", code="missing_required_parameter"
        )
    if purpose != _PURPOSE:
        message = f"Invalid 'purpose': this server takes files of purpose '{_PURPOSE}' only."
        raise ApiError(400, message, param="purpose", code="invalid_value")


def _expires_at(fields: dict[str, str], now: int) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor == "created_at" and seconds is not None and seconds.isascii() and seconds.isdecimal():
        lifetime = int(seconds[:_MAX_DIGITS])
        if _MIN_EXPIRY_SECONDS <= lifetime <= _MAX_EXPIRY_SECONDS:
            return now + lifetime
    message = (
        "Invalid 'expires_after': it takes the anchor 'created_at' and "
        f"{_MIN_EXPIRY_SECONDS} to {_MAX_EXPIRY_SECONDS} seconds."
    )
    raise ApiError(400, message, param="expires_after", code="invalid_value")


def _check_lines(path: Path, max_bytes: int) -> None:
    lines = read_lines(path, max_bytes=max_bytes, is_wanted=lambda: True)
    for number, line in enumerate(lines, start=1):
        try:
            parse_line(line, is_first=number == 1)
        except RowFault:
            message = (
                "Expected file to have JSONL format, where every line is a valid JSON dictionary. "
                f"Line {number} is not a dictionary."
            )
            raise ApiError(400, message, param="file", code="invalid_file_format") from None


def _flush_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
