"""Which adapters an engine is started with."""

import pytest

from finetune_server.bases import Base
from finetune_server.errors import ApiError
from finetune_server.inference.pool import Target, _adapters
from finetune_server.storage.records import ModelRecord


@pytest.fixture
def base(tmp_path) -> Base:
    return Base(
        name="base",
        gguf_path=tmp_path / "base.gguf",
        hf_dir=None,
        sha256="s",
        source="path",
        context_length=64,
    )


@pytest.fixture
def tuned(tmp_path):
    """Two jobs' models, each with three checkpoints, by name: `1`, `1:3`, `1:6`, ..."""
    models = {}
    for number in (1, 2, 3):
        for step in (3, 6, 9, None):
            name = f"{number}:{step}" if step else str(number)
            path = tmp_path / f"{name}.gguf"
            path.touch()
            models[name] = ModelRecord(
                id=name,
                base="base",
                adapter_gguf=path,
                adapter_dir=tmp_path / name,
                job_id=f"job {number}",
                created_at=1,
                step=step,
            )
    return models


def load(base, tuned, name, loaded=()):
    """The names of what is loaded for a model."""
    target = Target(tuned[name], lambda: list(tuned.values()))
    wanted, paths = _adapters(target, base, [tuned[each].adapter_gguf for each in loaded])
    assert wanted == tuned[name].adapter_gguf
    assert wanted in paths
    return [path.stem for path in paths]


def test_finished_models_are_loaded_together_and_checkpoints_only_when_asked(base, tuned):
    assert load(base, tuned, "2") == ["1", "2", "3"]


def test_the_checkpoints_of_a_job_come_together(base, tuned):
    assert load(base, tuned, "2:6") == ["1", "2", "3", "2:3", "2:6", "2:9"]


def test_checkpoints_asked_before_stay_as_long_as_there_is_room(base, tuned):
    second = load(base, tuned, "2:6", ["1", "2", "3", "1:3", "1:6", "1:9"])
    assert second == ["1", "2", "3", "2:3", "2:6", "2:9", "1:3", "1:6", "1:9"]
    third = load(base, tuned, "3:9", second)
    assert third == ["1", "2", "3", "3:3", "3:6", "3:9", "2:3", "2:6", "2:9"]
    assert load(base, tuned, "1", third) == third


def test_an_adapter_that_is_gone_is_left_out_and_asking_for_it_is_an_error(base, tuned):
    tuned["1:3"].adapter_gguf.unlink()
    assert load(base, tuned, "1:6") == ["1", "2", "3", "1:6", "1:9"]
    with pytest.raises(ApiError, match="`1:3` does not exist"):
        load(base, tuned, "1:3")
