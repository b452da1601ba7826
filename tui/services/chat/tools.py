"""Tools that a model may ask for: the built-in ones, and commands that the user declared. What a model sends is hostile.

Nothing here asks the user: the engine does, with `describe` as the question's words, before it calls `run`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from tui.config.settings import ChatCommand, Settings
from tui.core.chat import Attachment, AttachmentKind
from tui.core.clock import SYSTEM, Clock
from tui.core.events import ToolCall
from tui.core.record import record
from tui.text import clean_door, clean_name

MAX_VALUE: Final = 2000
"""Characters of one argument: all of it stands in the question."""
MAX_READ: Final = 20_000
READ: Final = 8000
"""Characters of a file that a call gets unless it says how many."""

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,39})\}")
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}\Z")

Schema = Mapping[str, Any]


def _schema(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str] = ()) -> Schema:
    parameters = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


def _number(description: str) -> dict[str, str]:
    return {"type": "integer", "description": description}


BUILT_IN: Final[Mapping[str, Schema]] = {
    "time": _schema(
        "time",
        "The date and the time now, in a time zone of the user's or in another.",
        {"zone": _text("A time zone like Europe/Oslo; leave it out for the user's own.")},
    ),
    "calculator": _schema(
        "calculator",
        "Works out a sum exactly: + - * / // % ^ ! and brackets, sqrt abs round floor ceil min max sum sin cos tan exp ln log10, pi e.",
        {"expression": _text("The sum, like (3.5 + 2) * 12^2")},
        ("expression",),
    ),
    "read_file": _schema(
        "read_file",
        "Reads a text file that the user attached to this conversation. Only those can be read.",
        {
            "name": _text("The name of the file as it was attached."),
            "offset": _number("The first character to read, 0 for the beginning."),
            "limit": _number(f"How many characters, at most {MAX_READ}; {READ} where left out."),
        },
        ("name",),
    ),
}
"""What comes with Paddock; a command of the user with the same name is not offered."""


@record(frozen=True)
class ToolContext:
    """What a tool may use.

    Attributes:
        enabled: Names of the tools that this conversation allows.
        attachments: All files of the branch that is sent.
        clock: For the time.
    """

    settings: Settings
    enabled: tuple[str, ...]
    attachments: tuple[Attachment, ...] = ()
    clock: Clock = SYSTEM


@record(frozen=True)
class ToolResult:
    """What goes back to the model; `failed`: it says why there is none."""

    content: str
    failed: bool = False


def names(settings: Settings) -> tuple[str, ...]:
    """Every tool that could be switched on: the built-in ones, then the user's commands."""
    return (*BUILT_IN, *(name for name, one in settings.chat.commands.items() if name not in BUILT_IN and one.command))


def offered(settings: Settings, wanted: Sequence[str]) -> tuple[Schema, ...]:
    """What a request tells the model of these tools; names that are none are left out."""
    found = []
    for name in dict.fromkeys(wanted):
        own = _command(settings, name)
        if name in BUILT_IN:
            found.append(BUILT_IN[name])
        elif own is not None:
            properties = {parameter: _text(description) for parameter, description in own.parameters.items()}
            found.append(_schema(name, own.description, properties, tuple(own.parameters)))
    return tuple(found)


def _command(settings: Settings, name: str) -> ChatCommand | None:
    own = settings.chat.commands.get(name) if name not in BUILT_IN else None
    return own if own is not None and own.command else None


def call_of(stored: Mapping[str, Any]) -> ToolCall:
    """A call as `Message.tool_calls` keeps it."""
    from tui.providers.requests import call_parts

    id_, name, arguments = call_parts(stored)
    return ToolCall(id_, name, arguments)


# --- before it runs ---------------------------------------------------------------------------------------------------


def refusal(call: ToolCall, context: ToolContext) -> str:
    """Why a call will not be run whatever the user says, in words for the model; empty where the user is to be asked."""
    if call.name not in context.enabled or (call.name not in BUILT_IN and _command(context.settings, call.name) is None):
        usable = [name for name in context.enabled if name in names(context.settings)]
        return f"There is no tool {clean_name(call.name, 80)} here. " + (f"Tools: {', '.join(usable)}." if usable else "There are none.")
    own = _command(context.settings, call.name)
    if own is not None:
        line = command_line(own, call.arguments)
        return line if isinstance(line, str) else ""
    required = BUILT_IN[call.name]["function"]["parameters"]["required"]
    missing = [name for name in required if call.arguments.get(name) in (None, "")]
    if missing:
        return f"{call.name} needs {missing[0]}."
    long = [name for name, value in call.arguments.items() if isinstance(value, str) and len(value) > MAX_VALUE]
    return f"The value of {clean_name(str(long[0]), 40)} is too long." if long else ""


def describe(call: ToolCall, context: ToolContext) -> str:
    """One line that says what a call does, for the question to the user: the tool, and every argument in full, cleaned and quoted.

    Of a command it is the line exactly as the program gets it, each argument quoted as a shell would need it.
    """
    name = clean_name(call.name, 80)
    own = _command(context.settings, call.name)
    if own is None:
        told = ", ".join(f"{clean_name(str(key), 80)} = {_quoted(value)}" for key, value in call.arguments.items())
        return f"{name}: {told}" if told else name
    line = command_line(own, call.arguments)
    if isinstance(line, str):
        return f"{name}: refused. {line}"
    return f"{name} runs: {' '.join(_visible(part) for part in line)}"


