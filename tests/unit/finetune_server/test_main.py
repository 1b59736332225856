import pytest

from finetune_server import __main__
from finetune_server.config import Settings


def settings_of(monkeypatch, *arguments: str) -> Settings:
    given = []
    monkeypatch.setattr(__main__, "run", lambda settings: given.append(settings) or 0)
    assert __main__.main(arguments) == 0
    return given[0]


def test_the_state_directory_is_enough(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = settings_of(monkeypatch, "--state-dir", "server")
    assert settings == Settings(state_dir=tmp_path / "server")
    assert (settings.host, settings.port, settings.idle_minutes) == ("127.0.0.1", None, 30)


def test_everything_can_be_said(monkeypatch, tmp_path):
    more = ["--host", "::1", "--port", "4711", "--idle-minutes", "0"]
    more += ["--max-concurrent-jobs", "2", "--log-level", "debug"]
    assert settings_of(monkeypatch, "--state-dir", str(tmp_path), *more) == Settings(
        state_dir=tmp_path, host="::1", port=4711, idle_minutes=0, max_concurrent_jobs=2, log_level="debug"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        ["--port", "99999"],
        ["--port", "x"],
        ["--idle-minutes", "-1"],
        ["--idle-minutes", "nan"],
        ["--max-concurrent-jobs", "0"],
    ],
)
def test_what_makes_no_sense_is_refused(monkeypatch, capsys, wrong):
    with pytest.raises(SystemExit) as caught:
        settings_of(monkeypatch, "--state-dir", "x", *wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err
