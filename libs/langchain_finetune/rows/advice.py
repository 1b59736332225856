"""What to do about each rule that a row breaks."""

from typing import Final

from langchain_finetune.runs import Reason

# One place for all who name a rule: preflight, the converter's card and errors, whoever checks files.
ADVICE: Final = {
    Reason.NOT_JSON: "Write one JSON object a line, in UTF-8, without blank lines.",
    Reason.NO_MESSAGES: "Give the conversation as a list under `messages`.",
    Reason.UNKNOWN_KEY: "Leave the key out: the host refuses a file for it.",
    Reason.UNKNOWN_ROLE: "Use system, user, assistant or tool; what was developer is system.",
    Reason.UNKNOWN_MESSAGE: "Write each message as an object with `role` and `content`.",
    Reason.UNSUPPORTED_CONTENT: "Leave the part out, or train where it is taken.",
    Reason.NO_ANSWER: "End the row with the assistant message that the model is to learn.",
    Reason.EMPTY_ANSWER: "Give the last message a text or a tool call, or leave the row out.",
    Reason.REFUSAL: "Leave the row out, or move the refusal's text to `content` if it is to be learned.",
    Reason.INVALID_NAME: "Rename the function: letters, digits, underscores and dashes, at most 64.",
    Reason.SPECIAL_TOKEN: "Take the token out of the text, or leave the row out.",
    Reason.ORPHAN_TOOL_MESSAGE: "Let each tool message follow the call whose `id` is its `tool_call_id`.",
    Reason.UNANSWERED_TOOL_CALL: "Add a tool message for each call, or cut the row after the call.",
    Reason.UNDECLARED_TOOL: "Add the tool's schema to `tools`.",
    Reason.INVALID_TOOL: 'Write each tool as {"type": "function", "function": {"name", "parameters"}}.',
    Reason.INVALID_TOOL_CALL: 'Write it as {"id", "type": "function", "function": {"name", "arguments"}}.',
    Reason.INVALID_TOOL_ARGUMENTS: "Write the arguments as a string that holds a JSON object.",
    Reason.TOO_MANY_TOOLS: "Offer at most 128 tools in a row.",
    Reason.TOO_MANY_IMAGES: "Keep at most 10 images in a row.",
    Reason.INVALID_IMAGE: "Give an http(s) or a JPEG, PNG or WebP data URL up to 10 MB, in a user message.",
    Reason.INVALID_WEIGHT: "Use the whole numbers 0 and 1.",
    Reason.NOTHING_TO_LEARN: "Give one assistant message the weight 1, or leave the row out.",
    Reason.INVALID_OUTPUT: "Give one assistant message in a list, under each of the two keys.",
    Reason.SAME_OUTPUTS: "Leave the row out, or give an answer that is worse.",
    Reason.NO_QUESTION: "Cut the row after the user's last message: the model gives the answer itself.",
    Reason.TOO_LONG: "Shorten the row: what goes over the limit is cut off at its end, the answer first.",
    Reason.ARGUMENTS_OFF_SCHEMA: "Train on it only if the tool takes such arguments; else leave the row out.",
    Reason.REPEATED_CALL_ID: "Give each call of a message an `id` of its own, and its tool message the same.",
    Reason.MISPLACED_SYSTEM: "Let the one system message be the first, or make the later ones the user's.",
    Reason.NOT_ALTERNATING: "Join messages of one role that follow each other, and begin with the user's.",
}
"""By the rule's reason."""

_FOR_PREFERENCES: Final = {
    Reason.NO_MESSAGES: "Give the conversation as a list under `input.messages`.",
    Reason.UNKNOWN_KEY: "Leave the key out: a row has `input`, `preferred_output`, `non_preferred_output`.",
    Reason.UNSUPPORTED_CONTENT: "Leave the part out: rows of preferences are text.",
    Reason.EMPTY_ANSWER: "Give the output a text or a tool call, or leave the row out.",
}
_FOR_REINFORCEMENT: Final = {
    Reason.UNKNOWN_ROLE: "Use developer, user, assistant or tool; what was system is developer.",
}
_BY_METHOD: Final = {"dpo": _FOR_PREFERENCES, "reinforcement": _FOR_REINFORCEMENT}


def advice_on(reason: Reason, method: str) -> str:
    """Return what to do about a rule that a row for a method breaks."""
    known = _BY_METHOD.get(method, {})
    return known.get(reason) or ADVICE.get(reason, "Correct the row, or leave it out.")
