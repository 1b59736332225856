"""What a trainer asks of a host, whatever its API: one module for each API has these functions."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from langchain_finetune.errors import HostError, MissingExtraError, UnknownBaseError
from langchain_finetune.hosts import Host
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import azure_protocol, nebius_protocol, openai_protocol
from langchain_finetune.trainers.hosts.openai_clients import ApiKey, Endpoint
from langchain_finetune.trainers.jobs.job_state import Checkpoint, JobState
from langchain_finetune.trainers.jobs.key import Order


class HostProtocol(Protocol):
    """The calls of one API. Those that ask the host are exchanges, the same for sync and async clients."""

    @property
    def CLIENT_ERROR(self) -> type[Exception] | tuple[type[Exception], ...]:  # noqa: N802 - a constant of the module
        """Root, or roots, of what the API's client raises."""

    def make_client(self, host: Host, base_url: str | None = None, api_key: ApiKey | None = None) -> Any:
        """Return a client; URL and key are the environment's where they are not given.

        Raises:
            AuthenticationFailedError: There is no key.
            SettingError: There is no URL, or no account.
        """

    def make_async_client(self, host: Host, client: Any) -> Any:
        """Return the async twin of a client."""

    def make_sync_client(self, host: Host, async_client: Any) -> Any:
        """Return the sync twin of an async client."""

    def endpoint_of(self, client: Any) -> Endpoint:
        """Return where the models are called that a client trains, and with which key."""

    def require_answer(self, answer: Any, host: Host) -> Any:
        """Return what the client returned, when the host sent it.

        Raises:
            HostError: It is a page of a proxy, or otherwise no answer of the API.
        """

    def host_error(self, error: Any, host: Host) -> HostError | UnknownBaseError:
        """Return what an error of the client means."""

    def find_upload(self, name: str, num_bytes: int, *, lasting_until: float) -> Exchange[str | None]:
        """Return the id of an upload of that name and size that can be used, None where there is none."""

    def has_upload(self, file_id: str, num_bytes: int, *, lasting_until: float) -> Exchange[bool]:
        """Tell whether the host still has an upload, of that size and not about to expire."""

    def upload(self, path: Path, name: str) -> Exchange[str]:
        """Upload a training file, posting once, and return its id."""

    def delete_file(self, file_id: str) -> Exchange[None]:
        """Delete an uploaded file."""

    def job_body(
        self, order: Order, host: Host, key: str, training_file: str, validation_file: str | None = None
    ) -> Mapping[str, Any]:
        """Return what the host is told to create the job of an order; pure."""

    def create_job(
        self, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Exchange[JobState]:
        """Create a job, posting once."""

    def jobs_with_key(self, key: str) -> Exchange[list[JobState]]:
        """Return the jobs that carry a key, newest first."""

    def jobs_on_file(self, file_id: str) -> Exchange[list[JobState]]:
        """Return the jobs that train on an upload, or validate with it, among the newest of the account."""

    def retrieve_job(self, job_id: str, *, is_poll: bool = False) -> Exchange[JobState]:
        """Look at a job."""

    def cancel_job(self, job_id: str) -> Exchange[JobState]:
        """Ask the host to end a job."""

    def pause_job(self, job_id: str) -> Exchange[JobState]:
        """Ask the host to pause a job.

        Raises:
            NotSupportedError: The host cannot pause.
        """

    def resume_job(self, job_id: str) -> Exchange[JobState]:
        """Ask the host to go on with a job that is paused.

        Raises:
            NotSupportedError: The host cannot pause.
        """

    def checkpoints(self, job_id: str) -> Exchange[list[Checkpoint]]:
        """Return the checkpoints of a job that can be asked, by their steps.

        Raises:
            NotSupportedError: The host lists none.
        """

    def download(self, file_id: str) -> Exchange[bytes]:
        """Return the bytes of a file at the host, such as a job's result file."""

    def is_model_ready(self, name: str, job_id: str) -> Exchange[bool]:
        """Tell whether a tuned model can be asked: asked only of hosts whose models may lag behind."""

    def events_since(
        self, job_id: str, seen: set[str], *, is_poll: bool = False
    ) -> Exchange[list[dict[str, Any]]]:
        """Return the events that are not in `seen`, oldest first, each once, in the form of OpenAI's."""

    def retrieve_model(self, name: str) -> Exchange[dict[str, Any]]:
        """Return the host's model object."""

    def find_model(self, name: str) -> Exchange[dict[str, Any] | None]:
        """Return the host's model object: None where it has no such model, empty where it does not say."""

    def served_name(self, job: JobState, endpoint: Endpoint, deployment: str | None) -> Exchange[str]:
        """Return the name that the model of a succeeded job is called by, deployed where a call can do that.

        Args:
            job: The job.
            endpoint: Where its model is called.
            deployment: Name of the deployment to use, None for the host's own way.

        Raises:
            DeploymentNeeded: Somebody has to deploy the model first.
        """


_BY_API: Final[Mapping[str, HostProtocol]] = {
    "openai": openai_protocol,
    "azure": azure_protocol,
    "nebius": nebius_protocol,
}


def protocol_of(host: Host) -> HostProtocol:
    """Return the functions for a host's API.

    Raises:
        MissingExtraError: The host's SDK is not installed.
    """
    if host.extra is None:
        return _BY_API[host.api]
    try:
        # An SDK is loaded when its host is used, and not before.
        module: Any = importlib.import_module(f"langchain_finetune.trainers.hosts.{host.api}_protocol")
    except ModuleNotFoundError as e:
        msg = (
            f'{host.title} is spoken to by its own SDK: pip install "langchain-finetune[{host.extra}]" '
            f"({e.name} is missing)."
        )
        raise MissingExtraError(msg) from e
    protocol: HostProtocol = module
    return protocol
