"""The chain of the LangSmith fine-tuning notebook, in today's API.

A question goes to a chat model, the model calls `Calculator`, the call is computed:

```python
build_chain(model).invoke("What's 56/7?")  # 8.0
```

`model` is any chat model that calls tools: the large one whose runs were recorded, or the small one that
was trained on them.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import PydanticToolsParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel, Field

COMPUTE: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
PROMPT: Final = ChatPromptTemplate.from_messages(
    [("system", "You are an accounting assistant."), ("user", "{input}")]
)


class Calculator(BaseModel):
    """A calculator function"""  # noqa: D415 - the notebook's words, sent as the tool's description

    num1: float
    num2: float
    operation: Literal["+", "-", "*", "/"] = Field(description="+,-,*,/")

    def calculate(self) -> float:
        """Return the result."""
        if self.operation == "/" and self.num2 == 0:
            msg = f"Calculator was asked for {self.num1:g}/0: cannot divide by zero"
            raise ValueError(msg)
        return COMPUTE[self.operation](self.num1, self.num2)


def calculate(call: Calculator | None) -> float:
    """Do what the model asked for."""
    if call is None:
        msg = "the model answered without calling Calculator: there is nothing to calculate"
        raise ValueError(msg)
    return call.calculate()


def build_chain(model: BaseChatModel) -> Runnable[str | dict[str, Any], float]:
    """Return question → model → `Calculator` call → number.

    The question is a string, or `{"input": question}`.
    """
    parser = PydanticToolsParser(tools=[Calculator], first_tool_only=True)
    return PROMPT | model.bind_tools([Calculator]) | parser | RunnableLambda(calculate)
