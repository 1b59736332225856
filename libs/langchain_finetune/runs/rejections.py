"""Why a run or a row cannot be trained on: stable codes, each with its sentence."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """The stable reason code of a rejection, as it stands in the report."""

    NOT_A_RUN = "not_a_run"
    NOT_AN_LLM_RUN = "not_an_llm_run"
    NOT_CHAT_MODEL = "not_chat_model"
    UNKNOWN_SHAPE = "unknown_shape"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    ERRORED = "errored"
    PENDING = "pending"
    NO_ANSWER = "no_answer"
    EMPTY_ANSWER = "empty_answer"
    HIDDEN_INPUTS = "hidden_inputs"
    OFFLOADED = "offloaded"
    TRUNCATED = "truncated"
    CONTENT_FILTER = "content_filter"
    PREVIOUS_RESPONSE_ID = "previous_response_id"
    BUILTIN_TOOL = "builtin_tool"
    UNKNOWN_MESSAGE = "unknown_message"
    UNSUPPORTED_CONTENT = "unsupported_content"
    INVALID_TOOL_ARGUMENTS = "invalid_tool_arguments"
    NOT_FOUND = "not_found"
    # What hosts do not accept in a row.
    REFUSAL = "refusal"
    UNKNOWN_ROLE = "unknown_role"
    INVALID_NAME = "invalid_name"
    SPECIAL_TOKEN = "special_token"  # noqa: S105  # a token of a vocabulary
    ORPHAN_TOOL_MESSAGE = "orphan_tool_message"
    UNANSWERED_TOOL_CALL = "unanswered_tool_call"
    UNDECLARED_TOOL = "undeclared_tool"
    TOO_MANY_TOOLS = "too_many_tools"
    TOO_MANY_IMAGES = "too_many_images"
    INVALID_IMAGE = "invalid_image"
    # What rows can have that did not come from the converter.
    NO_MESSAGES = "no_messages"
    UNKNOWN_KEY = "unknown_key"
    INVALID_TOOL = "invalid_tool"
    INVALID_TOOL_CALL = "invalid_tool_call"
    INVALID_WEIGHT = "invalid_weight"
    NOTHING_TO_LEARN = "nothing_to_learn"
    TOO_LONG = "too_long"
    ARGUMENTS_OFF_SCHEMA = "arguments_off_schema"
    # What one host or another does not take besides.
    REPEATED_CALL_ID = "repeated_call_id"
    MISPLACED_SYSTEM = "misplaced_system"
    NOT_ALTERNATING = "not_alternating"
    # What rows of preferences, and rows for reinforcement, can have besides.
    INVALID_OUTPUT = "invalid_output"
    SAME_OUTPUTS = "same_outputs"
    NO_QUESTION = "no_question"
    # Why runs that are fine make no pair of preferences.
    UNRATED = "unrated"
    NO_PREFERENCE = "no_preference"
    NO_PAIR = "no_pair"
    TIED = "tied"
    ENOUGH_PAIRS = "enough_pairs"


SENTENCES: Final = {
    Reason.NOT_A_RUN: "It is no JSON object.",
    Reason.NOT_AN_LLM_RUN: "Its run type is not `llm`: chains, tools and retrievers have no model call.",
    Reason.NOT_CHAT_MODEL: "It comes from a completion model: there are no chat messages.",
    Reason.UNKNOWN_SHAPE: "No known recorder writes chat calls down in this shape.",
    Reason.TOO_DEEP: "It is nested too deeply.",
    Reason.TOO_LARGE: "It has more than 10,000 messages or 64 million characters.",
    Reason.NOT_JSON: "It holds a value that JSON does not have, such as half a surrogate pair.",
    Reason.ERRORED: "The call ended with an error.",
    Reason.PENDING: "The run was not finished when it was exported.",
    Reason.NO_ANSWER: "The run is finished but holds no answer.",
    Reason.EMPTY_ANSWER: "The model answered with neither text nor a tool call.",
    Reason.HIDDEN_INPUTS: "The prompt was hidden: the run holds no inputs.",
    Reason.OFFLOADED: "Inputs or outputs lie in LangSmith's object storage: the export has only their URLs.",
    Reason.TRUNCATED: "The answer was cut off at the token limit.",
    Reason.CONTENT_FILTER: "The answer was cut off by a content filter.",
    Reason.PREVIOUS_RESPONSE_ID: "The call continued a stored response: its history is not in the run.",
    Reason.BUILTIN_TOOL: "The call used a tool that ran at the model's host, or one without a JSON schema.",
    Reason.UNKNOWN_MESSAGE: "A message is of an unknown kind or lacks a required part.",
    Reason.UNSUPPORTED_CONTENT: "A message holds content that is neither text nor an image.",
    Reason.INVALID_TOOL_ARGUMENTS: "The arguments of a tool call are no JSON.",
    Reason.NOT_FOUND: "The source has no run of this id.",
    Reason.REFUSAL: "The answer is a refusal without content, which hosts do not train on.",
    Reason.UNKNOWN_ROLE: "A message has a role that the training format does not have.",
    Reason.INVALID_NAME: "A function's name is not 1 to 64 letters, digits, underscores and dashes.",
    Reason.SPECIAL_TOKEN: "A text holds a special token such as `<|im_end|>`.",
    Reason.ORPHAN_TOOL_MESSAGE: "A tool message answers no tool call of the message before it.",
    Reason.UNANSWERED_TOOL_CALL: "A tool call of the history has no tool message.",
    Reason.UNDECLARED_TOOL: "The answer calls a tool that is not among the call's schemas.",
    Reason.TOO_MANY_TOOLS: "There are more than 128 function schemas.",
    Reason.TOO_MANY_IMAGES: "There are more than 10 images.",
    Reason.INVALID_IMAGE: "An image is neither an http(s) nor a data URL, or stands outside a user message.",
    Reason.NO_MESSAGES: "There is no list `messages` with at least one message.",
    Reason.UNKNOWN_KEY: "A key is not one of the training format's.",
    Reason.INVALID_TOOL: "A tool is no object of type `function` with a name and a JSON schema.",
    Reason.INVALID_TOOL_CALL: "A tool call lacks its id, its function's name, or arguments as a string.",
    Reason.INVALID_WEIGHT: "The weight of a message is neither 0 nor 1.",
    Reason.NOTHING_TO_LEARN: "Every assistant message has the weight 0.",
    Reason.TOO_LONG: "It has more tokens, or bytes, than the host or the settings take in one row.",
    Reason.ARGUMENTS_OFF_SCHEMA: "The arguments of a tool call do not fit the JSON schema of the tool.",
    Reason.REPEATED_CALL_ID: "Two tool calls of one message have the same id.",
    Reason.MISPLACED_SYSTEM: "A system message is not the first one.",
    Reason.NOT_ALTERNATING: "The turns of user and assistant do not alternate, beginning with the user's.",
    Reason.INVALID_OUTPUT: "A preferred or other output is no list of exactly one assistant message.",
    Reason.SAME_OUTPUTS: "Both outputs are the same: there is nothing to prefer.",
    Reason.NO_QUESTION: "The last message is not the user's.",
    Reason.UNRATED: "It has neither a correction nor a score: nothing tells how good the answer is.",
    Reason.NO_PREFERENCE: "It has several candidates, and nothing tells which of them is the better one.",
    Reason.NO_PAIR: "No other run of its prompt, with its tools, gave another answer that has a score.",
    Reason.TIED: "No other answer to its prompt is known to be better or worse.",
    Reason.ENOUGH_PAIRS: "The other answers to its prompt make pairs already, as many as were asked for.",
}
"""What each reason means, for a person to read."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A run that cannot be trained on, and why."""

    run_id: str
    reason: Reason


class Unreadable(Exception):
    """Ends the reading of one run or row with a reason; never leaves this package."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
