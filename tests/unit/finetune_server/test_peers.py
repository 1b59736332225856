import pytest

from finetune_server.peers import comes_from_this_machine, is_loopback


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("127.0.0.1.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(address, expected):
    assert is_loopback(address) is expected


def scope(client, server="127.0.0.1", *headers):
    given = [(name, b"127.0.0.1") for name in headers]
    return {"client": client and (client, 5), "server": server and (server, 80), "headers": given}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (scope("127.0.0.1"), True),
        (scope("::ffff:127.0.0.1", "::ffff:127.0.0.1"), True),
        (scope("10.0.0.7", "10.0.0.7"), True),
        (scope("10.0.0.8", "10.0.0.7"), False),
        (scope("10.0.0.8", None), False),
        (scope(None), False),
        (scope(""), False),
        ({"headers": []}, False),
    ],
)
def test_the_connections_own_addresses_decide(asked, expected):
    assert comes_from_this_machine(asked) is expected


@pytest.mark.parametrize(
    "header", [b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"]
)
def test_a_header_of_a_proxy_takes_trust_and_never_gives_it(header):
    assert not comes_from_this_machine(scope("127.0.0.1", "127.0.0.1", header))
    assert not comes_from_this_machine(scope("10.0.0.8", "10.0.0.7", header))
