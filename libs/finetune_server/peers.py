"""Who is at the other end of a connection: this machine, or another."""

import ipaddress

from starlette.types import Scope

# What a proxy adds when it passes on somebody else's request.
_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def is_loopback(address: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def comes_from_this_machine(scope: Scope) -> bool:
    """Whether a request was made on this machine, and on nobody else's behalf.

    The connection's own addresses decide. Headers only ever take trust away: a client can add them, and
    gains nothing, but cannot remove what a proxy on this machine adds.
    """
    client, server = scope.get("client"), scope.get("server")
    if not client or any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    # A machine that calls its own outer address does so from that address; nobody else can answer there.
    return is_loopback(client[0]) or bool(server and client[0] == server[0])
