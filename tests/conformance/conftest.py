"""Who is put to the test: our own embedded server, or the host that `--base-url` names."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.conformance.driver import (
    FEATURES,
    Driver,
    Host,
    clean_up,
    create_job,
    rows,
    upload,
    wait_for_status,
)
from tests.conformance.wire_check import WireCheck
from tests.server_process import ServerProcess
from tests.tiny_base import write_tiny_base

_REAL_TRAINER = (sys.executable, "-m", "finetune_server.training")
_OPTIONS = {
    "--base-url": "the host to test, such as https://api.openai.com/v1; without it, the embedded server",
    "--api-key": "the host's key",
    "--model": "a base model that the host fine-tunes",
    "--without": f"what the host states that it lacks, with commas between: {', '.join(FEATURES)}",
    "--training-seconds": "how long a small training may take at the host",
}
_DEFAULTS = {"--training-seconds": "7200"}
_driven: dict[str, set[str]] = {"sync": set(), "async": set()}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "OpenAI's fine-tuning protocol")
    for name, told in _OPTIONS.items():
        variable = "CONFORMANCE_" + name.removeprefix("--").replace("-", "_").upper()
        default = os.environ.get(variable) or _DEFAULTS.get(name)
        group.addoption(name, default=default, help=f"{told} (or ${variable})")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The host under test."""

    def told(name: str) -> str | None:
        return request.config.getoption(name)

    lacks = frozenset(filter(None, (told("--without") or "").replace(" ", "").split(",")))
    if unknown := lacks - set(FEATURES):
        pytest.exit(f"--without takes {', '.join(FEATURES)}, not {', '.join(sorted(unknown))}", 4)
    if told("--base-url"):
        if not (told("--api-key") and told("--model")):
            pytest.exit("--base-url needs --api-key and --model", 4)
        yield Host(
            base_url=told("--base-url"),
            api_key=told("--api-key"),
            model=told("--model"),
            lacks=lacks,
            training_seconds=float(told("--training-seconds")),
        )
        return
    directory = tmp_path_factory.mktemp("conformance")
    server = ServerProcess(directory / "server", trainer_command=_REAL_TRAINER)
    try:
        server.start()
        base = write_tiny_base(directory / "tiny.gguf")
        yield Host(
            base_url=server.base_url, api_key=server.key, model=str(base), lacks=lacks, training_seconds=120
        )
    finally:
        server.close()


@pytest.fixture(params=["sync", "async"])
async def client(request: pytest.FixtureRequest, host: Host, training: str | None) -> AsyncIterator[Driver]:
    """The stock client, once the synchronous and once the asynchronous one; every answer is checked."""
    wire = WireCheck(host.base_url)
    stock = host.sync_client(wire) if request.param == "sync" else host.async_client(wire)
    driver = Driver(stock)
    yield driver
    await clean_up(driver, wire)
    await driver.close()
    _driven[request.param] |= wire.answered
    assert wire.faults == []


@pytest.fixture(scope="session")
def driven() -> dict[str, set[str]]:
    """The endpoints that each of the two clients has got an answer from."""
    return _driven


@pytest.fixture(scope="session")
def training(request: pytest.FixtureRequest, host: Host) -> Iterator[str | None]:
    """The id of the kit's one training, which runs while the first tests do; None where no test needs it."""
    if not any("trained" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    wire = WireCheck(host.base_url)
    with host.sync_client(wire) as stock:
        driver = Driver(stock)
        yield asyncio.run(_begin(driver, host))
        asyncio.run(clean_up(driver, wire))
    assert wire.faults == []


@pytest.fixture(scope="session")
def trained(training: str, host: Host) -> Any:
    """The job of the kit's one training, when it has succeeded."""
    wire = WireCheck(host.base_url)
    with host.sync_client(wire) as stock:
        done = wait_for_status(Driver(stock), training, "succeeded", seconds=host.training_seconds)
        job = asyncio.run(done)
    assert wire.faults == []
    return job


async def _begin(client: Driver, host: Host) -> str:
    job = await create_job(
        client,
        host,
        validation_file=await upload(client, rows(2)),
        suffix="kit",
        seed=7,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 4, "batch_size": 4}},
        },
    )
    return job.id
