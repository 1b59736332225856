"""What every test gets: an environment that holds nothing of the person who runs it."""

import os

import pytest
from hypothesis import settings

# Where a kill went wrong is asserted outside of the tests' own files.
pytest.register_assert_rewrite("tests.kill_aims", "tests.kill_points")

# A machine may be as busy as it likes: no example of a property has a deadline.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_AMBIENT_PREFIXES = ("OPENAI_", "AZURE_", "LANGSMITH_", "LANGCHAIN_", "ANTHROPIC_", "HF_TOKEN", "NEBIUS_")


@pytest.fixture(autouse=True)
def hermetic_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No ambient keys, endpoints or gateways, no tracing, no hub, and a state directory of the test's own."""
    for name in list(os.environ):
        if name.startswith(_AMBIENT_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path_factory.mktemp("home")))
