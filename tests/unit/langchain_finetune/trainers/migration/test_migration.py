"""Coming over from a job of another account, against the fake host."""

import hashlib

import httpx2
import openai
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.errors import (
    AuthenticationFailedError,
    HostUnreachableError,
    InvalidRowsError,
    JobError,
    JobNotFoundError,
    NotEnoughExamplesError,
    SourceNotFoundError,
    TrainingDataError,
    UnknownProviderError,
)
from langchain_finetune.trainers import FineTuneRunnable
from langchain_finetune.trainers.migration.old_job import _Lines
from tests.fakes.clients import clients
from tests.fakes.colors import COLORS
from tests.fakes.openai_account import OLD_BASE, OLD_MODEL, FakeAccount
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import graded_row, preference_row, rows, tool_row

BASE = "small-135m"
LOCAL = f"local:{BASE}"
RESET = httpx2.ReadError("reset")
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


def lines_of(content):
    return b"".join(orjson.dumps(row) + b"\n" for row in content)


ROWS = lines_of([*rows(11), tool_row(1)])


@pytest.fixture
def account():
    return FakeAccount()


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


def client_of(host, color):
    return clients(host)["async_client" if color.is_async else "client"]


async def take_over(color, account, job_id, target=LOCAL, **given):
    return await color(
        FineTuneRunnable, "from_openai_job", job_id, target=target, client=client_of(account, color), **given
    )


async def test_data_and_settings_come_over(account, color):
    validation = account.add_file(lines_of(rows(2)))
    job_id = account.add_job(ROWS, validation_file=validation, user_provided_suffix="support")
    moved = await take_over(color, account, job_id)
    assert moved.data.train.read_bytes() == ROWS
    assert (moved.data.num_train, moved.data.num_validation, moved.data.num_runs) == (12, 2, 14)
    assert moved.data.test.read_bytes() == moved.data.validation.read_bytes() == lines_of(rows(2))
    assert (moved.job_id, moved.old_base, moved.old_model) == (job_id, OLD_BASE, OLD_MODEL)
    trainer = moved.runnable
    assert (trainer.target, trainer.seed, trainer.suffix, trainer.alias) == (LOCAL, 42, "support", None)
    assert trainer.hyperparameters == {"n_epochs": 3, "batch_size": 1}
    [training, _] = moved.files
    assert (training.sha256, training.num_bytes) == (hashlib.sha256(ROWS).hexdigest(), len(ROWS))
    assert {request.method for request in account.requests} == {"GET"}


async def test_rows_arrive_without_a_byte_order_mark_blank_lines_and_carriage_returns(account, color):
    content = b"\xef\xbb\xbf" + ROWS.replace(b"\n", b"\r\n\r\n").rstrip()
    moved = await take_over(color, account, account.add_job(content))
    assert moved.data.train.read_bytes() == ROWS
    assert moved.files[0].sha256 == hashlib.sha256(content).hexdigest()


async def test_one_line_retrains_on_the_same_bytes(account, color):
    new = FakeHost(bases=(BASE,))
    moved = await take_over(
        color, account, account.add_job(ROWS), target_client=client_of(new, color), poll_interval=0.001
    )
    model = await color(moved, "retrain")
    assert model.model_name.startswith(f"ft:{BASE}:")
    assert list(new.contents.values()) == [ROWS]
    [job] = new.jobs.values()
    assert (job["seed"], job["method"]["supervised"]["hyperparameters"]["n_epochs"]) == (42, 3)


async def test_the_old_name_is_kept_when_asked(account, color):
    new = FakeHost(bases=(BASE,))
    moved = await take_over(
        color, account, account.add_job(ROWS), target_client=client_of(new, color), keep_name=True
    )
    await color(moved.runnable, "submit", moved.data)
    [job] = new.jobs.values()
    assert job["metadata"]["langchain_finetune_alias"] == OLD_MODEL
    assert moved.runnable.alias == OLD_MODEL
    # Without the alias it is another job: this one's model has a name that the other's lacks.
    await color(moved.runnable.model_copy(update={"alias": None}), "submit", moved.data)
    assert len(new.jobs) == 2


async def test_what_does_not_come_over_is_said(account, color):
    job_id = account.add_job(
        ROWS,
        hyperparameters={"n_epochs": "auto", "learning_rate_multiplier": 1.8, "beta": 0.1},
        validation_file="file-gone",
        integrations=[{"type": "wandb", "wandb": {"project": "p"}}],
        seed=None,
    )
    moved = await take_over(color, account, job_id)
    assert (moved.runnable.hyperparameters, moved.runnable.seed, moved.settings) == (None, None, {})
    told = str(moved)
    for text in (
        "n_epochs: it was left to the host",
        "learning_rate_multiplier=1.8: it multiplies a rate of OpenAI's own",
        "beta: the embedded server does not know it",
        "validation file file-gone: it was deleted",
        "integrations: they belong to the old account",
    ):
        assert text in told
        assert text.replace("'", "&#x27;") in moved._repr_html_()


