"""What a fake host is to do: how its jobs go, what its manners are, which requests fail."""

from dataclasses import dataclass, field
from typing import Any

from tests.fakes.loopback import Response


@dataclass
class Fault:
    """What goes wrong with requests that match."""

    method: str
    path: str
    """A regular expression on the whole path after `/v1`."""
    answer: Response | BaseException
    """An exception stands for a connection that breaks: raised by the transport, a reset over HTTP."""
    is_after: bool = False
    """Whether the request is carried out first."""
    times: int = 1


@dataclass
class Plan:
    """How the jobs created from now on go."""

    states: tuple[str, ...] = ("validating_files", "queued", "running", "running", "succeeded")
    """What successive looks see; the last one stays."""
    num_steps: int = 4
    """Training steps, spread over the looks in state `running`."""
    error: Any = field(default_factory=dict)
    """The job's `error`; a healthy job of OpenAI carries `{}`."""
    model_late_by: int = 0
    """Looks after the success that still see no model name."""
    last_events: tuple[dict[str, Any], ...] = ()


@dataclass
class Manners:
    """What hosts do differently."""

    drops_metadata: bool = False
    """Jobs come back without the metadata that they were created with."""
    ignores_filter: bool = False
    """The listing does not know `metadata[key]=value` and lists everything."""
    honors_idempotency: bool = False
    """The same `Idempotency-Key` again answers with the same job."""
    listings_behind: int = 0
    """Listings that do not show a new job yet."""
    lists_files: bool = True
