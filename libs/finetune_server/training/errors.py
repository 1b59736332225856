"""How a training ends that cannot succeed."""


class TrainingError(Exception):
    """An end that the server can tell its client.

    Args:
        message: What failed, on which row, and what to do. Never the content of a row.
        code: OpenAI's `error.code`, such as `invalid_training_file`.
        param: The request parameter that is to blame.
    """

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class TrainingStopped(Exception):
    """The server has asked the trainer to end; its checkpoint is written."""


class UnsupportedBaseError(TrainingError):
    """A base model that cannot be trained, or not without changing it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="unsupported_base", param="model")
