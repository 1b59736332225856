"""A fine-tuning pipe and the model behind an alias, served: `python app.py`.

Then http://127.0.0.1:8000/finetune/playground is where a training is ordered by hand. Everything runs on this
machine: the recorded runs of `examples/calculator`, the embedded server that trains, and this application.
Variables of the environment, all of them optional:

- `TARGET`: what is trained, `provider:base`; `local:smollm2-135m-instruct` without it.
- `APP_KEY`: the key that clients send; without it, everybody on this machine may order a training.
- `PORT`: where it listens on the loopback; 8000 without it.
"""

import os
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from langchain_finetune import (
    FineTuneRunnable,
    Promotion,
    RunExportLoader,
    TrainingDataConverter,
    add_fine_tune_routes,
    add_model_routes,
)

ALIAS = "calculator@production"
RUNS = Path(__file__).parents[1] / "calculator" / "runs.jsonl"


def make_app(target: str, api_keys: list[str]) -> FastAPI:
    """Return the application.

    Args:
        target: What is trained, `"provider:base"`.
        api_keys: Keys that open it; none leave it open.
    """
    app = FastAPI(title="Calculator, tuned")
    trainer = FineTuneRunnable(target, hyperparameters={"n_epochs": 1})
    pipeline = (
        RunExportLoader(RUNS, feedback={"user_score": 1})
        | TrainingDataConverter()
        | trainer
        | Promotion(alias=ALIAS, note="by the application")
    )
    add_fine_tune_routes(app, pipeline, "/finetune", api_keys=api_keys)
    add_model_routes(app, "/model", aliases=[ALIAS], api_keys=api_keys)
    return app


def main() -> None:
    """Serve it on the loopback."""
    keys = [os.environ["APP_KEY"]] if os.environ.get("APP_KEY") else []
    app = make_app(os.environ.get("TARGET", "local:smollm2-135m-instruct"), keys)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))


if __name__ == "__main__":
    main()
