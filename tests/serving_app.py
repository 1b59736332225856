"""An application with every kind of route, as a process of its own; it prints its port when it listens."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import openai
import uvicorn
from fastapi import FastAPI
from langserve import add_routes

from langchain_finetune import (
    FineTuneRunnable,
    Promotion,
    RunExportLoader,
    TrainingDataConverter,
    add_fine_tune_routes,
    add_model_routes,
)
from langchain_finetune.serving import Limits

RUNS = Path(__file__).parents[1] / "examples" / "calculator" / "runs.jsonl"
BASE = "gpt-4.1-mini-2025-04-14"


def make_app(told: dict[str, str]) -> FastAPI:
    loader = RunExportLoader(RUNS, feedback={"user_score": 1}, limit=40)
    client = openai.OpenAI(base_url=told["host_url"], api_key=told["host_key"])
    trainer = FineTuneRunnable(f"openai:{BASE}", client=client, poll_interval=0.02)
    app = FastAPI()
    quick = Limits(look_seconds=0.05)
    pipe = loader | TrainingDataConverter() | trainer
    add_fine_tune_routes(app, pipe, "/finetune", limits=quick)
    add_fine_tune_routes(app, pipe | Promotion(alias="calculator@production"), "/promoting", limits=quick)
    add_fine_tune_routes(app, pipe, "/keyed", limits=quick, api_keys=[told["app_key"]])
    add_model_routes(app)
    add_routes(app, loader | TrainingDataConverter() | trainer.as_served(), path="/plain", input_type=dict)
    add_routes(app, loader | TrainingDataConverter() | trainer.as_served(), path="/typed")
    return app


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)  # noqa: T201 - its first line is its port
    config = uvicorn.Config(make_app(json.loads(sys.argv[1])), log_level="warning", lifespan="on")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
