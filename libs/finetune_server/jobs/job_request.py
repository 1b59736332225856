"""The body of `POST /v1/fine_tuning/jobs`, as OpenAI's schema has it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from finetune_server.errors import ApiError

Auto = Literal["auto"]

FileId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Hyperparameters(_Strict):
    """What may be set of a supervised training; `auto` leaves it to the trainer."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] | None = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"


class SupervisedMethod(_Strict):
    """The settings of the supervised method."""

    hyperparameters: Hyperparameters | None = None


class Method(_Strict):
    """How to train; other methods are read, so that the refusal can name them."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedMethod | None = None
    dpo: dict[str, Any] | None = None
    reinforcement: dict[str, Any] | None = None


class JobRequest(_Strict):
    """The whole body."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    training_file: FileId
    validation_file: FileId | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    suffix: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    integrations: list[dict[str, Any]] | None = None
    metadata: Metadata | None = None

    def check_supported(self) -> None:
        """Refuses what OpenAI's schema allows and this server cannot do.

        Raises:
            ApiError: For another method, two sets of hyperparameters, or integrations.
        """
        if self.method and self.method.type != "supervised":
            message = (
                f"The method '{self.method.type}' is not available on this server. "
                "Use the method 'supervised', or another host."
            )
            raise ApiError(400, message, param="method.type", code="unsupported_method")
        if self.method and self.hyperparameters:
            message = "Only one of 'method' or 'hyperparameters' must be provided."
            raise ApiError(400, message, param="hyperparameters", code="invalid_value")
        if self.integrations:
            message = "Integrations are not available on this server; leave 'integrations' out."
            raise ApiError(400, message, param="integrations", code="unsupported_parameter")

    def asked_hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters, from where the client put them."""
        given = self.hyperparameters
        if self.method and self.method.supervised:
            given = self.method.supervised.hyperparameters
        asked = (given or Hyperparameters()).model_dump()
        return asked | {"batch_size": asked["batch_size"] or "auto"}
