"""Places orders by the real client at a fake host's transport, without time; dies where a test says."""

from pathlib import Path
from typing import Any

from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.exchange import Act, Call, Exchange, Sleep, run
from langchain_finetune.trainers.jobs.key import Order
from langchain_finetune.trainers.placing.find_or_create import place
from langchain_finetune.trainers.placing.site import Site
from tests.fakes.clients import connection_to
from tests.fakes.openai_host import FakeHost


class BrokenOffError(BaseException):
    """The process is killed."""


class Placer:
    """Places orders and keeps the pauses; a pause is what makes its clock go on."""

    def __init__(self, host: FakeHost, now: float = 2e9, **options: Any) -> None:
        self.host = host
        self.connection = connection_to(host, **options)
        self.pauses: list[float] = []
        self.now = now
        self.dies_at: tuple[str, str] | None = None
        """Method and path of the request that this process does not see the answer of."""

    def perform(self, act: Act) -> Any:
        if isinstance(act, Sleep):
            self.pauses.append(act.seconds)
            self.now += act.seconds
            return None
        assert isinstance(act, Call)
        num_before = self._num_deadly
        try:
            return self.connection._answer(act)
        finally:
            if self._num_deadly > num_before:
                raise BrokenOffError

    @property
    def _num_deadly(self) -> int:
        return len(self.host.sent(*self.dies_at)) if self.dies_at else 0

    def site(self, profile: Any = OPENAI) -> Site:
        return Site.of(self.connection.client, profile, clock=lambda: self.now)

    def do(self, exchange: Exchange[Any]) -> Any:
        return run(exchange, self.perform)

    def __call__(self, order: Order, profile: Any = OPENAI, **wishes: bool) -> Any:
        return self.do(place(order, self.site(profile), **wishes))


def order_in(directory: Path) -> Order:
    """An order whose files lie in a directory."""
    for name in ("train", "validation"):
        (directory / f"{name}.jsonl").write_text(f'{{"{name}": 1}}\n')
    return Order(
        base="gpt-4.1-mini-2025-04-14",
        train=directory / "train.jsonl",
        train_sha256="a" * 64,
        validation=directory / "validation.jsonl",
        validation_sha256="b" * 64,
        fingerprint="c" * 64,
    )


def finish(host: FakeHost, job: Any, status: str = "succeeded") -> None:
    """Get a job on until it is in a state."""
    while host.jobs[job.id]["status"] != status:
        host._retrieve_job(None, job.id)


def posts(host: FakeHost) -> int:
    return len(host.sent("POST", "/fine_tuning/jobs"))


def uploads(host: FakeHost) -> int:
    return len(host.sent("POST", "/files"))
