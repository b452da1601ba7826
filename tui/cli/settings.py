"""config: the configuration file and its values."""

from __future__ import annotations

import os

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, emit, line, message, report
from tui.config.example import render_example
from tui.config.paths import make_private
from tui.text import clean_name


async def config(context: Context) -> int:
    """Where it is, what it says, whether it is right; and changing it."""
    verb, key, value = context.args.verb, context.args.key, context.args.value
    if verb in ("get", "set") and (key is None or (verb == "set" and value is None)):
        message(f"Which one? paddock config {verb} KEY{' VALUE' if verb == 'set' else ''}.")
        return USAGE
    if verb == "get":
        return _print(context, {"key": key, "value": context.config.shown(key), "source": context.config.source(key)}, "value")
    if verb == "set":
        context.allow("Changing the settings", destructive=False)
        note = context.config.set(key, value)
        if note:
            message(f"{note}.")
        return _print(context, {"key": key, "value": context.config.shown(key), "source": context.config.source(key)}, "")
    if verb == "path":
        return _print(context, {"path": clean_name(str(context.paths.config_file), 4096)}, "path")
    return {"init": _init, "check": _check, "show": _show}[verb](context)


def _print(context: Context, found: dict[str, str], key: str) -> int:
    if context.json:
        emit(found)
    elif key:
        line(found[key])
    return DONE


def _init(context: Context) -> int:
    context.allow("Writing the settings")
    path = context.paths.config_file
    make_private(path.parent)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        message(f"{clean_name(str(path))} is there already and was left as it is.")
        return FAILED
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(render_example())
    return _print(context, {"path": clean_name(str(path), 4096)}, "path")


def _check(context: Context) -> int:
    problems = context.config.problems.value
    wrong = any(not problem.warning for problem in problems)
    if context.json:
        emit({"ok": not wrong, "problems": problems})
    else:
        for problem in problems:
            report(problem.failure())
        if not problems:
            line("The configuration is right.")
    return USAGE if wrong else DONE


def _show(context: Context) -> int:
    values = []
    for field in context.config.fields():
        if field.section == "providers.NAME":
            continue
        key = f"{field.section}.{field.key}"
        values.append({"key": key, "value": context.config.shown(key), "source": context.config.source(key)})
    template = [field.key for field in context.config.fields() if field.section == "providers.NAME"]
    for name in context.settings.providers:
        for part in template:
            key = f"providers.{name}.{part}"
            values.append({"key": key, "value": context.config.shown(key), "source": context.config.source(key)})
    if context.json:
        emit({"settings": values})
    else:
        for item in values:
            line(f"{item['key']} = {item['value']}  # {item['source']}")
    return DONE
