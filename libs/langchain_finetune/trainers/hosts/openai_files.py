"""Training files at a host of OpenAI's protocol: found by their name, sent once, read, deleted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from langchain_finetune.errors import AuthenticationFailedError, HostError
from langchain_finetune.trainers.exchange import Call, Exchange
from langchain_finetune.trainers.hosts.openai_lists import entries, next_page, plain
from langchain_finetune.trainers.hosts.refusals import is_transient

_PURPOSE: Final = "fine-tune"
_PAGE_SIZE: Final = 1000
_MOST_PAGES: Final = 10


def find_upload(name: str, num_bytes: int, *, lasting_until: float) -> Exchange[str | None]:
    """Return the id of an upload of that name and size that can be used, None where there is none.

    Args:
        name: Name of the file at the host.
        num_bytes: Its size.
        lasting_until: Seconds since 1970 up to which it must not expire.
    """
    try:
        page = yield Call(lambda client: client.files.list(purpose=_PURPOSE, limit=_PAGE_SIZE))
        for num_left in reversed(range(_MOST_PAGES)):
            for file in (plain(item) for item in entries(page)):
                if file.get("filename") == name and _is_usable(file, num_bytes, lasting_until):
                    return str(file["id"])
            if not num_left or not page.has_next_page():
                break
            page = yield next_page(page)
    except AuthenticationFailedError:
        raise
    except HostError as e:
        if is_transient(e):
            raise
        # A host may have no such list, or a key not be allowed to see it: then the file is sent again.
    return None


def has_upload(file_id: str, num_bytes: int, *, lasting_until: float) -> Exchange[bool]:
    """Tell whether the host still has an upload, of that size and not about to expire."""
    try:
        file = plain((yield Call(lambda client: client.files.retrieve(file_id))))
    except AuthenticationFailedError:
        raise
    except HostError as e:
        if is_transient(e):
            raise
        return False
    return file.get("id") == file_id and _is_usable(file, num_bytes, lasting_until)


def _is_usable(file: Mapping[str, Any], num_bytes: int, lasting_until: float) -> bool:
    expires_at = file.get("expires_at")
    lasts = not isinstance(expires_at, int | float) or expires_at >= lasting_until
    is_whole = file.get("bytes") == num_bytes and file.get("status") not in ("error", "deleted")
    return is_whole and lasts and isinstance(file.get("id"), str)


def upload(path: Path, name: str) -> Exchange[str]:
    """Upload a training file and return its id. It is posted once: a repeat may leave it there twice.

    Args:
        path: The file.
        name: Its name at the host.

    Raises:
        HostError: The host took it and does not say under which id, or refused it.
    """
    with path.open("rb") as file:
        answer = yield Call(
            lambda client: client.files.create(file=(name, file), purpose=_PURPOSE), max_retries=0
        )
    if not isinstance(file_id := plain(answer).get("id"), str) or not file_id:
        msg = "the host answered with a file that has no id: check the base URL."
        raise HostError(msg, status_code=502)
    return file_id


def delete_file(file_id: str) -> Exchange[None]:
    """Delete an uploaded file."""
    yield Call(lambda client: client.files.delete(file_id))


def download(file_id: str) -> Exchange[bytes]:
    """Return the bytes of a file at the host, such as a job's result file."""
    content: bytes = (yield Call(lambda client: client.files.content(file_id))).content
    return content
