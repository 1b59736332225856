import pytest

from finetune_server.errors import ApiError
from finetune_server.jobs.job_request import JobRequest

WHOLE = {"model": "m", "training_file": "f"}
AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, AUTO),
        ({"hyperparameters": {"n_epochs": 3, "batch_size": None}}, AUTO | {"n_epochs": 3}),
        ({"method": {"type": "supervised"}}, AUTO),
        ({"method": {"type": "supervised", "supervised": {}}}, AUTO),
        (
            {
                "method": {
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"batch_size": 2, "learning_rate_multiplier": 1}},
                }
            },
            AUTO | {"batch_size": 2, "learning_rate_multiplier": 1},
        ),
    ],
)
def test_hyperparameters_are_taken_from_where_the_client_put_them(change, asked):
    request = JobRequest.model_validate(WHOLE | change)
    request.check_supported()
    assert request.asked_hyperparameters() == asked


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method.type"),
        ({"method": {"type": "supervised"}, "hyperparameters": {}}, "hyperparameters"),
        ({"integrations": [{"type": "wandb"}]}, "integrations"),
    ],
)
def test_what_this_server_cannot_do_is_refused_by_name(change, param):
    with pytest.raises(ApiError) as caught:
        JobRequest.model_validate(WHOLE | change).check_supported()
    assert (caught.value.status, caught.value.param) == (400, param)


def test_no_integrations_are_none():
    JobRequest.model_validate(WHOLE | {"integrations": []}).check_supported()
