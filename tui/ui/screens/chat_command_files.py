"""Commands that read files: attachments, schemas, exported conversations, prompt templates. Nothing here blocks the loop."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.threads import in_daemon_thread
from tui.services.chat import attachments, references
from tui.services.chat import templates as prompts
from tui.text import clean_label, clean_name, nearest, size
from tui.ui.widgets.completion import Choice
from tui.ui.widgets.confirm import ChoiceDialog, ConfirmDialog, InputDialog

if TYPE_CHECKING:
    from tui.services.chat.api import ConversationView
    from tui.services.chat.references import Expanded
    from tui.ui.screens.chat_commands import CommandHost

SCHEMA_LIMIT: Final = 256_000
_FRESH: Final = 2.0
_BYTES_A_TOKEN: Final = 4
_SAID: Final = 3
"""Failures that are said one by one."""


def paths_of(text: str) -> list[str]:
    """The paths of a command's arguments: quoted and escaped as in a shell, else as they stand; an `@` before one is not part of it."""
    try:
        found = shlex.split(text)
    except ValueError:
        found = [text]
    return [path.removeprefix("@") for path in found if path.removeprefix("@")]


def looks_like_path(word: str) -> bool:
    """Whether a word that may be a path or a name is a path."""
    return "/" in word or word.startswith((".", "~", '"'))


def in_background(host: CommandHost, work: Coroutine[Any, Any, None]) -> None:
    """Go on without holding up the screen."""
    host.app.run_worker(work, group="chat command")


def say_failures(host: CommandHost, failures: Sequence[Failure]) -> None:
    """The first ones in full, the others as a number."""
    for failure in failures[:_SAID]:
        host.fail(failure)
    if len(failures) > _SAID:
        host.say(f"and {len(failures) - _SAID} more like these", error=True)


# --- attachments -------------------------------------------------------------------------------------------------------


def attach(host: CommandHost, text: str) -> None:
    """Attach files, or list what is attached."""
    patterns = paths_of(text)
    if patterns:
        in_background(host, _attach(host, patterns))
        return
    attached = host.services.chat.view.value.attached
    if not attached:
        host.say("Nothing is attached. /attach FILE, or @file in the prompt.")
        return

    def done(choice: str | None) -> None:
        if choice is not None:
            host.services.chat.detach(int(choice))

    choices = [(str(index), one.name, size(one.size)) for index, one in enumerate(attached)]
    host.app.push_screen(ChoiceDialog("Attached; enter takes one off", choices), done)


async def _attach(host: CommandHost, patterns: Sequence[str]) -> None:
    from tui.ui.screens.chat_command_options import can_see

    sees = can_see(host)
    found = await in_daemon_thread(lambda: references.expand(patterns, references.start_folder(), strict=True, sees=sees))
    say_failures(host, found.failures)
    if found.paths:
        ask_files(host, found, lambda: host.services.chat.attach([str(path) for path in found.paths]))


def ask_files(host: CommandHost, found: Expanded, then: Callable[[], object]) -> None:
    """Go on, after a question where the files are many, large, or elsewhere than one would expect."""
    if not found.asks:
        then()
        return

    def done(choice: str | None) -> None:
        if choice == "attach":
            then()

    host.app.push_screen(ConfirmDialog(files_question(found), (("keep", "Not now"), ("attach", "Attach"))), done)


def may_be_too_much(names: Sequence[str], view: ConversationView) -> bool:
    """Whether the context may be full with these files, going by their sizes."""
    tokens, window = (view.check.tokens, view.check.window) if view.check is not None else (0, view.window)
    if window is None:
        return False
    total = 0
    for name in names:
        with contextlib.suppress(OSError):
            total += Path(name).stat().st_size
    return tokens + total // _BYTES_A_TOKEN > window


def files_question(found: Expanded) -> str:
    """What attaching these would mean."""
    number = len(found.paths)
    parts = [f"Attach {number} file{'s' if number != 1 else ''}, {size(found.size)}?"]
    if number <= _SAID:
        parts[0] = f"Attach {', '.join(clean_name(str(path), 80) for path in found.paths)}, {size(found.size)}?"
    if found.more:
        parts.append(f"There are more; {number} go at once.")
    if found.left_out:
        parts.append(
            f"{found.left_out} that {'is' if found.left_out == 1 else 'are'} not text {'is' if found.left_out == 1 else 'are'} left out."
        )
    if found.outside:
        first, others = clean_name(str(found.outside[0]), 80), len(found.outside) - 1
        which = f"{first} and {others} more are" if others else f"{first} is"
        parts.append(f"{which} outside your home folder and the one Paddock was started in.")
    return " ".join(parts)


# --- the editor, a schema, a conversation --------------------------------------------------------------------------------


def edit(host: CommandHost, text: str) -> None:
    """Write the prompt in the user's editor."""
    host.composer.fill(text)
    host.composer.action_editor()


