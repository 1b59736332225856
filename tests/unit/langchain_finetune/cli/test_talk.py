import io
import logging
import warnings

import pytest

from langchain_finetune.cli.talk import Talk
from langchain_finetune.errors import JobTimeoutError

PROGRESS = {"job_id": "ftjob-1", "status": "running", "step": 1, "total_steps": 4, "reused": True}


@pytest.fixture
def stream():
    return io.StringIO()


def test_log_and_warnings_are_lines_among_the_progress(stream):
    with Talk(stream=stream) as talk:
        talk.tell(PROGRESS)
        logging.getLogger("langchain_finetune.loaders").warning("a %s", "word")
        logging.getLogger("langchain_finetune.loaders").info("not this")
        warnings.simplefilter("always")
        warnings.warn("few rows", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = stream.getvalue().splitlines()
    assert "1/4" in lines[0]
    assert lines[1:] == ["warning: a word", "warning: few rows"]
    assert (talk.job_id, talk.is_reused) == ("ftjob-1", True)


def test_quiet_is_quiet_about_progress_alone(stream):
    with Talk(is_quiet=True, stream=stream) as talk:
        talk.tell(PROGRESS)
        logging.getLogger("langchain_finetune").warning("a word")
    assert stream.getvalue() == "warning: a word\n"
    assert talk.job_id == "ftjob-1"


def test_afterwards_all_is_as_before(stream):
    logger, shown = logging.getLogger("langchain_finetune"), warnings.showwarning
    before = (list(logger.handlers), logger.propagate)
    with Talk(stream=stream):
        assert logger.handlers != before[0]
    assert (logger.handlers, logger.propagate) == before
    assert warnings.showwarning is shown


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), JobTimeoutError("late")], ids=["interrupt", "deadline"]
)
@pytest.mark.parametrize(("status", "is_told"), [("running", True), ("succeeded", False)])
def test_how_to_come_back_is_told_while_there_is_something_to_come_back_to(
    capsys, stream, error, status, is_told
):
    def work():
        with Talk(provider="local", stream=stream) as talk:
            talk.tell({**PROGRESS, "status": status})
            raise error

    with pytest.raises(type(error)):
        work()
    assert ("jobs watch local:ftjob-1" in capsys.readouterr().err) is is_told
