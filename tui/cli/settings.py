"""config: the configuration file and its values."""

from __future__ import annotations

import os
import tomllib

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, block, emit, line, message, report
from tui.config.example import render_example
from tui.config.paths import make_private
from tui.text import clean_name


async def config(context: Context) -> int:
    """Where it is, what it says, whether it is right; and changing it."""
    verb, key, value = context.args.verb, context.args.key, context.args.value
    if verb in ("get", "set", "unset"):
        if key is None or (verb == "set" and value is None):
            message(f"Which one? paddock config {verb} KEY{' VALUE' if verb == 'set' else ''}.")
            return USAGE
        return _get(context, key) if verb == "get" else _change(context, verb, key, value)
    if key is not None:
        message(f"paddock config {verb} takes no key.")
        return USAGE
    if verb == "path":
        return _print(context, {"path": clean_name(str(context.paths.config_file), 4096)}, "path")
    return {"init": _init, "check": _check, "show": _show}[verb](context)


def _shown(context: Context, key: str) -> str:
    """The value as TOML; empty where nothing is set and there is no default."""
    return "" if context.config.value(key) is None else context.config.shown(key)


def _get(context: Context, key: str) -> int:
    """Text as it is, so that scripts can use it; all else as TOML."""
    shown = _shown(context, key)
    try:
        value = tomllib.loads(f"value = {shown}")["value"]
    except ValueError:
        value = shown
    if context.json:
        emit({"key": key, "value": value, "source": context.config.source(key)})
    else:
        block(value if isinstance(value, str) else shown)
    return DONE


def _change(context: Context, verb: str, key: str, value: str) -> int:
    context.allow("Changing the settings")
    with context.audit.noting("change setting" if verb == "set" else "reset setting", key):
        note = context.config.set(key, value) if verb == "set" else context.config.unset(key)
    if note:
        message(f"{note}.")
    shown = _shown(context, key)
    if context.json:
        return _get(context, key)
    message(f"{clean_name(key)} = {clean_name(shown) or '(nothing)'}{'' if verb == 'set' else f', its {context.config.source(key)}'}.")
    return DONE


def _print(context: Context, found: dict[str, str], key: str) -> int:
    if context.json:
        emit(found)
    else:
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
        return USAGE if wrong else DONE
    for problem in problems:
        report(problem.failure())
    if not problems:
        there = context.paths.config_file.exists()
        line("The configuration is right." if there else "There is no configuration file: every setting has its default.")
    return USAGE if wrong else DONE


def _show(context: Context) -> int:
    fields = context.config.fields()
    keys = [f"{field.section}.{field.key}".removesuffix(".") for field in fields if field.section != "providers.NAME"]
    template = [field.key for field in fields if field.section == "providers.NAME"]
    keys += [f"providers.{name}.{part}" for name in context.settings.providers for part in template]
    values = [{"key": key, "value": _shown(context, key), "source": context.config.source(key)} for key in keys]
    if context.json:
        emit({"settings": values})
        return DONE
    for item in values:
        line(f"{item['key']} = {item['value'] or '(not set)'}  # {item['source']}")
    return DONE
