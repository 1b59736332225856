"""Progress for a person to watch: what is said of a job, wherever it is shown."""

import threading
from collections.abc import Mapping
from typing import Any, Final, TextIO
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from typing_extensions import override

from langchain_finetune.cli.live import Line, Outlet, outlet_for

_ENDS: Final = ("succeeded", "failed", "cancelled")
_COUNTS: Final = {
    "langchain_finetune_load": "load",
    "langchain_finetune_convert": "convert",
    "langchain_finetune_push": "push",
}


class ProgressPrinter(BaseCallbackHandler):
    """Prints what the stages report: counts, the state of a job, its step, loss and time left.

    ```python
    model = pipeline.invoke({}, config={"callbacks": [ProgressPrinter()]})
    ```

    In a terminal each job has one line that is drawn again and again, with a colored bar where `rich` is
    installed; in a notebook one output is updated in place; elsewhere there is a line at each change of state
    and each tenth of the work.

    Args:
        stream: Where to print; the default is a notebook's output, or else the standard error of the moment.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._outlet: Outlet | None = None

    def say(self, text: str) -> None:
        """Print a text above the lines that are drawn again and again."""
        with self._lock:
            try:
                self._outlet = self._outlet or outlet_for(self._stream)
                self._outlet.say(text)
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Leave the lines where they are: what is printed next stands below them."""
        with self._lock:
            try:
                if self._outlet is not None:
                    self._outlet.close()
            except (OSError, ValueError):
                return

    @override
    def on_custom_event(
        self,
        name: str,
        data: Any,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(data, Mapping):
            return
        with self._lock:
            try:
                self._outlet = self._outlet or outlet_for(self._stream)
                self._show(self._outlet, name, data)
            except (OSError, ValueError):
                # A stream that is closed is no reason for a training to fail.
                return

    @override
    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        # An interrupt too: the traceback and the prompt do not belong into the line of the job.
        self.close()

    def _show(self, outlet: Outlet, name: str, data: Mapping[str, Any]) -> None:
        if name == "langchain_finetune_job":
            outlet.show(f"job {data.get('job_id')}", job_line(data))
        elif name == "langchain_finetune_compare":
            outlet.show(f"compare {data.get('model')}", _comparison_line(data))
        elif name == "langchain_finetune_gate":
            outlet.say(f"gate: hands on {data.get('model')}: {data.get('reason')}")
        elif name in _COUNTS:
            outlet.say(f"{_COUNTS[name]}: {_counts(data)}")


def job_line(data: Mapping[str, Any]) -> Line:
    """Return what is shown of a job, from the data of its event."""
    status, share = data.get("status"), _share(data.get("step"), data.get("total_steps"))
    waiting_for, retry = data.get("waiting_for"), _number(data.get("retry_in_seconds"))
    facts = [f"{data.get('step')}/{data.get('total_steps')}"] if share is not None else []
    if retry is not None:
        facts.append(f"no answer, again in {_duration(retry)}")
    elif waiting_for:
        facts.append(f"waiting for {waiting_for}")
    if (loss := _number(data.get("train_loss"))) is not None:
        facts.append(f"loss {loss:.3f}")
    if (loss := _number(data.get("valid_loss"))) is not None:
        facts.append(f"held out {loss:.3f}")
    if (left := _number(data.get("seconds_left"))) is not None and left > 0:
        facts.append(f"{_duration(left)} left")
    facts.append(f"{status}{' (found again)' if data.get('reused') else ''}")
    if is_left := data.get("left") is True:
        facts.append("not waited for any more")
    if (checkpoint := data.get("checkpoint_step")) is not None:
        facts.append(f"checkpoint {checkpoint}")
    facts.append(str(data.get("job_id")))
    if (
        data.get("message")
        and not (waiting_for or is_left)
        and (data.get("step") is None or retry is not None)
    ):
        facts.append(str(data["message"]).replace("\n", " "))
    return Line(
        label="train",
        facts=tuple(facts),
        share=share,
        phase=(status, retry is not None, waiting_for, checkpoint, is_left),
        is_end=is_left or (status in _ENDS and not waiting_for and retry is None),
    )


def _comparison_line(data: Mapping[str, Any]) -> Line:
    done, total = data.get("done"), data.get("total")
    return Line(
        label="compare",
        facts=(f"{done}/{total}", str(data.get("model"))),
        share=_share(done, total) or 0.0,
        is_end=done == total,
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _counts(data: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{value} {name.removeprefix('num_')}" for name, value in data.items() if value is not None
    )


def _share(done: Any, total: Any) -> float | None:
    if not (isinstance(done, int | float) and isinstance(total, int | float)) or total <= 0:
        return None
    return min(1.0, max(0.0, done / total))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}"
