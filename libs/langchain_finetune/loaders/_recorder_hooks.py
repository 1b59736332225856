"""How a recorder comes to be among the handlers of what LangChain runs, with LangSmith's tracer beside it."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.context import register_configure_hook, tracing_v2_callback_var
from langsmith import get_tracing_context
from langsmith.utils import get_env_var

from langchain_finetune.loaders._recording_client import is_recorded

_logger = logging.getLogger(__name__)

T = TypeVar("T", bound=BaseCallbackHandler)


class ActiveHandler(Generic[T]):
    """The handler of this context, else of the process.

    LangChain asks a context variable for the handler to add; this object stands in the place of one.
    """

    def __init__(self, name: str) -> None:
        self._of_context: ContextVar[tuple[T, Any] | None] = ContextVar(name, default=None)
        self.of_process: T | None = None

    def get(self) -> T | None:
        """Return the handler to add, if there is one."""
        innermost = self._of_context.get()
        return innermost[0] if innermost else self.of_process

    def enter(self, handler: T) -> None:
        """Make it this context's handler, until it is left."""
        self._of_context.set((handler, self._of_context.get()))

    def leave(self) -> None:
        """Go back to the handler before."""
        innermost = self._of_context.get()
        self._of_context.set(innermost[1] if innermost else None)

    def register(self, handler_class: type[T]) -> None:
        """Have it added to whatever runs and has no handler of this class yet."""
        register_configure_hook(
            cast("ContextVar[Any]", self), inheritable=True, handle_class=cast("Any", handler_class)
        )


def keep_langsmith_beside(recorder_class: type[LangChainTracer]) -> None:
    """Keep LangSmith's own tracing going for runs that a recorder of this class is among the handlers of.

    LangChain leaves its tracer away where a handler is a `LangChainTracer` already, as a recorder is: adding
    a recorder to the callbacks would silently end LangSmith's tracing. This hook puts the tracer back in.
    """

    class _IsForLangSmith(type):
        def __instancecheck__(cls, handler: Any) -> bool:
            return isinstance(handler, LangChainTracer) and not isinstance(handler, recorder_class)

    class _TracerForLangSmith(metaclass=_IsForLangSmith):
        """Stands for every tracer but a recorder, in LangChain's question whether one is there already."""

    register_configure_hook(
        cast("ContextVar[Any]", _LangSmithTracer()),
        inheritable=True,
        handle_class=cast("Any", _TracerForLangSmith),
    )


class _LangSmithTracer:
    """LangSmith's own tracer, where its tracing is enabled; asked like a context variable."""

    def get(self) -> LangChainTracer | None:
        if (tracer := tracing_v2_callback_var.get()) is not None:
            return tracer
        context = get_tracing_context()
        parent = context["parent"]
        if parent is not None and is_recorded(parent):
            return None  # within a recorded trace, whose root had LangSmith's tracer put beside it, or not
        if not _is_enabled(context["enabled"], is_traced=parent is not None):
            return None
        try:
            return _tracer(context, parent)
        except Exception as e:  # noqa: BLE001  # as LangChain does: tracing breaks no application
            _logger.warning(
                "LangSmith's tracer cannot be made (%s): set LANGSMITH_API_KEY.", type(e).__name__
            )
            return None


def _tracer(context: Mapping[str, Any], parent: Any) -> LangChainTracer:
    if parent is None:
        return LangChainTracer(project_name=context["project_name"], client=context["client"])
    tracer = LangChainTracer(project_name=parent.session_name, client=parent.client)
    # As LangChain does for the tracer that it adds: what runs now is a child of the traced function.
    tracer.order_map[parent.id] = (parent.trace_id, parent.dotted_order)
    tracer.run_map[str(parent.id)] = parent
    return tracer


def _is_enabled(said: Any, *, is_traced: bool) -> bool:
    if said is not None:
        return bool(said)
    return is_traced or get_env_var("TRACING_V2", default=get_env_var("TRACING", default="")) == "true"
