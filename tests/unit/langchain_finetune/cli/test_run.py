"""run, compare, report: a whole pipe against the fake host."""

import json
from pathlib import Path

import pytest

from langchain_finetune import AliasStore
from tests.unit.langchain_finetune.cli.conftest import BASE, TARGET

RUNS = Path(__file__).parents[4] / "examples" / "calculator" / "runs.jsonl"
FEW = ("--feedback", "user_score=1", "--limit", 30)
CALL = {"id": "c", "type": "function"}


@pytest.fixture
def teacher(host):
    """The tuned model calls as the recorded one did; the base talks."""
    asked = {}
    for line in RUNS.read_bytes().splitlines():
        run = json.loads(line)
        if run["run_type"] == "llm" and not run["error"]:
            [call] = run["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"]
            asked[run["inputs"]["messages"][0][-1]["kwargs"]["content"]] = call["args"]

    def answer(body):
        if not body["model"].startswith("ft:"):
            return {"role": "assistant", "content": "Let me see."}
        arguments = json.dumps(asked[body["messages"][-1]["content"]])
        function = {"name": "Calculator", "arguments": arguments}
        return {"role": "assistant", "content": None, "tool_calls": [{**CALL, "function": function}]}

    host.answer = answer
    return host


@pytest.fixture
def pipe(tmp_path):
    (tmp_path / "runs.jsonl").write_bytes(RUNS.read_bytes())
    path = tmp_path / "pipe.yaml"
    path.write_text(
        f"""
        source: runs.jsonl
        select:
          feedback: {{user_score: 1}}
          limit: 30
        convert:
          test_fraction: 0.2
        target: {TARGET}
        train:
          suffix: calc
          hyperparameters: {{n_epochs: 2, learning_rate_multiplier: 1e-1}}
        gate:
          min_gain: 0.1
        alias: calculator@production
        report: out/report.html
        """
    )
    (tmp_path / "out").mkdir()
    return path


def test_a_file_is_a_whole_pipe(cli, teacher, pipe):
    called = cli("run", pipe, "--json")
    assert called.code == 0
    told = called.json
    assert told["promoted"] is True
    assert told["alias"] == "calculator@production"
    assert AliasStore().resolve("calculator@production").model == told["model"]["model"]
    assert told["comparison"]["tuned_exact"] == 1.0
    assert told["data"]["num_test"] > 0
    page = (pipe.parent / "out" / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    [body] = [request.body for request in teacher.sent("POST", "/fine_tuning/jobs")]
    hyperparameters = body["method"]["supervised"]["hyperparameters"]
    assert hyperparameters == {"n_epochs": 2, "learning_rate_multiplier": 0.1}


def test_a_second_run_trains_and_asks_nothing(cli, teacher, pipe):
    cli("run", pipe)
    before = len(teacher.sent("POST", ".*"))
    again = cli("run", pipe)
    assert again.code == 0
    assert "found again" in again.out
    assert "calculator@production now stands for ft:" in again.out
    assert len(teacher.sent("POST", ".*")) == before
    assert len(AliasStore().history("calculator@production")) == 1


def test_a_model_that_is_no_better_is_exit_code_8_and_gets_no_alias(cli, host, pipe):
    called = cli("run", pipe, "--json")
    assert called.code == 8
    assert (called.json["promoted"], called.json["alias"]) == (False, None)
    assert AliasStore().current() == {}


def test_options_go_before_the_file(cli, teacher, pipe):
    called = cli("run", pipe, "--suffix", "other", "--epochs", 1, "--limit", 20, "--min-gain", 0.0, "--json")
    assert called.code == 0
    assert called.json["data"]["num_runs"] == 20
    [body] = [request.body for request in teacher.sent("POST", "/fine_tuning/jobs")]
    assert body["suffix"] == "other"
    assert body["method"]["supervised"]["hyperparameters"]["n_epochs"] == 1


def test_options_alone_are_a_pipe(cli, host):
    called = cli("run", "--source", RUNS, "--to", TARGET, *FEW, "--test", 0, "--json")
    assert called.code == 0
    assert called.json["comparison"] is None


def test_a_dry_run_creates_nothing(cli, host, pipe):
    called = cli("run", pipe, "--dry-run", "--price", 5, "--max-cost", 100)
    assert called.code == 0
    assert "rows" in called.err
    assert "about" in called.out
    assert cli("run", pipe, "--dry-run", "--price", 5, "--max-cost", 0.00001).code == 4
    assert host.sent("POST", ".*") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sourse: x", "sourse"),
        ("train: {api_key: sk-1}", "--api-key-env"),
        ("[1, 2]", "dict"),
        ("a: [", "neither YAML nor JSON"),
        ("!!python/object/apply:os.system [echo]", "neither YAML nor JSON"),
        ("source: x", "lacks a target"),
        (f"target: {TARGET}", "lacks a source"),
        (f"target: {TARGET}\nsource: r.jsonl\nconvert: {{no_such: 1}}", "no_such"),
        (f"target: {TARGET}\nsource: r.jsonl\ntrain: {{no_such: 1}}", "no_such"),
    ],
)
def test_a_file_that_is_no_pipe_is_told_before_anything_is_done(cli, host, tmp_path, text, said):
    (tmp_path / "pipe.yaml").write_text(text)
    called = cli("run", tmp_path / "pipe.yaml")
    assert called.code == 2
    assert said in called.err
    assert "sk-1" not in called.err
    assert host.requests == []


