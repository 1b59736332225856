"""The routes without LangServe, and aliases without FastAPI: in a process that cannot import them."""

import subprocess
import sys

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""

ROUTES = """
import asyncio, httpx2
from fastapi import FastAPI
from langchain_core.runnables import RunnableLambda
from langchain_finetune.serving import add_fine_tune_routes, add_model_routes
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import rows, training_data

host = FakeHost()
app = FastAPI()
add_fine_tune_routes(app, RunnableLambda(lambda _: training_data()) | trainer_at(host))
add_model_routes(app)

async def ask():
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://app") as client:
        for name in ("invoke", "stream", "stream_events"):
            answer = await client.post(f"/finetune/{name}", json={"input": {}})
            print(name, answer.status_code, "fine_tune" in answer.text)
        print("batch", (await client.post("/finetune/batch", json={"inputs": [{}]})).status_code)
        for name in ("playground", "docs", "input_schema", "output_schema", "config_schema"):
            print(name, (await client.get(f"/finetune/{name}")).status_code)

asyncio.run(ask())
"""

EXPECTED = """invoke 200 True
stream 200 True
stream_events 200 True
batch 200
playground 200
docs 200
input_schema 200
output_schema 200
config_schema 200
"""


def run(blocked, code):
    program = BLOCK.format(blocked=blocked) + code
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


MISSING = """
from langchain_finetune.errors import MissingExtraError
try:
    {statement}
except MissingExtraError as e:
    print(e)
"""


def test_every_route_answers_without_langserve_and_its_client_has_the_pip_line():
    client = MISSING.format(statement="import langchain_finetune.serving.langserve")
    done = run({"langserve", "sse_starlette"}, ROUTES + client)
    assert done.stdout.startswith(EXPECTED), done.stderr
    assert "langchain-finetune[langserve]" in done.stdout.removeprefix(EXPECTED)


def test_without_fastapi_there_are_aliases_and_the_pip_line_for_routes():
    aliases = "from langchain_finetune import AliasStore; print(AliasStore().current())"
    routes = MISSING.format(statement="from langchain_finetune import add_fine_tune_routes")
    done = run({"fastapi", "starlette", "langserve"}, aliases + routes)
    assert done.stdout.startswith("{}\n"), done.stderr
    assert "langchain-finetune[serving]" in done.stdout
