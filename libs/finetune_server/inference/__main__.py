"""The inference child: reads its configuration from standard input, serves until that closes.

Standard output carries one line, `{"url": ...}`, once it listens; all else that is written there ends in the
log. The pipe on standard input closes with the server's death, however it dies, so no child is left behind.
"""

import importlib
import json
import os
import sys
import threading

from finetune_server.inference.engine_config import EngineName, read_config

_CHILDREN: dict[EngineName, str] = {
    "llama.cpp": "finetune_server.inference.llama_child",
    "transformers": "finetune_server.inference.transformers_child",
}


def main() -> None:
    """Serve one base model until standard input closes."""
    config = read_config(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
    announcement = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def announce(url: str) -> None:
        announcement.write(json.dumps({"url": url}) + "\n")
        announcement.close()

    # Each engine's module imports its own half of the world.
    importlib.import_module(_CHILDREN[config.engine]).serve(config, announce)


def _exit_at_end_of_input() -> None:
    # Engines have threads of their own that may be deep in a computation: nothing is worth waiting for.
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