def test_a_pipe_may_be_json(cli, host, tmp_path):
    (tmp_path / "pipe.json").write_text(
        json.dumps({"source": str(RUNS), "target": TARGET, "select": {"limit": 20}})
    )
    assert cli("run", tmp_path / "pipe.json", "--dry-run", "--feedback", "user_score=1").code == 0


@pytest.fixture
def tuned(cli, teacher):
    return cli("run", "--source", RUNS, "--to", TARGET, *FEW, "--test", 0.2, "--json").json["model"]


def test_a_tuned_model_is_compared_with_its_base(cli, tuned, tmp_path):
    called = cli("compare", f"openai:{tuned['job_id']}", "--metric", "exact", "--html", tmp_path / "r.html")
    assert called.code == 0
    assert "gain +100.0%" in called.out
    assert "compare" in called.err
    assert (tmp_path / "r.html").exists()


def test_a_gate_decides_the_exit_code(cli, host, tuned):
    name = f"openai:{tuned['job_id']}"
    passed = cli("compare", name, "--min-gain", 0.4, "--json")
    assert (passed.code, passed.json["decision"]["promoted"]) == (0, True)
    assert cli("compare", name, "--min-gain", 0.9).code == 8
    assert cli("compare", name, "--baseline", name, "--min-gain", 0.1, "-q").code == 8


def test_a_report_is_written_from_the_folder_and_from_json(cli, tuned, tmp_path):
    told = cli("compare", f"openai:{tuned['job_id']}", "--json")
    (tmp_path / "comparison.json").write_text(told.out)
    page = cli("report", tmp_path / "comparison.json", "--out", tmp_path / "r.html").out.strip()
    assert Path(page).read_text().startswith("<!doctype html>")
    assert Path(cli("report", told.json["directory"], "--json").json["report"]).exists()
    assert cli("report", tmp_path).code == 6
    (tmp_path / "comparison.json").write_text("{}")
    assert cli("report", tmp_path / "comparison.json").code == 6
    assert cli("report", told.json["directory"], "--out", tmp_path / "no" / "r.html").code == 1


def test_a_metric_that_there_is_not(cli, tuned):
    called = cli("compare", f"openai:{tuned['job_id']}", "--metric", "vibes")
    assert called.code == 2
    assert "vibes" in called.err
    assert BASE not in called.out