async def test_at_openai_the_learning_rate_means_the_same(account, color):
    moved = await take_over(
        color, account, account.add_job(ROWS), f"openai:{OLD_BASE}", target_client=client_of(account, color)
    )
    assert moved.runnable.hyperparameters["learning_rate_multiplier"] == 1.8


async def test_the_newer_place_of_hyperparameters_is_read(account, color):
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 5}}}
    moved = await take_over(color, account, account.add_job(ROWS, method=method, hyperparameters=None))
    assert moved.runnable.hyperparameters == {"n_epochs": 5}


async def test_the_callers_settings_go_first(account, color):
    moved = await take_over(
        color, account, account.add_job(ROWS), seed=7, hyperparameters={"n_epochs": 1}, timeout=5
    )
    trainer = moved.runnable
    assert (trainer.seed, trainer.hyperparameters, trainer.timeout) == (7, {"n_epochs": 1}, 5)
    assert moved.settings == {}


@pytest.mark.parametrize("is_listed", [True, False])
async def test_a_training_file_that_was_deleted_is_named(account, color, is_listed):
    job_id = account.add_job(ROWS)
    file_id = account.jobs[job_id]["training_file"]
    if is_listed:
        account.fail("GET", "/files/.*/content", 404)
    else:
        del account.files[file_id]
    with pytest.raises(SourceNotFoundError, match=f"training file {file_id} of job {job_id} was deleted"):
        await take_over(color, account, job_id)


async def test_a_file_that_comes_incomplete_is_no_training_data(account, color):
    job_id = account.add_job(ROWS)
    file_id = account.jobs[job_id]["training_file"]
    account.files[file_id]["bytes"] += 1
    with pytest.raises(HostUnreachableError, match=f"{file_id} came incomplete") as caught:
        await take_over(color, account, job_id)
    assert caught.value.is_retryable


async def test_nothing_is_left_of_a_download_that_fails(account, color, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "home"))
    job_id = account.add_job(ROWS)
    account.fail("GET", "/files/.*/content", RESET)
    with pytest.raises(HostUnreachableError):
        await take_over(color, account, job_id)
    assert list((tmp_path / "home" / "data").iterdir()) == []


class BreaksOff(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A host whose connection breaks in the midst of a file's content."""

    def __init__(self, account):
        self._account = account

    def _answer(self, request):
        headers = dict(request.headers)
        answer = self._account.respond(request.method, str(request.url), headers, request.read())
        return answer.content if request.url.path.endswith("/content") else (answer.status, answer.content)

    def handle_request(self, request):
        answer = self._answer(request)
        if isinstance(answer, tuple):
            return httpx2.Response(answer[0], content=answer[1], headers={"content-type": "application/json"})

        def pieces():
            yield answer[:100]
            raise RESET

        return httpx2.Response(200, content=pieces())

    async def handle_async_request(self, request):
        answer = self._answer(request)
        if isinstance(answer, tuple):
            return httpx2.Response(answer[0], content=answer[1], headers={"content-type": "application/json"})

        async def pieces():
            yield answer[:100]
            raise RESET

        return httpx2.Response(200, content=pieces())


async def test_a_connection_that_breaks_in_the_midst_of_a_file_is_told(account, color, tmp_path, monkeypatch):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "home"))
    job_id, transport = account.add_job(ROWS), BreaksOff(account)
    options = {"api_key": "sk-fake", "base_url": "http://host/v1", "max_retries": 0}
    client = (
        openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=transport), **options)
        if color.is_async
        else openai.OpenAI(http_client=httpx2.Client(transport=transport), **options)
    )
    with pytest.raises(HostUnreachableError):
        await color(FineTuneRunnable, "from_openai_job", job_id, target=LOCAL, client=client)
    assert list((tmp_path / "home" / "data").iterdir()) == []


async def test_a_job_that_is_not_there_is_named(account, color):
    with pytest.raises(JobNotFoundError, match="no job ftjob-none") as caught:
        await take_over(color, account, "ftjob-none")
    assert caught.value.job_id == "ftjob-none"


PAIRS = lines_of([preference_row(number) for number in range(12)])


def preference_job(account, content=PAIRS, **hyperparameters):
    given = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.8, "beta": 0.2, **hyperparameters}
    return account.add_job(content, method={"type": "dpo", "dpo": {"hyperparameters": given}})


async def test_a_job_of_preferences_comes_over_where_the_new_host_has_the_method(account, color):
    new = FakeHost(bases=("qwen",))
    moved = await take_over(
        color,
        account,
        preference_job(account),
        "custom:qwen",
        target_client=client_of(new, color),
        poll_interval=0.001,
    )
    assert (moved.runnable.method, moved.data.method, moved.settings["method"]) == ("dpo", "dpo", "dpo")
    await color(moved, "retrain")
    [job] = new.jobs.values()
    told = {"n_epochs": 2, "batch_size": 4, "beta": 0.2}
    assert job["method"] == {"type": "dpo", "dpo": {"hyperparameters": told}}
    assert list(new.contents.values()) == [PAIRS]


