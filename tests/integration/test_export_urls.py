"""An export behind a web server."""

import gzip
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from langchain_finetune import RunExportLoader
from langchain_finetune.errors import SourceError
from tests.fakes.recorded_runs import chat_run, write_runs


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):  # noqa: A002  # the name of the base class
        """Stay quiet."""


@pytest.fixture
def address(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_signed_url_is_read_and_its_signature_shown_nowhere(tmp_path, address):
    plain = write_runs(tmp_path / "r.jsonl", [chat_run(number, "hi") for number in range(300)])
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    loader = RunExportLoader(f"{address}/r.jsonl.gz?signature=s3cret")
    sessions = loader.invoke({})
    assert sessions.num_sessions == 300
    assert sessions.source == f"the export {address}/r.jsonl.gz"
    accepted = loader._accept({})
    assert "s3cret" not in repr(loader) + repr(accepted) + accepted.model_dump_json()
    with pytest.raises(SourceError, match=r"none\.jsonl") as caught:
        RunExportLoader(f"{address}/none.jsonl?signature=s3cret").invoke({})
    assert "s3cret" not in str(caught.value)
