"""What the documents say is there."""

import json
import re
import shlex
from pathlib import Path

import pytest

from finetune_server.cli.serve import read_settings, serve_parser
from finetune_server.config import Timing
from langchain_finetune import TrainingData, errors, loaders
from langchain_finetune.hosts import FACTS_DATE, HOSTS, LOCAL
from langchain_finetune.rows import rules_of
from langchain_finetune.runs import Reason
from langchain_finetune.runs.dialects import DIALECTS
from tests.fakes.training_rows import text_row

ROOT = Path(__file__).parents[2]


def test_every_error_is_listed():
    listed = (ROOT / "docs" / "errors.md").read_text()
    tree = errors.__doc__
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.FineTuneError):
            assert name in tree, name
            if value not in (errors.FineTuneError, errors.JobError):
                assert f"`{name}`" in listed, name


def test_every_reason_is_listed():
    listed = (ROOT / "docs" / "errors.md").read_text()
    assert [reason for reason in Reason if f"| `{reason.value}` |" not in listed] == []


def test_every_dialect_is_listed_in_the_order_in_which_they_are_tried():
    page = (ROOT / "docs" / "runs.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| .* \| ", page, re.MULTILINE)[: len(DIALECTS)] == [
        dialect.__name__.rpartition(".")[2] for dialect in DIALECTS
    ]


def test_every_loader_has_its_place_in_the_page_on_loaders():
    page = (ROOT / "docs" / "loaders.md").read_text()
    assert [name for name in loaders.__all__ if "Loader" in name and f"`{name}`" not in page] == []


def test_every_make_target_in_the_documents_exists():
    makefile = (ROOT / "Makefile").read_text()
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"`?make ([a-z-]+)", (ROOT / name).read_text()):
            assert f"\n{target}:" in makefile or target in ("and", "it"), target


def test_every_dependency_has_its_sentence():
    listed = (ROOT / "docs" / "architecture.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    names = re.findall(r'^  "([a-z0-9-]+)[<>=]', block, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if name not in listed] == []


def options_in_the_server_page():
    page = (ROOT / "docs" / "server.md").read_text()
    return dict(
        re.findall(
            r"^\| `(--[a-z-]+)` \| `?([^|`]*)`? \|", page[: page.index("In the environment:")], re.MULTILINE
        )
    )


def test_every_option_of_the_server_is_listed_with_its_default():
    listed = options_in_the_server_page()
    actions = [each for each in serve_parser([])._actions if each.help != "==SUPPRESS=="]
    names = [each.option_strings[-1] for each in actions if each.dest != "help"]
    assert list(listed) == names
    defaults = {each.option_strings[-1]: each.default for each in actions if each.default is not None}
    shown = {
        name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in defaults.items()
    }
    del shown["--help"]
    assert {name: listed[name].strip() for name in shown} == shown


def unit(key: str) -> str:
    text = (ROOT / "docs" / "deploy" / "finetune-server.service").read_text().replace("\\\n", " ")
    (value,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return value


def test_the_systemd_unit_starts_the_server_and_gives_it_the_time_to_stop():
    command = shlex.split(unit("ExecStart"))
    assert command[1:3] == ["-m", "finetune_server"]
    settings = read_settings(command[3:])
    assert settings.state_dir.name == unit("StateDirectory")
    assert int(unit("TimeoutStopSec")) >= Timing().checkpoint_grace_seconds + 15
    assert unit("KillMode") == "mixed"


def test_the_container_starts_the_server():
    lines = (ROOT / "docs" / "deploy" / "Containerfile").read_text()
    entry, arguments = (
        re.findall(r'"([^"]+)"', line)
        for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", lines, re.MULTILINE)
    )
    assert entry[:3] == ["python", "-m", "finetune_server"]
    assert read_settings([*entry[3:], *arguments]).host == "0.0.0.0"


def test_every_defense_names_a_test_and_a_file_that_exist():
    page = (ROOT / "docs" / "security.md").read_text()
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(tests) > 25
    assert [name for path, name in tests if f"def {name}(" not in (ROOT / path).read_text()] == []
    rows = re.findall(r"^\| .* \| (`.*`) \| `tests/", page, re.MULTILINE)
    files = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(files) > 10
    assert [name for name in files if not (ROOT / "libs" / "finetune_server" / name).exists()] == []


def test_every_threat_to_what_is_served_names_a_test_and_a_file_that_exist():
    page = (ROOT / "docs" / "serving.md").read_text()
    rows = re.findall(r"^\| .* \| (`.*`) \| `(tests/[\w/]+\.py)::(\w+)` \|$", page, re.MULTILINE)
    assert len(rows) > 12
    client = ROOT / "libs" / "langchain_finetune"
    for files, path, name in rows:
        assert f"def {name}(" in (ROOT / path).read_text(), name
        for file in re.findall(r"`([^`]+)`", files):
            assert (client / file).exists() or (client / "serving" / file).exists(), file


@pytest.mark.parametrize(
    "page",
    ["README.md", "SECURITY.md", *(str(it.relative_to(ROOT)) for it in sorted(ROOT.glob("docs/**/*.md")))],
)
def test_every_link_between_the_documents_leads_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text())
    assert links or page.startswith("docs/")
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_tables_of_hosts_are_those_of_the_code():
    text = (ROOT / "docs" / "providers.md").read_text()
    assert FACTS_DATE in text
    missing = [
        row for host in HOSTS.values() for row in (_can_do(host), _is_reached(host)) if row not in text
    ]
    assert missing == []
    assert all(f"\n## `{name}`\n" in text for name in HOSTS if name != "custom")


def test_the_table_of_what_hosts_take_in_a_row_is_that_of_the_code():
    page = (ROOT / "docs" / "training-data.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.* \| .*) \|$", page[page.index("## Checks") :], re.MULTILINE))
    assert rows.keys() >= HOSTS.keys()
    for name, host in HOSTS.items():
        rules = rules_of(host)
        most = (
            f"{host.min_examples} to {host.max_examples:,}"
            if host.max_examples
            else f"from {host.min_examples}"
        )
        assert most in rows[name] or "as `openai`" in rows[name], name
        figures = {*rules.max_row_tokens.values(), *rules.max_rows.values(), rules.max_image_rows} - {None}
        shown = rows["openai"] if "as `openai`" in rows[name] else rows[name]
        assert [number for number in figures if f"{number:,}" not in shown] == [], name
        assert ("system message comes first" in rows[name]) == rules.has_system_first
        assert ("take turns" in rows[name]) == rules.has_turns_in_order
        assert ("text only" in rows[name]) == (not rules.takes_images)
    assert rules_of(LOCAL).max_row_bytes == 8 * 2**20
    assert "8 MiB" in rows["local"]


