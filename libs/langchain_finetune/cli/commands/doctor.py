"""`doctor`: keys, hosts, versions, disk and deadlines."""

from itertools import groupby
from typing import Final

import click

from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.output import json_option, print_result, say

_MARKS: Final = {"ok": "ok", "note": "-", "problem": "!!"}


@click.command("doctor")
@click.option("--offline", "is_offline", is_flag=True, help="Ask no host.")
@json_option
def command(*, is_offline: bool, is_json: bool) -> int:
    """Check keys, hosts, versions, disk and deadlines.

    Each host that has a key in the environment is asked once for the list of its jobs. No key is printed. The
    exit code is 1 where there is a problem; what is merely not there, such as a key, is none.
    """
    from langchain_finetune.cli.checkup import Check, checks

    found: list[Check] = []
    for topic, group in groupby(checks(is_offline=is_offline), key=lambda check: check.topic):
        if not is_json:
            print_result(topic)
        for check in group:
            found.append(check)
            if not is_json:
                print_result(f"  {_MARKS[check.verdict]:<2}  {check.name:<20}  {check.found}")
    problems = sum(check.verdict == "problem" for check in found)
    if is_json:
        print_result([check._asdict() for check in found], is_json=True)
    else:
        say("no problems" if not problems else f"{problems} problem{'s' if problems > 1 else ''}, marked !!")
    return ExitCode.FAILED if problems else ExitCode.DONE
