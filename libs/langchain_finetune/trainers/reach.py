"""Whether a host takes the environment's key: asked once, without patience, for the list of its jobs."""

from langchain_finetune.hosts import Host
from langchain_finetune.trainers.exchange import within
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.placing.site import identity_of

_SECONDS = 10.0
_NO_FILE = "file-langchain-finetune-doctor"


def reach_host(host: Host, *, seconds: float = _SECONDS) -> str:
    """Ask a host for its jobs, and return where it is; the embedded server is started where none runs.

    Args:
        host: The host.
        seconds: How long each answer is waited for.

    Raises:
        MissingExtraError: The host's SDK is not installed.
        AuthenticationFailedError: There is no key, or it is not accepted.
        HostError: The host refused, or cannot be reached.
    """
    connection = Connection(host)
    account = identity_of(connection.client, is_embedded=connection.server is not None)
    connection.run(within(connection.protocol.jobs_on_file(_NO_FILE), seconds))
    return account.partition("#")[0]
