"""The keys of a state directory: made, listed, deleted; a server that runs there heeds it at once."""

import json
import os
import sys
import time
from collections.abc import Sequence

from finetune_server.cli.parser import command_parser
from finetune_server.config import Settings
from finetune_server.keys import KeyFile, UnusableKeyError

_DESCRIPTION = """\
Look after the keys that the server accepts from other machines.

  create NAME   make a key and print it, alone, to standard output: it is stored as a hash and shown once
  list          name and date of every key
  delete NAME   a server that runs refuses the key from the next request on"""


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    parser = command_parser("keys", arguments, _DESCRIPTION)
    parser.add_argument("action", choices=("create", "list", "delete"), metavar="create|list|delete")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument(
        "--json", action="store_true", help="print the list as JSON, without the keys themselves"
    )
    given = parser.parse_args(arguments)
    if (given.name is None) != (given.action == "list"):
        parser.error(f"`{given.action}` takes {'no' if given.name else 'a'} NAME")
    os.umask(0o077)
    keys = KeyFile(Settings(state_dir=given.state_dir).named_keys_file)
    try:
        if given.action == "create":
            return _create(keys, given.name)
        if given.json and given.action == "list":
            return _list_as_json(keys)
        return _list(keys) if given.action == "list" else _delete(keys, given.name)
    except (UnusableKeyError, OSError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return 1


def _create(keys: KeyFile, name: str) -> int:
    key = keys.create(name, now=int(time.time()))
    sys.stdout.write(key + "\n")
    sys.stderr.write(f"created the key {name}; keep it now, it is not shown again\n")
    return 0


def _list(keys: KeyFile) -> int:
    for key in keys.read():
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(key.created_at))
        sys.stdout.write(f"{moment}  {key.name}\n")
    return 0


def _list_as_json(keys: KeyFile) -> int:
    listed = [{"name": key.name, "created_at": key.created_at} for key in keys.read()]
    sys.stdout.write(json.dumps(listed) + "\n")
    return 0


def _delete(keys: KeyFile, name: str) -> int:
    if not keys.delete(name):
        msg = f"there is no key named {name} in {keys.path}"
        raise UnusableKeyError(msg)
    sys.stderr.write(f"deleted the key {name}\n")
    return 0
