"""The hosts with an SDK of their own: the SDK's real requests over real HTTP, to a fake of the host."""

import asyncio
import gc

import pytest

from langchain_finetune.errors import DeploymentNeeded
from langchain_finetune.trainers import FineTuneRunnable
from tests.fakes.colors import COLORS
from tests.fakes.sdk_clients import served
from tests.fakes.training_rows import training_data


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


async def life(color, target, url, key):
    """Train, be told to deploy, and find the job again with the deployment."""
    settings = {"base_url": url, "api_key": key, "poll_interval": 0.01}
    with pytest.raises(DeploymentNeeded) as caught:
        await color(FineTuneRunnable(target, **settings), "invoke", training_data())
    model = await color(FineTuneRunnable(target, deployment="d", **settings), "invoke", training_data())
    assert model.metadata["langchain_finetune"] == caught.value.job_id
    # The SDKs' connections end before the server does.
    gc.collect()
    return model


async def test_together(color):
    pytest.importorskip("together", reason="Together AI is NOT tested: its SDK is not installed")
    from tests.fakes.together_host import TogetherHost  # noqa: PLC0415 - it needs the SDK

    host = TogetherHost()
    with served(host) as url:
        model = await life(color, f"together:{host.base}", url, host.key)
    assert model.openai_api_base == f"{url}/v1"
    assert len(host.jobs) == 1
    assert sorted(content.count(b"\n") for content in host.contents.values()) == [2, 12]


async def test_fireworks(color, monkeypatch):
    pytest.importorskip("fireworks", reason="Fireworks AI is NOT tested: its SDK is not installed")
    from tests.fakes.fireworks_host import FireworksHost  # noqa: PLC0415 - it needs the SDK

    host = FireworksHost()
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", host.account)
    with served(host) as url:
        model = await life(color, "fireworks:qwen3-8b", url, host.key)
    assert model.openai_api_base == f"{url}/inference/v1"
    assert len(host.jobs) == 1
    assert sorted(content.count(b"\n") for content in host.contents.values()) == [2, 12]


@pytest.mark.parametrize("name", ["together", "fireworks"])
async def test_one_trainer_serves_several_event_loops(name, monkeypatch):
    """Connections that are kept across loops fail in the second one."""
    pytest.importorskip(name, reason=f"{name} is NOT tested: its SDK is not installed")
    if name == "together":
        from tests.fakes.together_host import TogetherHost as Host  # noqa: PLC0415 - it needs the SDK

        base = Host().base
    else:
        from tests.fakes.fireworks_host import FireworksHost as Host  # noqa: PLC0415 - it needs the SDK

        base = "qwen3-8b"
        monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", Host().account)
    host = Host()
    with served(host) as url:
        settings = {"base_url": url, "api_key": host.key, "poll_interval": 0.01, "deployment": "d"}
        one = FineTuneRunnable(f"{name}:{base}", **settings)
        data = training_data()
        for _ in range(2):
            await asyncio.to_thread(asyncio.run, one.ainvoke(data))
        del one
        gc.collect()
    assert len(host.jobs) == 1