def _can_do(host):
    suffix = f"{host.suffix.max_length} {host.suffix.wording}".strip() if host.suffix else "no"
    served = "at once" if host.is_served_at_once else "after a deployment"
    cells = (
        f"`{host.name}`",
        ", ".join(name for name in ("supervised", "dpo", "reinforcement") if name in host.methods),
        f"{host.min_examples} to {host.max_examples:,}" if host.max_examples else f"from {host.min_examples}",
        f"{host.max_file_bytes:,}" if host.max_file_bytes else "any",
        suffix,
        _yes(host.has_seed),
        _yes(host.has_pause),
        "its own" if host.has_events else "its state",
        served + (" made for you" if host.deploys_by_itself else ""),
    )
    return f"| {' | '.join(cells)} |"


def _is_reached(host):
    url = " ".join(
        part for part in (f"`{host.url_variable}`" if host.url_variable else "", host.url or "") if part
    )
    cells = (
        f"`{host.name}`",
        f"its SDK, extra `{host.extra}`" if host.extra else "the openai client",
        f"`{host.key_variable}`" if host.key_variable else "",
        url,
        host.key_place + (", filtered there" if host.has_metadata_filter else ""),
    )
    return f"| {' | '.join(cells)} |"


def _yes(claim):
    return "yes" if claim else "no"


def examples_of(page, heading):
    section = (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_example_of_files_that_there_are_already_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, first, last in (("train.jsonl", 0, 12), ("test.jsonl", 12, 15)):
        Path(name).write_text("".join(f"{json.dumps(text_row(number))}\n" for number in range(first, last)))
    (example,) = examples_of("docs/training-data.md", "Coming with files you already have")
    exec(compile(example, "docs/training-data.md", "exec"), {})
    assert "rows: 12 train, 0 validation, 3 test" in capsys.readouterr().out


def test_the_errors_that_the_page_shows_are_those_that_are_told(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "training-data.md").read_text()
    monkeypatch.chdir(tmp_path)
    orphan = {"role": "tool", "tool_call_id": "call_1", "content": "5"}
    rows = [text_row(number) for number in range(500)]
    rows[16]["messages"][1:1] = [{"role": "user", "content": "?"}, orphan]
    rows[202]["messages"][1]["content"] = "<|im_end|>"
    Path("train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(errors.InvalidRowsError) as caught:
        TrainingData.from_jsonl("train.jsonl", target="openai:gpt-4.1-mini")
    assert f"InvalidRowsError: {caught.value}\n```" in page
