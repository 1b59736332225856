"""A LangGraph agent of three nodes: one decides which tool to call, one calls it, one writes the reply.

The model of each node is handed in, so that a tuned one can take one node over and leave the others alone.
"""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

DECIDE = SystemMessage(
    "You find out what a customer of a shop needs to know. Call tools; say DONE when you know."
)
REPLY = SystemMessage("You write the shop's reply: one friendly sentence.")


@tool
def find_order(order: int) -> str:
    """Look an order up by its number."""
    return f"order {order} was sent with parcel {order * 7}"


@tool
def find_parcel(parcel: int) -> str:
    """Look a parcel up by its number."""
    return f"parcel {parcel} arrives in {parcel % 5 + 1} days"


TOOLS = [find_order, find_parcel]


def build(decider: BaseChatModel, writer: BaseChatModel) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the agent.

    Args:
        decider: The model of the node `agent`, which calls tools.
        writer: The model of the node `reply`.
    """
    deciding = decider.bind_tools(TOOLS)

    def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [deciding.invoke([DECIDE, *state["messages"]])]}

    def reply(state: MessagesState) -> dict[str, Any]:
        return {"messages": [writer.invoke([REPLY, *state["messages"]])]}

    def where_next(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else "reply"

    graph = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_node("reply", reply)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", where_next, ["tools", "reply"])
    graph.add_edge("tools", "agent")
    graph.add_edge("reply", END)
    return graph.compile()


def ask(graph: CompiledStateGraph[Any, Any, Any, Any], question: str, **config: Any) -> str:
    """Ask the agent and return its reply."""
    state = graph.invoke({"messages": [("user", question)]}, config or None)
    return str(state["messages"][-1].text)
