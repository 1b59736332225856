"""Find or create at the embedded server, which trains with a stand-in: uploads, repeats, forced jobs."""

import pytest

from langchain_finetune import FineTuneRunnable
from langchain_finetune._spool import sha256_of
from tests.fakes.colors import COLORS
from tests.fakes.training_rows import training_data
from tests.server_process import BASE, ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = ServerProcess(tmp_path_factory.mktemp("embedded") / "server")
    yield process.start()
    process.close()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


async def trained(color, client, data, **settings):
    trainer = FineTuneRunnable(f"local:{BASE}", client=client, poll_interval=0.02, **settings)
    model = await color(trainer, "invoke", data)
    if color.is_async:
        await model.root_async_client.close()
        await trainer._connection.async_client.close()
    return model.model_name


async def test_one_job_and_one_upload_until_a_new_one_is_forced(client, color):
    data = training_data(num_train=20 + color.is_async)
    first = await trained(color, client, data)
    assert await trained(color, client, data) == first
    second = await trained(color, client, data, retrain=True)
    assert second != first
    files = [file.filename for file in client.files.list(purpose="fine-tune")]
    assert files.count(f"train-{sha256_of(data.train)}.jsonl") == 1
    assert files.count(f"validation-{sha256_of(data.validation)}.jsonl") == 1


async def test_uploads_go_when_the_job_has_ended(client, color):
    data = training_data(num_train=30 + color.is_async, num_validation=4)
    before = {file.id for file in client.files.list(purpose="fine-tune")}
    await trained(color, client, data, delete_uploads_after=True)
    assert {file.id for file in client.files.list(purpose="fine-tune")} == before
