"""The last step of a pipe that lets an alias stand for what came out of it."""

import asyncio
import logging
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, RootModel, create_model
from typing_extensions import override

from langchain_finetune._stage import Stage
from langchain_finetune.handles import FineTunedModel
from langchain_finetune.serving.aliases import AliasStore
from langchain_finetune.trainers.served import is_tuned

logger = logging.getLogger(__name__)


class Promotion(Stage[ChatOpenAI | FineTunedModel, ChatOpenAI | FineTunedModel]):
    """Let an alias stand for the tuned model that comes in, and hand the model on.

    Behind a gate it moves only what has won: a gate that hands on the baseline hands on a model that this
    package did not tune, and the alias stays where it is.

    ```python
    pipeline = loader | converter | trainer | gate | Promotion(alias="calculator@production")
    ```
    """

    alias: str
    """The name, such as `"calculator@production"`."""

    note: str = ""
    """Why, for a person to read."""

    store: Any = Field(default=None, exclude=True, repr=False)
    """An `AliasStore`; None is that of the state directory."""

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        # ChatOpenAI itself has fields that JSON schema cannot express.
        return create_model(self.get_name("Input"), __base__=RootModel[Any])

    @override
    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return create_model(self.get_name("Output"), __base__=RootModel[Any])

    @override
    def _accept(self, given: Any) -> ChatOpenAI | FineTunedModel:
        if isinstance(given, ChatOpenAI | FineTunedModel):
            return given
        msg = f"Promotion takes the model that a trainer or a gate returns, not a {type(given).__name__}."
        raise TypeError(msg)

    @override
    def _run(
        self, accepted: ChatOpenAI | FineTunedModel, config: RunnableConfig
    ) -> ChatOpenAI | FineTunedModel:
        if isinstance(accepted, ChatOpenAI) and not is_tuned(accepted):
            logger.info("%s stays where it is: %s was not tuned here", self.alias, accepted.model_name)
            return accepted
        (self.store or AliasStore()).promote(self.alias, accepted, note=self.note)
        return accepted

    @override
    async def _arun(
        self, accepted: ChatOpenAI | FineTunedModel, config: RunnableConfig
    ) -> ChatOpenAI | FineTunedModel:
        return await asyncio.to_thread(self._run, accepted, config)
