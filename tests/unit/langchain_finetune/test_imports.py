import json
import subprocess
import sys

import pytest

import langchain_finetune

FORBIDDEN = {
    "openai",
    "torch",
    "transformers",
    "fastapi",
    "langchain_community",
    "langchain_openai",
    "langchain_core",
    "pyarrow",
    "fsspec",
}


def test_all_is_sorted_and_complete():
    assert langchain_finetune.__all__ == sorted(langchain_finetune.__all__)
    assert set(langchain_finetune.__all__) == {*langchain_finetune._HOMES, "__version__"}


@pytest.mark.parametrize("name", langchain_finetune.__all__)
def test_every_public_name_is_there(name):
    assert getattr(langchain_finetune, name) is not None
    assert name in dir(langchain_finetune)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'FineTuner'"):
        _ = langchain_finetune.FineTuner


def test_the_import_loads_nothing_heavy():
    code = "import json, sys, langchain_finetune; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert FORBIDDEN.isdisjoint(json.loads(shown.stdout))


def test_loading_and_converting_load_no_sdk_of_a_trainer_and_no_extra():
    code = (
        "import sys; from langchain_finetune import RunExportLoader, TrainingDataConverter;"
        "extras = {'langchain_community', 'pyarrow', 'fsspec', 'rensa', 'presidio_analyzer', 'spacy'};"
        "print(*(sys.modules.keys() & {'openai', 'torch', 'fastapi', *extras}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not shown.stdout.strip()