def read_in(host: CommandHost, text: str) -> None:
    """Import a conversation."""
    paths = paths_of(text)
    if len(paths) != 1:
        host.say("/import takes one file that /export wrote", error=True)
    else:
        path = references.absolute(paths[0], references.start_folder())
        host.services.chat.read_in(str(path))


def answer_formats(host: CommandHost, text: str) -> Sequence[Choice]:
    """The words; a file is completed as a path."""
    if " " in text:
        return []
    return [Choice("json", note="any JSON"), Choice("off", note="free text"), Choice("./", note="a file with a JSON schema", more=True)]


def answer_format(host: CommandHost, text: str) -> None:
    """Free text, JSON, or JSON after a schema."""
    from tui.ui.screens.chat_command_options import with_settings

    if text in ("off", "json"):
        with_settings(host, format="json" if text == "json" else None)
        host.say("Answers come as JSON" if text == "json" else "Answers come as text")
    elif not text:
        now = host.services.chat.view.value.settings.format
        host.say(
            f"Answers come as {'text' if now is None else 'JSON' if now == 'json' else 'JSON after a schema'}. /format json, off or FILE"
        )
    else:
        in_background(host, _schema(host, paths_of(text)[0]))


async def _schema(host: CommandHost, path: str) -> None:
    from tui.ui.screens.chat_command_options import with_settings

    try:
        found = await in_daemon_thread(lambda: read_schema(references.absolute(path, references.start_folder())))
    except PaddockError as error:
        host.fail(error.failure)
    else:
        with_settings(host, format=found)
        host.say(f"Answers come as JSON after the schema in {clean_name(path, 80)}")


def read_schema(path: Path) -> dict[str, Any]:
    """The JSON schema in a file; blocks.

    Raises:
        PaddockError: It cannot be read, or holds no JSON object.
    """
    text = attachments.read_file(path, sees=False, text_limit=SCHEMA_LIMIT).text
    where = clean_name(str(path))
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        what = f"The schema is no JSON: {clean_label(error.msg, 80)}"
        raise PaddockError.of(what, f"{where}:{error.lineno}", "Correct that line", FailureKind.BAD_REQUEST) from None
    except RecursionError:
        raise PaddockError.of("The schema is nested too deep", where, "Make it flatter", FailureKind.BAD_REQUEST) from None
    if not isinstance(found, dict):
        raise PaddockError.of("A JSON schema is an object", where, 'As in {"type": "object", ...}', FailureKind.BAD_REQUEST)
    return found


# --- templates ---------------------------------------------------------------------------------------------------------

_known: dict[Path, tuple[float, tuple[Choice, ...]]] = {}
"""By folder: when its templates were looked at, and what they are called."""


def _folder(host: CommandHost) -> Path:
    return prompts.folder_of(host.services.config.paths.config_file)


def templates(host: CommandHost, text: str) -> Sequence[Choice]:
    """The templates as they were last seen; looks again where that is some time ago."""
    seen, choices = _known.get(_folder(host), (0.0, ()))
    if time.monotonic() - seen > _FRESH:
        _known[_folder(host)] = (time.monotonic(), choices)
        in_background(host, _look(host))
    return [] if " " in text else choices


async def _look(host: CommandHost) -> None:
    found, _failures = await in_daemon_thread(lambda: prompts.load(_folder(host)))
    choices = tuple(Choice(one.name, note=one.title or clean_label(one.text, 60), more=True) for one in found)
    before = _known.get(_folder(host), (0.0, ()))[1]
    _known[_folder(host)] = (time.monotonic(), choices)
    if choices != before:
        host.composer.look_again()


def template(host: CommandHost, text: str) -> None:
    """Fill in a template's blanks and put it into the composer; what stands behind its name is `{{selection}}`."""
    name, _space, selection = text.partition(" ")
    in_background(host, _template(host, name, selection.strip()))


async def _template(host: CommandHost, name: str, selection: str) -> None:
    found, failures = await in_daemon_thread(lambda: prompts.load(_folder(host)))
    for failure in failures[:_SAID]:
        host.fail(failure)
    if not found:
        host.say(f"There are no prompts in {clean_name(str(_folder(host)), 120)}. A file NAME.md there is /template NAME.")
        return
    if not name:
        choices = [(one.name, one.name, one.title or clean_label(one.text, 60)) for one in found]
        picked = await host.app.push_screen_wait(ChoiceDialog("Prompts of your own", choices))
        if picked is None:
            return
        name = picked
    chosen = next((one for one in found if one.name == name), None)
    if chosen is None:
        near = nearest(name, [one.name for one in found])
        host.say(f"There is no prompt {clean_label(name, 60)}. {f'Did you mean {near}?' if near else '/template lists them.'}", error=True)
        return
    values: dict[str, str] = {}
    for blank in chosen.blanks:
        value = await host.app.push_screen_wait(InputDialog(f"{chosen.name}: {blank.name}", blank.default, hint="esc takes nothing"))
        if value is None:
            return
        values[blank.name] = value
    host.composer.fill(prompts.fill(chosen, values, date=time.strftime("%Y-%m-%d"), selection=selection))
    host.composer.focus()