def _visible(part: str) -> str:
    """An argument as it is shown: nothing hidden, nothing cut, and one argument stays one."""
    return shlex.quote(clean_name(part, len(part) * 12 + 64))


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return f'"{clean_name(text, len(text) * 12 + 64)}"' if isinstance(value, str) else clean_name(text, MAX_VALUE)


def command_line(own: ChatCommand, arguments: Mapping[str, Any]) -> tuple[str, ...] | str:
    """The program and its arguments with the model's values in them; or why not, in words for the model.

    `{name}` of a declared parameter becomes the model's value and stays in that one argument; any other brace is text. A value
    is looked at once, so that a `{name}` inside it is text too. No value can become an option: an argument that the user began
    otherwise must not begin with `-`, unless a `--` of the user's stands before it (`--name={value}` is always fine).
    """
    unknown = [name for name in arguments if name not in own.parameters]
    if unknown:
        return f"It has no argument {clean_name(str(unknown[0]), 40)}. It takes: {', '.join(own.parameters) or 'none'}."
    values: dict[str, str] = {}
    for name in own.parameters:
        value = arguments.get(name)
        if value is None:
            return f"The argument {name} is missing."
        if not isinstance(value, (str, int, float)):
            return f"The argument {name} must be text."
        text = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
        if "\0" in text or any(0xD800 <= ord(char) <= 0xDFFF for char in text):
            return f"The argument {name} holds a character that no program takes."
        if len(text) > MAX_VALUE:
            return f"The argument {name} is longer than {MAX_VALUE} characters."
        values[name] = text
    line, ended = [own.command[0]], False
    for part in own.command[1:]:
        made = _PLACE.sub(lambda found: values.get(found[1], found[0]), part)
        if made.startswith("-") and not part.startswith("-") and not ended:
            first = _PLACE.match(part)
            return f"The argument {first[1] if first else 'given'} must not begin with -."
        ended = ended or part == "--"
        line.append(made)
    return tuple(line)


# --- running ----------------------------------------------------------------------------------------------------------


async def run(call: ToolCall, context: ToolContext) -> ToolResult:
    """Do what a call asks. Cancelling it ends a command with all it started.

    What goes wrong is a result that says so to the model; nothing is raised but the cancellation.
    """
    why = refusal(call, context)
    if why:
        return ToolResult(why, failed=True)
    own = _command(context.settings, call.name)
    if own is not None:
        line = command_line(own, call.arguments)
        assert not isinstance(line, str)
        from tui.services.chat.commands import run_command  # these two only where a tool runs

        content, failed = await run_command(line, own.timeout)
        return ToolResult(content, failed)
    if call.name == "time":
        return _time(call.arguments, context.clock)
    if call.name == "calculator":
        return _calculator(str(call.arguments["expression"]))
    return _read_file(call.arguments, context.attachments)


def _time(arguments: Mapping[str, Any], clock: Clock) -> ToolResult:
    wanted = arguments.get("zone") or ""
    utc = datetime.fromtimestamp(clock.time(), UTC)
    try:
        if not isinstance(wanted, str) or (wanted and not _ZONE.match(wanted)):
            raise ValueError(wanted)
        there = utc.astimezone(ZoneInfo(wanted) if wanted else None)
    except (ValueError, KeyError, OSError, OverflowError):
        return ToolResult(f"There is no time zone {clean_name(str(wanted), 60)}; write it like Europe/Oslo.", failed=True)
    offset = there.strftime("%z")
    name = wanted or clean_name(there.tzname() or "", 20)
    return ToolResult(f"{there:%A, %Y-%m-%d %H:%M:%S} {name} (UTC{offset[:3]}:{offset[3:5]}); {utc:%Y-%m-%d %H:%M:%S} UTC")


def _calculator(expression: str) -> ToolResult:
    from tui.services.chat.calculator import MAX_TEXT, Sum, calculate

    try:
        return ToolResult(calculate(expression[: MAX_TEXT + 1]))
    except Sum as error:
        return ToolResult(f"That cannot be worked out: {clean_name(str(error), 200)}", failed=True)


def _whole(value: Any, default: int) -> int | None:
    """A whole number from 0, also as text, as models write them; None where it is none."""
    if value is None or value == "":
        return default
    try:
        number = int(str(value)[:20])
    except ValueError:
        return None
    return number if number >= 0 else None


def _read_file(arguments: Mapping[str, Any], attachments: Sequence[Attachment]) -> ToolResult:
    name = str(arguments["name"])
    texts = {attachment.name: attachment for attachment in attachments if attachment.kind is AttachmentKind.TEXT}
    found = texts.get(name) or next((one for other, one in texts.items() if other.casefold() == name.casefold()), None)
    if found is None:
        listed = ", ".join(clean_name(other, 100) for other in list(texts)[:50])
        return ToolResult(f"No text file {clean_name(name, 100)} is attached. Attached: {listed or 'none'}.", failed=True)
    offset, limit = _whole(arguments.get("offset"), 0), _whole(arguments.get("limit"), READ)
    if offset is None or limit is None:
        return ToolResult("offset and limit must be whole numbers from 0.", failed=True)
    size = len(found.text)
    end = min(size, offset + max(1, min(limit, MAX_READ)))
    if offset >= size:
        return ToolResult(f"{clean_name(found.name, 100)} has {size} characters; there is nothing from {offset} on.", failed=size > 0)
    rest = f"; go on with offset {end}" if end < size else ""
    return ToolResult(
        f"[{clean_name(found.name, 100)}, characters {offset} to {end} of {size}{rest}]\n{clean_door(found.text[offset:end])}"
    )
