from collections import Counter

import pytest

from langchain_finetune import RecordedSession, RunExportLoader, TrainingDataConverter
from langchain_finetune.converters.card import bucket_of
from tests.fakes.recorded_runs import calculator_run, write_runs

pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def test_a_card_tells_a_person_what_the_data_are(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(100)]
    runs += [calculator_run(100 + number, number, 8, error="Oops()") for number in range(3)]
    path = write_runs(tmp_path / "runs|1.jsonl", runs)
    data = (RunExportLoader(path) | TrainingDataConverter()).invoke({})
    card = data.card.read_text(encoding="utf-8")
    assert data.card.name == "DATASET_CARD.md"
    assert f"100 rows for supervised fine-tuning, from 103 runs of the export {path}." in card
    assert f"| `train.jsonl` | {data.num_train} | `" in card
    assert "| rejected | 3 |" in card
    assert "| `errored` | 3 | The call ended with an error. |" in card
    assert "        0 to        63  " + "█" * 40 + " 100" in card
    assert '"collapse":"trajectory"' in card
    assert "runs\\|1.jsonl" in card
    assert "Taken out of the rows" not in card


def test_it_counts_what_was_taken_out_and_is_the_same_every_time():
    sessions = [
        RecordedSession(
            run_id=f"run-{number}",
            messages=[{"role": "user", "content": f"{number}: sk-proj-abc123def456ghi789jkl"}],
            answer={"role": "assistant", "content": "ok"},
        )
        for number in range(40)
    ]
    data = TrainingDataConverter().invoke(sessions)
    card = data.card.read_text(encoding="utf-8")
    assert data.redactions == {"api_key": 40}
    assert "| `api_key` | 40 |" in card
    assert "sk-proj" not in card
    assert "Tokens of a row" not in card
    assert TrainingDataConverter().invoke(sessions).card.read_text(encoding="utf-8") == card


def test_bars_begin_at_powers_of_two():
    assert Counter(map(bucket_of, [0, 63, 64, 127, 128, 5000])) == {0: 2, 64: 2, 128: 1, 4096: 1}
