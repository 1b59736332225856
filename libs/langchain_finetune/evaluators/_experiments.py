"""LangSmith's experiments: the one module of this room that speaks to it.

The answers are there already: `evaluate()` is given a target that looks them up, so that a comparison goes
to LangSmith without a question asked twice. The held-out rows become a dataset under the name of their hash,
with ids made of it: a comparison of the same rows with another model stands beside the first one.
"""

import contextlib
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import langsmith
from langsmith.evaluation import EvaluationResult, EvaluationResults, evaluate
from langsmith.schemas import Example
from langsmith.utils import (
    LangSmithAuthError,
    LangSmithConnectionError,
    LangSmithError,
    LangSmithRateLimitError,
    LangSmithRequestTimeout,
)

from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostError,
    HostUnavailableError,
    HostUnreachableError,
    RateLimitedError,
)
from langchain_finetune.evaluators.questions import questions_from
from langchain_finetune.evaluators.report import ComparisonReport
from langchain_finetune.handles import OWN_TRAFFIC_KEY

_NAMES: Final = uuid.UUID("6f6f9d5c-54c6-5a0d-9a1f-0a1c4d0f7f11")
_KEY: Final = "langchain_finetune_question"
_BATCH: Final = 100


def publish(report: ComparisonReport, client: langsmith.Client | None = None) -> ComparisonReport:
    """Write a comparison to LangSmith, one experiment for each model, and return the report with their URLs.

    Args:
        report: The report; its details have to be on disk.
        client: The client; None makes one from the environment.

    Raises:
        AuthenticationFailedError: The key is not accepted.
        HostUnreachableError: LangSmith cannot be reached.
        HostError: LangSmith refuses something.
    """
    client = client or langsmith.Client()
    lines = list(report.answers())
    try:
        examples = _examples(client, report, lines)
        experiments = {
            model["name"]: _experiment(client, report, model, lines, examples)
            for model in report.summary()["models"]
        }
    except LangSmithError as e:
        raise _clear(e, client.api_url) from e
    published = report.model_copy(update={"experiments": experiments})
    published.save()
    return published


def _examples(
    client: langsmith.Client, report: ComparisonReport, lines: Sequence[Mapping[str, Any]]
) -> list[Example]:
    """Return the held-out rows as examples of a dataset; what is missing there is added."""
    name = f"langchain-finetune held out {report.test_sha256[:16]}"
    if not client.has_dataset(dataset_name=name):
        client.create_dataset(
            name,
            description="Rows held out of a training, by ModelComparison of langchain-finetune.",
            metadata={OWN_TRAFFIC_KEY: "comparison", "test_sha256": report.test_sha256},
        )
    wanted = {_id_of(report, line): line for line in lines}
    present = {example.id for example in client.list_examples(dataset_name=name)}
    prompts = {(each.row, each.turn): each for each in questions_from(read_jsonl(report.test))}
    missing = []
    for example_id, line in wanted.items():
        if example_id not in present:
            question = prompts[line["row"], line["turn"]]
            inputs: dict[str, Any] = {"messages": list(question.prompt)}
            if question.tools:
                inputs["tools"] = list(question.tools)
            missing.append(
                {
                    "id": example_id,
                    "inputs": inputs,
                    "reference_outputs": {"messages": [line["expected"]]},
                    "metadata": {_KEY: _key_of(line), "run_ids": line["run_ids"], "tags": line["tags"]},
                    "split": "test",
                }
            )
    for start in range(0, len(missing), _BATCH):
        client.create_examples(dataset_name=name, examples=missing[start : start + _BATCH])
    return [example for example in client.list_examples(dataset_name=name) if example.id in wanted]


def _experiment(
    client: langsmith.Client,
    report: ComparisonReport,
    model: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    examples: Sequence[Example],
) -> str:
    """Write what one model answered, and return the URL."""
    found = {_key_of(line): line["models"][model["name"]] for line in lines}
    named = {
        name: value
        for name, value in (("model", model["name"]), ("role", model["role"]), ("job_id", model["job_id"]))
        if value
    }
    # It announces the experiment's URL by print: the report has it.
    with contextlib.redirect_stdout(io.StringIO()):
        results = evaluate(
            _replay(found),
            data=list(examples),
            evaluators=[_scores(found)],
            experiment_prefix=model["name"].replace(":", "-"),
            description="Answers given in a ModelComparison of langchain-finetune.",
            metadata={OWN_TRAFFIC_KEY: "comparison", "test_sha256": report.test_sha256, **named},
            max_concurrency=0,
            client=client,
        )
    client.flush()
    return str(results.url or results.experiment_name)


def _replay(found: Mapping[str, Mapping[str, Any]]) -> Callable[..., dict[str, Any]]:
    def answer(inputs: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
        del inputs
        given = found[metadata[_KEY]]
        if given["answer"] is None:
            return {"error": given["error"] or "no answer"}
        return {"messages": [given["answer"]]}

    return answer


def _scores(found: Mapping[str, Mapping[str, Any]]) -> Callable[..., EvaluationResults]:
    def scores(run: Any, example: Any) -> EvaluationResults:
        del run
        named = found[example.metadata[_KEY]]["scores"]
        return EvaluationResults(
            results=[EvaluationResult(key=key, score=value) for key, value in named.items()]
        )

    return scores


def _key_of(line: Mapping[str, Any]) -> str:
    return f"{line['row']}.{line['turn']}"


def _id_of(report: ComparisonReport, line: Mapping[str, Any]) -> uuid.UUID:
    return uuid.uuid5(_NAMES, f"{report.test_sha256} {_key_of(line)}")


def _clear(error: LangSmithError, host: str) -> HostError:
    if isinstance(error, LangSmithAuthError):
        msg = f"LangSmith at {host} does not accept the key for experiments: set LANGSMITH_API_KEY."
        return AuthenticationFailedError(msg)
    if isinstance(error, LangSmithConnectionError | LangSmithRequestTimeout):
        msg = f"LangSmith at {host} cannot be reached for the experiment: check LANGSMITH_ENDPOINT."
        return HostUnreachableError(msg)
    if isinstance(error, LangSmithRateLimitError):
        msg = f"LangSmith at {host} limits requests for the experiment: try again in a minute."
        return RateLimitedError(msg)
    msg = (
        f"LangSmith at {host} did not take the experiment: {type(error).__name__}. The answers are kept: "
        "compare again, which asks nothing."
    )
    return HostUnavailableError(msg)
