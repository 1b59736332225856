"""What the light half of the pipe costs, as ratios in one run: importing, loading and converting.

Run it with `make bench`. It needs no network and trains nothing. The limit is what parsing and writing the
same bytes costs with orjson; an import is compared with that of langchain-core's Runnables, which every
application has.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import orjson

RUNS = Path(__file__).parent.parent / "examples" / "calculator" / "runs.jsonl"
NUM_RUNS = 5_000
NUM_TRIALS = 5


def main() -> None:
    """Measure and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        runs = _many_runs(Path(folder))
        limit = _median_seconds(lambda: _parse_and_write(runs))
        loading, converting = _pipe_seconds(runs, Path(folder))
    core = _import_seconds("langchain_core.runnables")
    ours = _import_seconds("langchain_finetune")
    stages = _import_seconds("langchain_finetune.loaders")
    print(f"{NUM_RUNS} runs, {NUM_TRIALS} trials, median\n")
    print(f"{'':44}{'seconds':>9}{'ratio':>8}")
    _line("parse and write the same bytes (orjson)", limit, limit)
    _line("load: RunExportLoader", loading, limit)
    _line("convert: TrainingDataConverter", converting, limit)
    _line("load and convert", loading + converting, limit)
    print()
    _line("import langchain_core.runnables", core, core)
    _line("import langchain_finetune", ours, core)
    _line("import langchain_finetune.loaders", stages, core)


def _line(what: str, seconds: float, unit: float) -> None:
    print(f"{what:44}{seconds:9.3f}{seconds / unit:7.2f}x")


def _many_runs(folder: Path) -> Path:
    """Write the example's runs over and over, each time in traces of their own."""
    lines = RUNS.read_bytes().splitlines()
    path = folder / "runs.jsonl"
    with path.open("wb") as file:
        for number in range(NUM_RUNS):
            run = orjson.loads(lines[number % len(lines)])
            copy = f"{number // len(lines):08d}"
            for key in ("id", "trace_id", "parent_run_id"):
                if run.get(key):
                    run[key] = copy + run[key][8:]
            file.write(orjson.dumps(run) + b"\n")
    return path


def _parse_and_write(path: Path) -> None:
    with path.open("rb") as source, path.with_suffix(".copy").open("wb") as target:
        for line in source:
            target.write(orjson.dumps(orjson.loads(line)) + b"\n")


def _pipe_seconds(runs: Path, folder: Path) -> tuple[float, float]:
    import os  # noqa: PLC0415

    os.environ["LANGCHAIN_FINETUNE_HOME"] = str(folder / "state")
    os.environ["LANGSMITH_TRACING"] = "false"
    from langchain_finetune import RunExportLoader, TrainingDataConverter  # noqa: PLC0415

    loader, converter = RunExportLoader(runs), TrainingDataConverter(deduplicate="none")
    sessions = loader.invoke({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (
            _median_seconds(lambda: loader.invoke({})),
            _median_seconds(lambda: converter.invoke(sessions)),
        )


def _import_seconds(module: str) -> float:
    command = [sys.executable, "-c", f"import {module}"]
    idle = [sys.executable, "-c", "pass"]

    def run(arguments: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(arguments, check=True)

    return _median_seconds(run(command)) - _median_seconds(run(idle))


def _median_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(NUM_TRIALS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
