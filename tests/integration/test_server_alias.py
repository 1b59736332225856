"""A tuned model under a further name: an application that asks for its old `ft:` model goes on unchanged."""

import sys

import httpx2
import openai
import orjson
import pytest
from langchain_openai import ChatOpenAI

from langchain_finetune import FineTuneRunnable
from tests.fakes.openai_account import OLD_MODEL, FakeAccount
from tests.fakes.training_rows import rows as training_rows
from tests.openai_schemas import check_schema
from tests.server_process import BASE, ServerProcess, rows, wait_for_status
from tests.tiny_base import write_tiny_base

ALIAS_FIELD = "langchain_finetune_alias"
REAL = (sys.executable, "-m", "finetune_server.training")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = ServerProcess(tmp_path_factory.mktemp("alias") / "server")
    yield process.start()
    process.close()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def train(client: openai.OpenAI, alias: str) -> str:
    file = client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id, metadata={ALIAS_FIELD: alias})
    return str(wait_for_status(client, job.id, "succeeded").fine_tuned_model)


def test_the_model_is_listed_and_retrieved_under_its_alias_until_it_is_deleted(server, client):
    alias = "ft:gpt-4o-mini-2024-07-18:acme:support:1"
    model = train(client, alias)
    with server.http() as http:
        told = http.get(f"/models/{alias}").json()
    check_schema("Model", told)
    assert (told["id"], told["alias_of"], told["parent"]) == (alias, model, BASE)
    assert [listed.id for listed in client.models.list()].count(alias) == 1
    with pytest.raises(openai.PermissionDeniedError, match=f"is an alias of the model `{model}`"):
        client.models.delete(alias)
    newer = train(client, alias)
    assert client.models.retrieve(alias).to_dict()["alias_of"] == newer
    client.models.delete(newer)
    assert client.models.retrieve(alias).to_dict()["alias_of"] == model
    client.models.delete(model)
    assert alias not in [listed.id for listed in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(alias)


def test_an_alias_that_shadows_a_model_or_is_no_ft_name_is_refused(client):
    model = train(client, "ft:x:y::z")
    for alias, code in ((model, "alias_taken"), (BASE, "invalid_value"), ("gpt-4", "invalid_value")):
        with pytest.raises(openai.BadRequestError) as caught:
            train(client, alias)
        assert (caught.value.code, caught.value.param) == (code, f"metadata.{ALIAS_FIELD}")


def test_an_application_goes_on_under_the_old_name_after_its_model_has_moved(tmp_path):
    account = FakeAccount()
    content = b"".join(orjson.dumps(row) + b"\n" for row in training_rows())
    job_id = account.add_job(content)
    old = openai.OpenAI(
        api_key="sk-fake", base_url="http://old/v1", http_client=httpx2.Client(transport=account.transport())
    )
    base = write_tiny_base(tmp_path / "tiny.gguf")
    server = ServerProcess(tmp_path / "server", trainer_command=REAL)
    try:
        server.start()
        with server.client() as new:
            migration = FineTuneRunnable.from_openai_job(
                job_id, client=old, target=f"local:{base}", target_client=new, keep_name=True
            )
            ahead = migration.runnable.preflight(migration.data)
            tuned = migration.retrain()
            [job] = new.fine_tuning.jobs.list().data
            # Counted beforehand by the server's own tokenizer, what training then read, to the token.
            assert (ahead.tokens.is_exact, ahead.trained_tokens) == (True, job.trained_tokens)
            # The application: it knows the old name, and nothing of this package.
            app = ChatOpenAI(model=OLD_MODEL, base_url=server.base_url, api_key=server.key, temperature=0)
            answer = app.invoke("What is 5?", max_tokens=8)
            assert answer.response_metadata["model_name"] == OLD_MODEL
            assert answer.content == tuned.invoke("What is 5?", max_tokens=8, temperature=0).content
            assert (
                "".join(chunk.content for chunk in app.stream("What is 5?", max_tokens=8)) == answer.content
            )
            assert OLD_MODEL in [model.id for model in new.models.list()]
            assert migration.runnable.preflight(migration.data).existing_job == job.id
            again = migration.runnable.submit(migration.data)
            assert again.is_reused
    finally:
        server.close()