async def test_another_method_is_refused_with_the_hosts_that_have_it_and_the_rows_are_kept(account, color):
    ways_out = r'"openai:\.\.\.", "azure:\.\.\.", "together:\.\.\.", "fireworks:\.\.\.", "custom:\.\.\."'
    with pytest.raises(
        TrainingDataError,
        match=rf"'dpo', which the embedded server does not have.*{ways_out}, or train supervised.*"
        r"Its rows lie in .*train\.jsonl",
    ):
        await take_over(color, account, preference_job(account))


async def test_rows_that_are_no_preferences_are_told(account, color):
    with pytest.raises(InvalidRowsError, match="input: no_messages"):
        await take_over(color, account, preference_job(account, ROWS), f"openai:{OLD_BASE}")


async def test_what_the_new_host_refuses_is_left_out_and_said(account, color):
    job_id = preference_job(account, beta=1.5, n_epochs=3)
    account.jobs[job_id] |= {"user_provided_suffix": "Support Team", "seed": 42}
    moved = await take_over(color, account, job_id, "fireworks:qwen3-8b")
    assert (moved.runnable.hyperparameters, moved.runnable.seed, moved.runnable.suffix) == (
        {"n_epochs": 3, "batch_size": 4},
        None,
        None,
    )
    told = str(moved)
    for text in (
        "beta=1.5: Fireworks AI does not take",
        "seed=42: Fireworks AI has no",
        "suffix=Support Team: ",
    ):
        assert text in told


async def test_a_job_of_reinforcement_comes_over_with_its_grader(account, color):
    grader = {"type": "string_check", "name": "g", "input": "{{sample.output_text}}", "operation": "eq"}
    content = lines_of([graded_row(number) for number in range(12)])
    method = {
        "type": "reinforcement",
        "reinforcement": {"grader": grader, "hyperparameters": {"eval_samples": 2}},
    }
    validation = account.add_file(lines_of([graded_row(1)]))
    job_id = account.add_job(content, method=method, validation_file=validation)
    moved = await take_over(color, account, job_id, "custom:qwen", base_url="http://host/v1", api_key="k")
    trainer = moved.runnable
    assert (trainer.method, trainer.method_settings) == ("reinforcement", {"grader": grader})
    assert trainer.hyperparameters == {"eval_samples": 2}


async def test_rows_that_the_new_host_would_refuse_are_told_and_kept(account, color):
    image = {"messages": [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "x"}]}
    job_id = account.add_job(lines_of([*rows(11), image]))
    with pytest.raises(InvalidRowsError, match=r"train row 12.*The rows lie in .*train\.jsonl") as caught:
        await take_over(color, account, job_id)
    assert caught.value.problems[0].code == "unsupported_content"
    with pytest.raises(NotEnoughExamplesError):
        await take_over(color, account, account.add_job(lines_of(rows(3))))


async def test_a_job_without_a_model_has_no_name_to_keep(account, color):
    job_id = account.add_job(ROWS, status="failed", fine_tuned_model=None)
    assert (await take_over(color, account, job_id)).old_model is None
    with pytest.raises(JobError, match="no name to keep"):
        await take_over(color, account, job_id, keep_name=True)


async def test_a_target_that_is_none_is_refused(account, color):
    with pytest.raises(UnknownProviderError):
        await take_over(color, account, account.add_job(ROWS), "nowhere:x")


async def test_without_a_client_it_is_openais_own_by_the_environments_key(color):
    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY"):
        await color(FineTuneRunnable, "from_openai_job", "ftjob-1", target=LOCAL)


def test_an_alias_is_for_the_embedded_server():
    with pytest.raises(ValueError, match="alias"):
        FineTuneRunnable("openai:gpt-4o", alias=OLD_MODEL)
    with pytest.raises(ValueError, match="alias"):
        FineTuneRunnable(LOCAL, alias="gpt-4o")
    assert FineTuneRunnable(LOCAL, alias=OLD_MODEL).alias == OLD_MODEL


class Written:
    def __init__(self):
        self.lines = []

    def write_line(self, line):
        self.lines.append(line)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"a", b"b c", b"\n", b"\r\n", b"", b" ", b"\xef\xbb\xbf"]), max_size=30))
def test_however_a_file_is_cut_its_lines_are_the_same(pieces):
    whole, cut = Written(), Written()
    for writer, given_pieces in ((whole, [b"".join(pieces)]), (cut, pieces)):
        lines = _Lines([writer])
        for piece in given_pieces:
            lines.take(piece)
        lines.end()
    assert whole.lines == cut.lines
    assert all(line.endswith(b"\n") and line.strip() for line in cut.lines)
