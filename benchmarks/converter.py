"""What converting sessions costs and is worth: rows a second per step, memory, near duplicates, leaks.

Run it with `make bench`. It needs no network and trains nothing. The sessions are those of agent traces, made
as they are needed (`converter_source.py`). A step is measured alone, over rows that are in memory; the whole
pipe is what a person runs, from the file of a loader to the published rows. Memory is that of a process of
its own, for two numbers of rows: what lies between them is how it grows.

    python benchmarks/converter.py --rows 2000 --memory-rows 3000 9000 --near-rows 1000  # a small try
    python benchmarks/converter.py --memory-rows 100000 1000000  # the large one
    python benchmarks/converter.py --profile  # where the time goes
"""

import argparse
import cProfile
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, get_args

import converter_leaks
import converter_near
import converter_steps
from converter_source import CALLS, write_sessions

from langchain_finetune import TrainingDataConverter

NUM_ROWS = 10_000
NUM_MEMORY_ROWS = (10_000, 100_000)
NUM_NEAR_ROWS = 10_000
NUM_TRACES = 2_000
NUM_TRIALS = 3
GOAL_ROWS = 1_000_000
MB = 1_000_000
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Measure and print the tables."""
    options = _options()
    os.environ["LANGSMITH_TRACING"] = "false"
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LANGCHAIN_FINETUNE_HOME"] = str(folder / "state")
        if options.child:
            _measure_memory(folder, int(options.child))
        elif options.profile:
            _profile(write_sessions(folder / "sessions.jsonl", options.rows))
        else:
            # First, as a process begins with the peak of the one that started it.
            _print_memory(options.memory_rows)
            _print_speed(folder, options.rows, options.trials)
            _print_near(options.near_rows)
            _print_leaks(folder, options.traces)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What converting recorded sessions costs and is worth.")
    parser.add_argument("--rows", type=int, default=NUM_ROWS, help="sessions for the speed of the steps")
    parser.add_argument(
        "--memory-rows", type=int, nargs="+", default=NUM_MEMORY_ROWS, help="sessions for the peak memory"
    )
    parser.add_argument("--near-rows", type=int, default=NUM_NEAR_ROWS, help="rows for the near duplicates")
    parser.add_argument("--traces", type=int, default=NUM_TRACES, help="agent traces that are split")
    parser.add_argument("--trials", type=int, default=NUM_TRIALS, help="trials, of which the median counts")
    parser.add_argument("--profile", action="store_true", help="show where the pipe spends its time instead")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def _convert(sessions: Path, **settings: Any) -> Any:
    return TrainingDataConverter(**settings).invoke(sessions)


def _dearest() -> str:
    """Return the way to deduplicate that takes the most memory."""
    ways = get_args(TrainingDataConverter.model_fields["deduplicate"].annotation)
    return "near" if "near" in ways else "exact"


# --- speed ----------------------------------------------------------------------------------------------


def _print_speed(folder: Path, num_rows: int, num_trials: int) -> None:
    sessions = write_sessions(folder / "sessions.jsonl", num_rows)
    few = write_sessions(folder / "few.jsonl", 300)
    _convert(few)  # what is imported on first use is no part of it
    works = {
        **converter_steps.steps(sessions, folder / "rows.jsonl"),
        **{
            f"whole pipe, deduplicate={way!r}": partial(_convert, sessions, deduplicate=way)
            for way in sorted({"exact", _dearest()})
        },
    }
    size = sessions.stat().st_size / num_rows
    print(f"{num_rows:,} sessions of {size:,.0f} bytes, {num_trials} trials, median\n")
    print(f"{'':42}{'rows/s':>11}{'µs a row':>11}")
    for name, work in works.items():
        seconds = statistics.median(_seconds(work) for _ in range(num_trials))
        print(f"{name:42}{num_rows / seconds:11,.0f}{seconds / num_rows * 1e6:11.1f}")
    print()


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _profile(sessions: Path) -> None:
    _convert(sessions)
    profile = cProfile.Profile()
    profile.runcall(_convert, sessions)
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


# --- memory ---------------------------------------------------------------------------------------------


def _print_memory(counts: list[int]) -> None:
    print(f"{f'peak memory, deduplicate={_dearest()!r}':42}{'MB':>11}{'rows/s':>11}")
    measured = []
    for count in counts:
        command = [sys.executable, __file__, "--child", str(count)]
        before, peak, seconds = map(float, subprocess.check_output(command, text=True).split())
        measured.append((count, peak))
        print(f"{f'{count:,} sessions':42}{peak / MB:11,.0f}{count / seconds:11,.0f}")
    print(f"{'the same process before the first session':42}{before / MB:11,.0f}")
    if len(measured) > 1:
        (few, low), *_, (many, high) = measured
        growth = (high - low) / (many - few)
        goal = high + growth * (GOAL_ROWS - many)
        print(f"{f'bytes a session more; {GOAL_ROWS:,} would take':42}{goal / MB:11,.0f}{growth:11,.0f}")
    print()


def _measure_memory(folder: Path, num_rows: int) -> None:
    # What is kept of a row are hashes: rows of a kilobyte cost as much memory as long ones, and less disk.
    few, sessions = (
        write_sessions(folder / f"{count}.jsonl", count, policy_repeats=1) for count in (300, num_rows)
    )
    _convert(few, deduplicate=_dearest())
    before = _peak_bytes()
    seconds = _seconds(lambda: _convert(sessions, deduplicate=_dearest()))
    print(before, _peak_bytes(), seconds, flush=True)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


# --- near duplicates ------------------------------------------------------------------------------------


def _print_near(num_rows: int) -> None:
    found = converter_near.measure(num_rows)
    print(f"near duplicates among {found.num_rows:,} rows, against every pair compared")
    print(f"{'rows that are near an earlier one':42}{found.num_near:11,}")
    print(f"{'recall: share of them that is found':42}{found.recall:11.1%}")
    print(f"{'recall where similarity is 0.9 and more':42}{found.recall_of_close:11.1%}")
    print(f"{'precision: share of those found':42}{found.precision:11.1%}")
    print(f"{'similarity of the least alike one found':42}{found.lowest:11.2f}\n")


# --- leaks ----------------------------------------------------------------------------------------------


def _print_leaks(folder: Path, num_traces: int) -> None:
    sessions = write_sessions(folder / "traces.jsonl", num_traces * CALLS, policy_repeats=1)
    print(f"what is held out of {num_traces:,} agent traces, share of the test rows")
    print(f"{'':42}{'rows':>11}{'trace':>11}{'prompt':>11}{'answer':>11}")
    for collapse in ("trajectory", "none"):
        data = _convert(sessions, collapse=collapse, validation_fraction=0, test_fraction=0.2)
        train, test = converter_leaks.our_split(data)
        parted = converter_leaks.random_split([*train, *test], len(test) / len(train + test))
        for name, split in (("ours", (train, test)), ("rows at random", parted)):
            leaks = converter_leaks.leaks_of(*split)
            title = f"{name}, collapse={collapse!r}"
            shares = f"{leaks.same_trace:11.1%}{leaks.same_prompt:11.1%}{leaks.same_answer:11.1%}"
            print(f"{title:42}{leaks.num_test:11,}{shares}")


if __name__ == "__main__":
    main()
