"""How a trainer ends: what can be foreseen becomes a result."""

import errno
import json

import pytest

from finetune_server.errors import UnknownBase
from finetune_server.training import __main__ as trainer
from finetune_server.training.errors import TrainingError
from finetune_server.training.stop_request import StopRequest


def end_with(monkeypatch, error: Exception) -> None:
    def fail(_directory, _stop):
        raise error

    monkeypatch.setattr(trainer, "_train", fail)


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (
            TrainingError("x", code="invalid_training_file", param="training_file"),
            "invalid_training_file",
            "training_file",
        ),
        (UnknownBase("gpt-9"), "model_not_available", "model"),
        (MemoryError(), "out_of_memory", None),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory",
            None,
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory", None),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory", None),
        (OSError(errno.ENOSPC, "No space left on device"), "storage_full", None),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "storage_full", None),
        (OSError(errno.EFBIG, "File too large"), "storage_full", None),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 99"), "storage_full", None),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "storage_full", None),
        (RuntimeError("could not create a primitive"), "out_of_memory", None),
        (RuntimeError("can't start new thread"), "out_of_memory", None),
        (FileNotFoundError("x"), "job_directory_gone", None),
        (ZeroDivisionError("secret words"), "internal_error", None),
    ],
)
def test_every_error_has_a_code_and_a_way_out(monkeypatch, tmp_path, error, code, param):
    end_with(monkeypatch, error)

    result = trainer._result(tmp_path, StopRequest())

    assert result["status"] == "failed"
    assert (result["error"]["code"], result["error"]["param"]) == (code, param)
    assert "secret" not in json.dumps(result)


def test_what_was_not_foreseen_is_in_the_log(monkeypatch, capsys, tmp_path):
    end_with(monkeypatch, ZeroDivisionError("why"))

    trainer._result(tmp_path, StopRequest())

    assert "ZeroDivisionError: why" in capsys.readouterr().err


def test_an_unknown_method_needs_no_torch_to_be_refused(tmp_path):
    (tmp_path / "job.json").write_text(
        json.dumps(
            {
                "version": 1,
                "job_id": "ftjob-1",
                "attempt": 1,
                "base": "b",
                "bases_dir": "/b",
                "training_file": "/t",
                "validation_file": None,
                "method": "dpo",
                "hyperparameters": {},
                "seed": 0,
            }
        )
    )

    assert trainer._result(tmp_path, StopRequest())["error"]["code"] == "unsupported_method"


def test_the_peak_of_memory_is_that_of_this_process():
    assert 10**7 < trainer._peak_rss_bytes() < 10**11
