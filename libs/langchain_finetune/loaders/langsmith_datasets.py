"""Examples of a LangSmith dataset."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import langsmith
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.chat_sessions import ChatSession
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, Field
from typing_extensions import override

from langchain_finetune._stage import Stage, Steps, adrive, drive, result_of
from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import ChatSessionFile, Handle
from langchain_finetune.loaders._chat_sessions import chat_sessions
from langchain_finetune.loaders._dataset_api import list_examples
from langchain_finetune.loaders._examples import read_row_example
from langchain_finetune.loaders._session_files import overridden, spool_read

DatasetInput = dict[str, Any] | str | None


class _DatasetFields(BaseModel):
    """Which examples are taken: written once for the loader's constructor and for its input."""

    dataset_name: str | None = None
    """The dataset: one of `messages` (kv), or a chat dataset."""

    splits: tuple[str, ...] = ()
    """Splits to take, such as `("train",)`; none are all."""

    as_of: datetime | str | None = None
    """The version to take: a tag such as `"prod"`, or a time; without one, the latest, which may change."""

    metadata: Mapping[str, Any] | None = None
    """Metadata that an example must carry."""

    filter: str | None = None
    """LangSmith filter on the example, in its query language."""

    limit: int | None = Field(default=None, ge=1)
    """Most examples to take."""


class _Dataset(_DatasetFields, Handle):
    """What is read: the input as callbacks see it."""


class LangSmithDatasetChatLoader(_DatasetFields, Stage[DatasetInput, ChatSessionFile], BaseChatLoader):
    """Loads the examples of a LangSmith dataset.

    Takes the place of the class of this name in langchain-community, and keeps tools and weights. Datasets
    of any type are read example by example; `openai_ft`, the server's own export, knows chat datasets only.

    Args:
        dataset_name: The dataset.
        client: The LangSmith client to use; without one, it is made from the environment.
        **settings: `splits`, `as_of`, `metadata`, `filter`, `limit`, and `name` as in every Runnable.

    Raises:
        SelectionError: There is no such dataset, or no example in it is taken.
        AuthenticationFailedError: The key is not accepted.
        HostUnreachableError: LangSmith cannot be reached.

    ```python
    from langchain_finetune import LangSmithDatasetChatLoader

    sessions = LangSmithDatasetChatLoader("support-answers", splits=["train"], as_of="prod").invoke({})
    ```
    """

    client: Any = Field(default=None, exclude=True, repr=False)
    """A `langsmith.Client`; without one, it is made from the environment on first use."""

    def __init__(
        self, dataset_name: str | None = None, client: langsmith.Client | None = None, **settings: Any
    ) -> None:
        super().__init__(dataset_name=dataset_name, client=client, **settings)

    @override
    def lazy_load(self) -> Iterator[ChatSession]:
        yield from chat_sessions(result_of(self._steps(self._accept(None))).path)

    @override
    def _accept(self, given: Any) -> _Dataset:
        if isinstance(given, str):
            given = {"dataset_name": given}
        dataset = overridden(_Dataset, self, given)
        if not dataset.dataset_name:
            msg = 'no dataset is named: give it, as in LangSmithDatasetChatLoader("my-dataset").'
            raise SelectionError(msg)
        return dataset

    @override
    def _run(self, accepted: _Dataset, config: RunnableConfig) -> ChatSessionFile:
        return drive(self._steps(accepted), config)

    @override
    async def _arun(self, accepted: _Dataset, config: RunnableConfig) -> ChatSessionFile:
        return await adrive(self._steps(accepted), config)

    def _steps(self, dataset: _Dataset) -> Steps[ChatSessionFile]:
        name = dataset.dataset_name or ""
        query = {
            "splits": list(dataset.splits) or None,
            "as_of": dataset.as_of,
            "metadata": None if dataset.metadata is None else dict(dataset.metadata),
            "filter": dataset.filter,
            "limit": dataset.limit,
        }
        examples = list_examples(self.client, name, query)
        return (yield from spool_read(map(read_row_example, examples), f"the LangSmith dataset {name!r}"))
