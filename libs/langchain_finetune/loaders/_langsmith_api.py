"""LangSmith's HTTP API: the one module of the loaders that calls it.

Requests go through the SDK's own HTTP client, `langsmith.Langsmith`, with the address, the key and the
workspace of the `langsmith.Client` at hand. Not through `Client.list_runs`: it is removed after 2027-01-31,
it downloads attachments unasked, and its three quick retries are shorter than the limits' windows. So there
are no retries here but our own, each of which is paid from one budget.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

import httpx2
import langsmith
import langsmith.utils

from langchain_finetune._parsing import loads
from langchain_finetune.errors import AuthenticationFailedError, SourceError
from langchain_finetune.loaders._langsmith_errors import clear_error, is_passing, retry_after_of, status_of
from langchain_finetune.loaders._pacing import Budget, budget_for

MOST_ATTEMPTS: Final = 8
"""Attempts at one request: about four minutes, where the host does not ask for more."""

_TIMEOUT_SECONDS: Final = 120.0
_TOO_MANY: Final = 429
_KEY: Final = "X-API-Key"
_API_SUFFIXES: Final = ("/api/v1", "/api")


def new_client() -> langsmith.Client:
    """Make a client from the environment.

    Raises:
        AuthenticationFailedError: The environment's settings cannot be used.
    """
    try:
        # It only reads: the thread that sends traces would ask for `/info`, and log a part of the key when
        # that fails.
        return langsmith.Client(auto_batch_tracing=False)
    except langsmith.utils.LangSmithError as e:
        msg = "no LangSmith client can be made from the environment: set LANGSMITH_API_KEY."
        raise AuthenticationFailedError(msg) from e


class LangSmithApi:
    """Sends requests to one LangSmith, within its limits, until they are answered.

    Args:
        client: Whose address, key and workspace are used.
        budget: When requests may go out; the default is the one of this process for the key.
    """

    def __init__(self, client: langsmith.Client, budget: Budget | None = None) -> None:
        self.url = client.api_url.rstrip("/")
        self._root = _without_suffix(self.url)
        shared = _shared_client(client, self._root)
        self._http = shared or _own_client(client, self._root)
        self._is_shared = shared is not None
        has_key = client.api_key is not None or _KEY.lower() in map(str.lower, client.headers)
        # A proxy's own credentials may stand in for the key; that it is left out has to be said each time.
        is_keyless = not self._is_shared and not has_key
        self._options = {"headers": {_KEY: langsmith.Omit()}} if is_keyless else {}
        self._budget = budget or budget_for(self.url, client.api_key)
        self._is_closed = threading.Event()

    def close(self) -> None:
        """Send nothing more; requests that wait for their turn are given up."""
        self._is_closed.set()
        if not self._is_shared:
            self._http.close()

    def _is_wanted(self) -> bool:
        return not self._is_closed.is_set()

    def get(self, path: str, query: Mapping[str, Any], subject: str) -> Any:
        """Send a GET; lists in the query become repeated parameters.

        Raises:
            HostError: There is no answer after `MOST_ATTEMPTS`, or one that stays a refusal.
            SelectionError: What is asked for does not exist, or is asked for in a way that the host refuses.
        """
        return self._send("get", f"{self.url}{path}", {"params": dict(query)}, None, subject)

    def post(self, path: str, body: Mapping[str, Any], subject: str) -> Any:
        """Send a POST that changes nothing, and so may be sent again. Raises as `get` does."""
        return self._send("post", f"{self.url}{path}", {}, body, subject)

    def post_v2(self, path: str, body: Mapping[str, Any], subject: str) -> Any:
        """Send a POST to the second API, which has its own place. Raises as `get` does."""
        return self._send("post", f"{self._root}/api/v2{path}", {}, body, subject)

    def get_once(self, path: str, query: Mapping[str, Any], subject: str, *, seconds: float) -> Any:
        """Send a GET without a second try, for somebody who wants to know whether there is an answer.

        Raises:
            HostError: There is no answer within so many seconds, or it is a refusal.
        """
        http = self._http.with_options(max_retries=0, timeout=seconds)
        options = {**self._options, "params": dict(query)}
        try:
            response = http.get(f"{self.url}{path}", cast_to=httpx2.Response, options=options)
            return loads(response.content)
        except (langsmith.LangsmithError, ValueError, RecursionError) as e:
            raise clear_error(e, self.url, subject) from e

    def _send(
        self, method: str, url: str, options: Mapping[str, Any], body: Mapping[str, Any] | None, subject: str
    ) -> Any:
        request: dict[str, Any] = {"cast_to": httpx2.Response, "options": {**self._options, **options}}
        if body is not None:
            request["body"] = dict(body)
        for num_failures in range(1, MOST_ATTEMPTS + 1):
            self._budget.spend(self._is_wanted, is_counted=method == "post")
            try:
                response = getattr(self._http, method)(url, **request)
                return loads(response.content)
            except (langsmith.LangsmithError, ValueError) as e:
                if num_failures == MOST_ATTEMPTS or not is_passing(e):
                    raise clear_error(e, self.url, subject) from e
                self._back_off(e, num_failures)
            except RecursionError as e:
                msg = (
                    f"LangSmith at {self.url} answered for {subject} with a run nested too deeply to be "
                    "read: leave it out by a narrower window, a name or a tag."
                )
                raise SourceError(msg) from e
        raise AssertionError  # the last attempt returns or raises

    def _back_off(self, error: Exception, num_failures: int) -> None:
        is_limit = status_of(error) == _TOO_MANY
        seconds = self._budget.after_failure(num_failures, retry_after_of(error), is_limit=is_limit)
        if is_limit:
            self._budget.hold(seconds)
        else:
            self._budget.pause(seconds, self._is_wanted)


def _without_suffix(url: str) -> str:
    for suffix in _API_SUFFIXES:
        if url.endswith(suffix):
            return url.removesuffix(suffix)
    return url


def _own_client(client: langsmith.Client, url: str) -> Any:
    """Make an HTTP client of our own with a client's address, key and workspace."""
    # The generated client looks for the key under its own spelling alone.
    headers = {
        _KEY if name.lower() == _KEY.lower() else name: value for name, value in client.headers.items()
    }
    http = langsmith.Langsmith(
        base_url=url,
        api_key=client.api_key or "",
        tenant_id="",
        default_headers=headers,
        max_retries=0,
        timeout=_TIMEOUT_SECONDS,
    )
    # Set afterwards: a constructor without them takes those of the environment, of another account.
    http.api_key = client.api_key
    http.tenant_id = None if client.workspace_id is None else str(client.workspace_id)
    return http


def _shared_client(client: langsmith.Client, url: str) -> Any:
    """Return the SDK's own HTTP client where only that will do, else None.

    Somebody who is logged in has no key but a token that the SDK renews; a session that a person made, for a
    proxy or a certificate, is carried over by the SDK alone. There is no public way to either.
    """
    is_logged_in = client.api_key is None and getattr(client, "_profile_auth", None) is not None
    if is_logged_in or getattr(client, "_session_provided", False):
        http = client._get_langsmith_api_sync()  # noqa: SLF001  see above
        return http.with_options(max_retries=0, timeout=_TIMEOUT_SECONDS)
    if client.api_key is None and not client.headers:
        msg = f"there is no key for LangSmith at {url}: set LANGSMITH_API_KEY, or pass a client that has one."
        raise AuthenticationFailedError(msg)
    return None
