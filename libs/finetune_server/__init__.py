"""The embedded fine-tuning server: OpenAI's files, jobs, models and chat completions on this machine.

`python -m finetune_server --state-dir DIR` runs it. It knows nothing of LangChain: whoever speaks OpenAI's
protocol can use it.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("langchain-finetune")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
