import sys
import time

import psutil
import pytest

from finetune_server.jobs import trainer_process
from finetune_server.jobs.trainer_process import TrainerProcess, describe_exit, num_oom_kills


def start(tmp_path, program: str) -> TrainerProcess:
    return TrainerProcess.start([sys.executable, "-S", "-c", program], tmp_path)


def test_a_trainer_gets_its_directory_and_an_open_standard_input(tmp_path):
    process = start(tmp_path, "import sys; print(sys.argv[1]); sys.stdout.flush(); sys.stdin.read()")
    while not (tmp_path / "trainer.log").read_text():
        time.sleep(0.01)
    assert not process.has_exited()
    assert (tmp_path / "trainer.log").read_text().strip() == str(tmp_path)
    assert psutil.Process(process.pid).parent().pid != process.pid
    process.finish()


def test_finishing_leaves_neither_the_trainer_nor_its_children(tmp_path):
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-S', '-c', 'input()'], stdin=-1)"
    )
    process = start(tmp_path, program + "; print(p.pid); sys.stdout.flush(); p.wait()")
    while not (tmp_path / "trainer.log").read_text():
        time.sleep(0.01)
    child = int((tmp_path / "trainer.log").read_text())
    assert process.finish() == -9
    assert not psutil.pid_exists(process.pid)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_trainer_that_ends_by_itself_tells_its_exit_code(tmp_path):
    process = start(tmp_path, "raise SystemExit(4)")
    while not process.has_exited():
        time.sleep(0.01)
    assert process.finish() == 4


def test_a_program_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        TrainerProcess.start(["/nonexistent"], tmp_path)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (6, "exit code 6, as the disk is full"),
        (-9, "signal SIGKILL"),
        (-99, "signal 99"),
    ],
)
def test_an_exit_is_put_into_words(code, words):
    assert describe_exit(code) == words


def test_out_of_memory_kills_are_counted_where_the_kernel_tells(tmp_path, monkeypatch):
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 12\noom_kill 3\n")
    monkeypatch.setattr(trainer_process, "_VMSTAT", vmstat)
    monkeypatch.setattr(trainer_process, "_CGROUP_EVENTS", tmp_path / "none")
    assert num_oom_kills() == 3
    process = start(tmp_path, "input()")
    process.finish()
    assert not process.was_killed_for_memory()
    vmstat.write_text("oom_kill 4\n")
    assert process.was_killed_for_memory()
