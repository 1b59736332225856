"""What reading and converting recorded runs costs: runs a second beside others, memory, imports.

Run it with `make bench`. It needs no network and trains nothing. All readers get the same bytes, in one
process, in turns: runs as LangSmith's API gave them in 2023, flat, which is the one form that
langchain-community's loader still reads. The limit is what parsing and writing these bytes costs with orjson.
Memory is measured on a stream of runs that is made as it is read; what the pipe writes, about as much again
for sessions and rows, lies in a temporary folder.

    python benchmarks/runs.py --runs 2000 --memory-runs 20000    # a small try
    python benchmarks/runs.py --profile                          # where the time goes
"""

import argparse
import cProfile
import itertools
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
from runs_source import make_line, register

NUM_RUNS = 20_000
NUM_MEMORY_RUNS = 1_000_000
NUM_TRIALS = 3
NUM_IMPORTS = 5
PAGE = 1000
MB = 1_000_000
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
IMPORTS = ("langchain_core.runnables", "langchain_finetune", "langchain_finetune.loaders.run_export")

Reader = Callable[[Path, Path], object]


def main() -> None:
    """Measure and print the tables."""
    options = _options()
    os.environ["LANGSMITH_TRACING"] = "false"
    warnings.showwarning = _stay_quiet  # a filter would not do: LangChain switches its own on at import
    if options.child:
        _be_child(*options.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LANGCHAIN_FINETUNE_HOME"] = str(folder / "state")
        runs = _write(folder / "runs.jsonl", range(options.runs))
        if options.profile:
            _profile(runs, folder)
            return
        # First, as a process begins with the peak of the one that started it.
        _print_memory(options.memory_runs)
        _print_speed(runs, folder, options)
        _print_imports()


def _stay_quiet(*_arguments: Any, **_settings: Any) -> None:
    """Show no warning."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What reading and converting recorded runs costs.")
    parser.add_argument("--runs", type=int, default=NUM_RUNS, help="runs for the comparison")
    parser.add_argument("--memory-runs", type=int, default=NUM_MEMORY_RUNS, help="runs for the peak memory")
    parser.add_argument("--trials", type=int, default=NUM_TRIALS, help="trials, of which the median counts")
    parser.add_argument("--profile", action="store_true", help="show where the pipe spends its time instead")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _write(path: Path, numbers: range) -> Path:
    with path.open("wb") as file:
        file.writelines(map(make_line, numbers))
    return path


# --- speed ----------------------------------------------------------------------------------------------


def _print_speed(runs: Path, folder: Path, options: argparse.Namespace) -> None:
    readers: dict[str, Reader] = {
        "langchain-community: loader, convert_messages_for_finetuning": _community,
        "langchain-core: safe load, convert_to_openai_messages": _core,
        "orjson: loads and dumps of the same bytes": _limit,
        "langchain-finetune: load": _load,
        "langchain-finetune: load, num_processes=2, their start too": _load_with_two,
        "langchain-finetune: load and convert": _pipe,
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    two_cores = "langchain-finetune: load and convert, two processes"
    seconds[two_cores] = []
    few = _write(folder / "few.jsonl", range(100))
    for reader in readers.values():
        _seconds(reader, few, folder / "out.jsonl")  # what is imported on first use is not what is compared
    for _ in range(options.trials):
        for name, reader in readers.items():
            seconds[name].append(_seconds(reader, runs, folder / "out.jsonl"))
        seconds[two_cores].append(_two_processes(options.runs, folder))
    rates = {name: options.runs / statistics.median(each) for name, each in seconds.items()}
    community, _core_rate, limit = itertools.islice(rates.values(), 3)
    size = runs.stat().st_size / options.runs
    print(f"{options.runs:,} runs of {size:,.0f} bytes, {options.trials} trials, median\n")
    print(f"{'':62}{'runs/s':>9}{'x community':>13}{'of orjson':>11}")
    for name, rate in rates.items():
        print(f"{name:62}{rate:9,.0f}{rate / community:12.1f}x{rate / limit:10.0%}")
    print()


def _seconds(reader: Reader, runs: Path, out: Path) -> float:
    started = time.perf_counter()
    reader(runs, out)
    return time.perf_counter() - started


def _community(runs: Path, out: Path) -> None:
    from langchain_community.adapters.openai import convert_messages_for_finetuning  # noqa: PLC0415
    from langchain_community.chat_loaders.langsmith import LangSmithRunChatLoader  # noqa: PLC0415
    from langsmith.schemas import Run  # noqa: PLC0415

    with runs.open("rb") as source, out.open("w") as target:
        objects = (Run(**orjson.loads(line)) for line in source)
        loader: Any = LangSmithRunChatLoader(objects, client=object())
        sessions = loader.lazy_load()
        while page := list(itertools.islice(sessions, PAGE)):
            target.writelines(
                json.dumps({"messages": row}) + "\n" for row in convert_messages_for_finetuning(page)
            )


def _core(runs: Path, out: Path) -> None:
    from langchain_core.load import load  # noqa: PLC0415
    from langchain_core.messages import convert_to_openai_messages  # noqa: PLC0415

    with runs.open("rb") as source, out.open("wb") as target:
        for line in source:
            run = orjson.loads(line)
            answer = run["outputs"]["generations"][0]["message"]
            messages = load([*run["inputs"]["messages"], answer], allowed_objects="messages")
            row = {"messages": convert_to_openai_messages(messages)}
            tools = run["extra"]["invocation_params"]["tools"]
            target.write(orjson.dumps({**row, "tools": tools}, option=orjson.OPT_APPEND_NEWLINE))


def _limit(runs: Path, out: Path) -> None:
    with runs.open("rb") as source, out.open("wb") as target:
        for line in source:
            target.write(orjson.dumps(orjson.loads(line), option=orjson.OPT_APPEND_NEWLINE))


def _load(runs: Path, _out: Path) -> Any:
    from langchain_finetune import RunExportLoader  # noqa: PLC0415

    return RunExportLoader(runs).invoke({})


def _load_with_two(runs: Path, _out: Path) -> Any:
    from langchain_finetune import RunExportLoader  # noqa: PLC0415

    return RunExportLoader(runs, num_processes=2).invoke({})


def _pipe(runs: Path | str, _out: Path) -> Any:
    from langchain_finetune import RunExportLoader, TrainingDataConverter  # noqa: PLC0415

    # What the others do not do is left out: finding duplicates, growing histories and secrets.
    converter = TrainingDataConverter(deduplicate="none", collapse="none", redact="none")
    return (RunExportLoader(runs) | converter).invoke({})


def _two_processes(num_runs: int, folder: Path) -> float:
    """Return the seconds of two processes that read half of the runs each, their start not counted."""
    half = num_runs // 2
    files = [folder / "first.jsonl", folder / "second.jsonl"]
    for file, numbers in zip(files, (range(half), range(half, num_runs)), strict=True):
        if not file.exists():
            _write(file, numbers)
    children = [_start("pipe", str(file), stdin=subprocess.PIPE) for file in files]
    for child in children:
        _said(child)
    started = time.perf_counter()
    for child in children:
        _tell(child)
    for child in children:
        _said(child)
    seconds = time.perf_counter() - started
    for child in children:
        child.communicate()
    return seconds


# --- memory ---------------------------------------------------------------------------------------------


def _print_memory(num_runs: int) -> None:
    print(f"{'peak memory':62}{'MB':>9}{'runs/s':>13}")
    for count in (num_runs // 10, num_runs):
        child = _start("memory", str(count))
        before, peak, seconds = map(float, _said(child).split())
        child.wait()
        print(f"{f'{count:,} runs, load and convert':62}{peak / MB:9,.0f}{count / seconds:13,.0f}")
    print(f"{'the same process before the first run':62}{before / MB:9,.0f}\n")


def _measure_memory(num_runs: int) -> None:
    register()
    _pipe("generated://100", Path())
    before = _peak_bytes()
    started = time.perf_counter()
    _pipe(f"generated://{num_runs}", Path())
    print(before, _peak_bytes(), time.perf_counter() - started, flush=True)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


# --- children -------------------------------------------------------------------------------------------


def _start(task: str, argument: str, **streams: Any) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", task, argument]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **streams)


def _tell(child: subprocess.Popen[str]) -> None:
    if child.stdin is None:
        raise AssertionError
    child.stdin.write("go\n")
    child.stdin.flush()


def _said(child: subprocess.Popen[str]) -> str:
    if child.stdout is None:
        raise AssertionError
    return child.stdout.readline()


def _be_child(task: str, argument: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["LANGCHAIN_FINETUNE_HOME"] = home
        if task == "memory":
            _measure_memory(int(argument))
            return
        register()
        _pipe("generated://100", Path())
        print("ready", flush=True)
        sys.stdin.readline()
        _pipe(Path(argument), Path())
        print("done", flush=True)


# --- imports, profile -----------------------------------------------------------------------------------


def _print_imports() -> None:
    idle = _import_seconds(None)
    seconds = {module: _import_seconds(module) - idle for module in IMPORTS}
    print(f"{'import':62}{'seconds':>9}{'ratio':>13}")
    for module, each in seconds.items():
        print(f"{module:62}{each:9.3f}{each / seconds[IMPORTS[0]]:12.2f}x")


def _import_seconds(module: str | None) -> float:
    command = [sys.executable, "-c", f"import {module}" if module else "pass"]
    return statistics.median(_timed(lambda: subprocess.run(command, check=True), NUM_IMPORTS))


def _timed(work: Callable[[], object], num_trials: int) -> Iterator[float]:
    for _ in range(num_trials):
        started = time.perf_counter()
        work()
        yield time.perf_counter() - started


def _profile(runs: Path, folder: Path) -> None:
    _pipe(runs, folder)
    profile = cProfile.Profile()
    profile.runcall(_pipe, runs, folder)
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
