"""An agent's own traces, recorded, collapsed and trained on; the tuned model then takes one node over.

```bash
python examples/langgraph_agent/run.py
```
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from graph import ask, build
from langchain_openai import ChatOpenAI
from teacher import teacher

from langchain_finetune import (
    FineTuneError,
    FineTuneRunnable,
    LangSmithRunChatLoader,
    ProgressPrinter,
    RunRecorder,
    RunStore,
    TrainingData,
    TrainingDataConverter,
)

NODE = "agent"
QUESTIONS = tuple(f"Where is my order {number}?" for number in range(101, 125))


def record(path: Path, decider: ChatOpenAI | None = None, questions: Sequence[str] = QUESTIONS) -> None:
    """Run the agent on questions, and record it."""
    large = teacher()
    graph = build(decider or large, large)
    recorder = RunRecorder(path)
    for question in questions:
        ask(graph, question, callbacks=[recorder])


def training_data(path: Path) -> TrainingData:
    """Return the rows of one node: of each conversation one, in which every recorded answer is trained on.

    LangGraph tells each run its node, in the metadata. The calls of one loop repeat each other: the second
    has the first in its prompt, and so on, so `collapse` makes one row of them.
    """
    loader = LangSmithRunChatLoader(client=RunStore(path), metadata={"langgraph_node": NODE})
    converter = TrainingDataConverter(collapse="trajectory", test_fraction=0.2)
    return (loader | converter).invoke({})


def main() -> int:
    """Record, train, and put the tuned model in."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", default="local:smollm2-135m-instruct", help="provider:base; %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.sqlite"
        record(path)
        data = training_data(path)
        print(
            f"{data.num_runs} model runs of {len(QUESTIONS)} conversations: {data.num_train} rows to train on"
        )
        try:
            tuned = FineTuneRunnable(options.base).invoke(data, {"callbacks": [ProgressPrinter()]})
        except FineTuneError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    # One node is the tuned model's, the other stays the large one's.
    print(ask(build(tuned, teacher()), "Where is my order 200?"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
