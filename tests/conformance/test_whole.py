"""Last of all: the tuned model goes, and no endpoint has been left out."""

from pathlib import Path

import pytest

from tests.conformance.driver import Driver, items, refused
from tests.conformance.wire_check import ENDPOINTS, WireCheck

_FEATURES = {
    "model_delete": {"DELETE /models/{id}"},
    "pause": {"POST /fine_tuning/jobs/{id}/pause", "POST /fine_tuning/jobs/{id}/resume"},
    "model_limits": {"GET /fine_tuning/model_limits"},
    "checkpoints": {"GET /fine_tuning/jobs/{id}/checkpoints"},
    "chat": {"POST /chat/completions"},
}


async def test_a_tuned_model_that_is_deleted_is_gone(host, trained, driven):
    """There is one, so that both clients must share it."""
    host.needs("model_delete")
    wire, async_wire = WireCheck(host.base_url), WireCheck(host.base_url)
    name = trained.fine_tuned_model
    async with host.async_client(async_wire) as stock:
        deleted = await Driver(stock).models.delete(name)
    assert (deleted.id, deleted.deleted) == (name, True)
    with host.sync_client(wire) as stock:
        client = Driver(stock)
        assert (await refused(client.models.retrieve(name), 404)).code == "model_not_found"
        assert (await refused(client.models.delete(name), 404)).code == "model_not_found"
        assert name not in [model.id for model in await items(await client.models.list(), at_most=10_000)]
        assert (await client.fine_tuning.jobs.retrieve(trained.id)).status == "succeeded"
    assert wire.faults + async_wire.faults == []
    driven["async"] |= async_wire.answered


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_endpoint_has_been_driven(request, host, driven, kind):
    asked = {item.path for item in request.session.items}
    if left_out := set(Path(__file__).parent.glob("test_*.py")) - asked:
        pytest.skip(f"a part of the kit was not asked for: {sorted(path.name for path in left_out)}")
    expected = set(ENDPOINTS)
    for feature in host.lacks & _FEATURES.keys():
        expected -= _FEATURES[feature]
    if kind == "sync":
        expected -= _FEATURES["model_delete"]  # the asynchronous one has deleted the only model
    assert driven[kind] == expected
