"""How much of the server one client may take, and how often a host is asked."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of what is served."""

    max_body_bytes: int = 10_000_000
    """Size of a request's body."""

    max_inputs: int = 16
    """Inputs of one `/batch`."""

    max_preparing: int = 16
    """Orders whose runs are read and converted at the same time; further ones are told to come back."""

    max_streams: int = 100
    """Streams of events that are open at the same time."""

    answer_seconds: float = 0.1
    """How long `/invoke` waits for the job before it answers without one."""

    look_seconds: float = 2.0
    """Least time between two looks at one job, however many clients ask."""

    heartbeat_seconds: float = 15.0
    """Least time between two comments on a stream that has nothing to tell, which keep proxies from closing
    it."""
