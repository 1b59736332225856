"""`python -m finetune_server [keys | clean | count-tokens] …`: the server, and what stands beside it."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Only the server itself needs FastAPI, which takes half a second to load.
    if given[:1] == ["keys"]:
        from finetune_server.cli import keys  # noqa: PLC0415

        return keys.main(given[1:])
    if given[:1] == ["clean"]:
        from finetune_server.cli import clean  # noqa: PLC0415

        return clean.main(given[1:])
    if given[:1] == ["count-tokens"]:
        from finetune_server.cli import count_tokens  # noqa: PLC0415

        return count_tokens.main(given[1:])
    from finetune_server.cli.serve import read_settings  # noqa: PLC0415

    settings = read_settings(given)
    try:
        from finetune_server.serving import run  # noqa: PLC0415
    except ModuleNotFoundError as error:
        hint = 'pip install "langchain-finetune[local]"'
        sys.stderr.write(f"finetune_server cannot start: {error.name} is not installed here: {hint}\n")
        return 1
    return run(settings)


if __name__ == "__main__":
    sys.exit(main())
