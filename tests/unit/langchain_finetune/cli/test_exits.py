import re
from pathlib import Path

import pytest

from langchain_finetune import errors
from langchain_finetune.cli.exits import MEANINGS, ExitCode, exit_code_of

PAGE = Path(__file__).parents[4] / "docs" / "cli.md"


def test_the_page_has_the_table_of_the_code():
    listed = dict(re.findall(r"^\| `(\d+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    assert listed == {str(int(code)): meaning for code, meaning in MEANINGS.items()}
    assert {*MEANINGS} == {*ExitCode}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TrainingOverQuota("m"), 1),
        (errors.TrainingFileInvalid("m"), 1),
        (errors.JobCancelled("m"), 1),
        (errors.StorageError("m"), 1),
        (errors.DeploymentNeeded("m"), 1),
        (errors.UnknownProviderError("m"), 2),
        (errors.SettingError("m"), 2),
        (errors.AliasNotFoundError("m"), 2),
        (errors.AuthenticationFailedError("m"), 3),
        (errors.QuotaExceededError("m"), 3),
        (errors.UnknownBaseError("m"), 3),
        (errors.JobNotFoundError("m"), 3),
        (errors.TrainingFileRefusedError("m"), 3),
        (errors.CostLimitError("m"), 4),
        (errors.UnknownPriceError("m"), 4),
        (errors.JobTimeoutError("m"), 5),
        (errors.SelectionError("m"), 6),
        (errors.SourceNotFoundError("m"), 6),
        (errors.NotEnoughExamplesError("m"), 6),
        (errors.InvalidRowsError("m"), 6),
        (errors.HostUnreachableError("m"), 7),
        (errors.DailyLimitError("m"), 7),
        (ValueError("m"), 1),
    ],
)
def test_an_error_ends_with_its_code(error, code):
    assert exit_code_of(error) == code
