from pathlib import Path

import pytest

from finetune_server.config import Settings
from finetune_server.ids import new_id


def test_everything_lies_in_the_state_directory(tmp_path):
    settings = Settings(state_dir=tmp_path / "s")
    paths = [getattr(settings, name) for name in dir(Settings) if name.endswith(("_file", "_dir"))]
    paths = [path for path in paths if isinstance(path, Path)]
    assert len(paths) >= 9
    assert all(path.is_relative_to(tmp_path / "s") for path in paths)


def test_the_directories_are_made_for_their_owner_alone(tmp_path):
    settings = Settings(state_dir=tmp_path / "a" / "b")
    settings.make_directories()
    settings.make_directories()
    assert settings.files_dir.stat().st_mode & 0o777 == 0o700
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["../api_key", "", "ftjob-" + "0" * 24, "/etc/passwd"])
def test_what_is_no_file_id_becomes_no_path(tmp_path, name):
    settings = Settings(state_dir=tmp_path)
    with pytest.raises(ValueError, match="cannot become a path"):
        settings.file_path(name)
    assert settings.file_path(new_id("file")).parent == settings.files_dir
    assert settings.job_dir(new_id("ftjob")).parent == settings.jobs_dir
