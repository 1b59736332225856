import sys

from finetune_server import logs
from finetune_server.inference import child


async def test_a_log_that_has_grown_large_is_set_aside_before_a_child_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "MAX_LOG_BYTES", 3)
    monkeypatch.setattr(child, "_COMMAND", (sys.executable, "-c", "import sys; sys.stderr.write('new')"))
    log = tmp_path / "inference.log"
    log.write_text("long enough")
    process = await child._spawn(log)
    await process.communicate()
    assert log.read_text() == "new"
    assert (tmp_path / "inference.log.1").read_text() == "long enough"
