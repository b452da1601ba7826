"""providers: list, add, remove, test, default, start, stop, logs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tui.cli.context import CAP, Context, address_of, late
from tui.cli.output import DASH, DONE, FAILED, NO_PROVIDER, USAGE, block, emit, line, message, report, table, wait_words
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint, Location
from tui.providers.address import display_url, is_loopback, origin, parse
from tui.providers.base import Health
from tui.providers.catalogue import kinds
from tui.providers.discovery import find
from tui.providers.ports import ollama_program
from tui.services.server_log import tail
from tui.services.servers import ServerJobs
from tui.store.meta import ServerRow
from tui.text import clean_name

START: float = 60.0
"""Seconds the worker is given to start or stop a server."""
POLL: Final = 0.1
_LONGEST_NAME: Final = 36
_TAIL: Final = 65_536


async def providers(context: Context) -> int:
    """List the servers, or work on one."""
    verb, what = context.args.verb, context.args.what
    if verb is None:
        return await _list(context)
    if not what:
        message(f"Which one? paddock providers {verb} {'URL' if verb == 'add' else 'NAME'}.")
        return USAGE
    verbs: dict[str, Callable[[Context, str], Awaitable[int]]] = {
        "add": _add, "remove": _remove, "test": _test, "default": _default, "start": _start, "stop": _stop, "logs": _logs,
    }  # fmt: skip
    return await verbs[verb](context, what)


async def check(context: Context, endpoint: Endpoint) -> Health | Failure:
    """Ask one server how it is, at most `CAP` seconds."""
    try:
        await context.trust(endpoint, "your key", only_with_key=True)
        async with asyncio.timeout(CAP):
            return await context.connect(endpoint).check()
    except PaddockError as error:
        return error.failure
    except TimeoutError:
        return late(endpoint)


async def _list(context: Context) -> int:
    known = await context.endpoints()
    found = await context.discovered(known)
    answers = await asyncio.gather(*(check(context, endpoint) for endpoint in (*known, *found)))
    default = context.settings.general.default_provider
    listed: list[dict[str, Any]] = []
    for endpoint, answer in zip((*known, *found), answers, strict=True):
        listed.append(
            {**_facts(endpoint, answer), "default": endpoint.name == default, "saved": endpoint.name in context.settings.providers}
        )
    if not context.options.demo and not context.options.provider:
        for name, one in context.settings.providers.items():
            if reason := context.silent(name):
                off = {"name": name, "kind": one.kind, "url": display_url(one.url), "ok": None, "version": "", "latency": None}
                listed.append({**off, "note": reason, "default": name == default, "saved": True})
    code = DONE if any(one["ok"] for one in listed) else NO_PROVIDER
    if context.json:
        emit({"providers": listed})
        return code
    if not listed:
        message("No providers. Start a model server, or add one with paddock providers add URL.")
        return code
    rows = [
        (
            f"{one['name']}{'' if one['saved'] or context.options.demo else ' (found)'}{' (default)' if one['default'] else ''}",
            one["kind"],
            one["url"],
            one["version"] or DASH,
            (f"in {wait_words(one['latency'])}" + (f", {one['note']}" if one["note"] else "")) if one["ok"] else one["note"],
        )
        for one in listed
    ]
    table(("NAME", "KIND", "ADDRESS", "VERSION", "ANSWERS"), rows)
    return code


def _facts(endpoint: Endpoint, answer: Health | Failure) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": endpoint.name, "kind": endpoint.kind, "url": display_url(endpoint.url)}
    if isinstance(answer, Failure):
        return {**facts, "ok": False, "version": "", "latency": None, "note": answer.what, "failure": answer}
    note = answer.note or ("loading a model" if answer.loading else "")
    return {**facts, "ok": True, "version": answer.version, "latency": answer.latency, "loading": answer.loading, "note": note}


# --- the configuration ---------------------------------------------------------------------------------------------------


async def _add(context: Context, what: str) -> int:
    context.allow("Adding a provider")
    key, kind = context.args.key, context.args.kind
    if key and not key.startswith(("env:", "file:")):
        remedy = "Put it into a variable or a file, and name that"
        raise PaddockError.of("A key does not belong on a command line, where others see it", "--key", remedy, FailureKind.CONFIG)
    if kind and kind not in kinds():
        names = ", ".join(kinds())
        raise PaddockError.of(
            f"There is no kind of server named {clean_name(kind, 40)}", "--kind", f"Use one of {names}", FailureKind.CONFIG
        )
    fields = await _looked_at(context, what) if not kind else {"kind": kind, "url": _whole(what)}
    there = next((name for name, one in context.settings.providers.items() if origin(one.url) == origin(fields["url"])), "")
    if there and not context.args.name:
        shown = display_url(fields["url"])
        raise PaddockError.of(f"{shown} is there already", f"providers.{there}", "Use it, or give another --name", FailureKind.BAD_REQUEST)
    name = context.args.name or _free_name(context, fields["url"], fields["kind"])
    if name in context.settings.providers:
        raise PaddockError.of(f"There is a provider named {name} already", "--name", "Choose another name", FailureKind.CONFIG)
    with context.audit.noting("add provider", name, url=display_url(fields["url"])):
        context.config.set_provider(name, {**fields, **({"api_key": key} if key else {})})
    label = kinds()[fields["kind"]].name
    return _said(context, f"{name} is added: {label} at {display_url(fields['url'])}.", name)


async def _looked_at(context: Context, what: str) -> dict[str, str]:
    """Kind and address of what answers there."""
    if context.offline and not is_loopback(what):
        raise PaddockError.of("Not asked: general.network is offline", clean_name(what, 100), "Change general.network", FailureKind.REFUSED)
    address_of(what)
    found = await find(what, kinds())
    if isinstance(found, Failure):
        raise PaddockError(found)
    fields = {"kind": found.kind, "url": found.url}
    return {**fields, "location": "elsewhere"} if found.location is Location.ELSEWHERE else fields


def _whole(text: str) -> str:
    address = address_of(text)
    if not address.port and address.scheme != "unix":
        raise PaddockError.of("The address has no port", clean_name(text, 100), "Write it like http://gpu2:8000", FailureKind.CONFIG)
    return address.url


def _free_name(context: Context, url: str, kind: str) -> str:
    """The host's name, or the kind for this machine and bare numbers; numbered where it is taken."""
    host = parse(url).host.split(".")[0][:_LONGEST_NAME]
    base = kind if is_loopback(url) or not host or host.isdigit() or ":" in host else host
    name, number = base, 1
    while name in context.settings.providers:
        number += 1
        name = f"{base}-{number}"
    return name


def _configured(context: Context, name: str) -> None:
    if name not in context.settings.providers:
        where = clean_name(str(context.paths.config_file))
        remedy = "See paddock providers; one that is only found goes with its server"
        raise PaddockError.of(f"There is no provider named {clean_name(name, 80)} in the settings", where, remedy, FailureKind.CONFIG)


async def _remove(context: Context, what: str) -> int:
    context.allow("Removing a provider")
    _configured(context, what)
    with context.audit.noting("remove provider", what):
        context.config.remove_provider(what)
        if context.settings.general.default_provider == what:
            context.config.unset("general.default_provider")
            message("It was the default; now the first that answers is.")
    return _said(context, f"{what} is no longer in the settings.", what)


async def _default(context: Context, what: str) -> int:
    context.allow("Choosing the default")
    endpoint = await context.named(what)
    with context.audit.noting("default provider", what):
        if what not in context.settings.providers:
            # One that was found is saved first, so that its name stays.
            context.config.set_provider(what, {"kind": endpoint.kind, "url": endpoint.url})
        note = context.config.set("general.default_provider", what)
    if note:
        message(f"{note}.")
    return _said(context, f"{what} is the default provider.", what)


async def _test(context: Context, what: str) -> int:
    endpoint = await context.named(what)
    answer = await check(context, endpoint)
    if context.json:
        emit(_facts(endpoint, answer))
    if isinstance(answer, Failure):
        return report(answer)
    if not context.json:
        busy = f"; {answer.note or 'it is loading a model'}" if answer.loading or answer.note else ""
        line(f"{endpoint.name} answers in {wait_words(answer.latency)}, version {answer.version or 'unknown'}{busy}.")
    return DONE


# --- servers of our own --------------------------------------------------------------------------------------------------


async def _start(context: Context, what: str) -> int:
    context.allow("Starting a server")
    known = {endpoint.name: endpoint for endpoint in await context.endpoints()}
    endpoint = known.get(what) or (
        Endpoint("ollama", "ollama", "http://127.0.0.1:11434") if what == "ollama" else await context.named(what)
    )
    if endpoint.kind != "ollama" or not is_loopback(endpoint.url):
        where = display_url(endpoint.url)
        raise PaddockError.of(
            f"{endpoint.name} is not an Ollama server of this machine", where, "Start it where it runs", FailureKind.UNSUPPORTED
        )
    program = ollama_program(os.environ)
    if program is None:
        raise PaddockError.of("Ollama is not installed here", "PATH", "Install it from ollama.com", FailureKind.NOT_FOUND)
    if isinstance(await check(context, endpoint), Health):
        return _said(context, f"{endpoint.name} runs already at {display_url(endpoint.url)}.", endpoint.name)
    address = parse(endpoint.url)
    servers = ServerJobs(context.writable())
    with context.audit.noting("start server", endpoint.name, address=f"{address.host}:{address.port}"):
        await servers.start(endpoint.name, str(program), f"{address.host}:{address.port}")
        row = await _settled(context, servers, endpoint.name)
        if row is None or row.state != "running":
            why = f"{endpoint.name} did not start{f': {row.note}' if row is not None and row.note else ''}"
            raise PaddockError.of(why, display_url(endpoint.url), f"See paddock providers logs {endpoint.name}", FailureKind.SERVER)
    return _said(context, f"{endpoint.name} runs at {display_url(endpoint.url)}; it stays until paddock providers stop.", endpoint.name)


async def _stop(context: Context, what: str) -> int:
    context.allow("Stopping a server", destructive=True)
    servers = ServerJobs(context.writable())
    servers.refresh()
    if what not in [row.name for row in servers.view.value]:
        raise PaddockError.of(f"Paddock did not start {clean_name(what, 80)}", "", "Stop it where it was started", FailureKind.NOT_FOUND)
    with context.audit.noting("stop server", what):
        await servers.stop(what)
        row = await _settled(context, servers, what)
        if row is None or row.state != "stopped":
            why = f"{what} does not stop{f': {row.note}' if row is not None and row.note else ''}"
            raise PaddockError.of(why, "", f"See paddock providers logs {what}", FailureKind.SERVER)
    return _said(context, f"{what} is stopped.", what)


async def _settled(context: Context, servers: ServerJobs, name: str) -> ServerRow | None:
    """Wait until the worker has done what was wished of a server."""
    jobs, until = context.jobs(), time.monotonic() + START
    row: ServerRow | None = None
    while time.monotonic() < until:
        await jobs.ensure_worker()
        servers.refresh()
        row = next((row for row in servers.view.value if row.name == name), None)
        if row is not None and row.seen >= row.asked and row.state in ("running", "failed", "stopped"):
            return row
        await asyncio.sleep(POLL)
    return row


async def _logs(context: Context, what: str) -> int:
    path = ServerJobs(context.database(write=False)).log(what) if context.paths.database.exists() else ""
    if not path:
        message(f"There is no log of {clean_name(what, 80)}: Paddock did not start it.")
        return FAILED
    text = await asyncio.to_thread(_tail, Path(path))
    if context.json:
        emit({"name": what, "path": path, "log": text})
    else:
        block(text.rstrip("\n"))
    return DONE


def _tail(path: Path) -> str:
    data = tail(path, _TAIL + 1)  # the byte more tells that lines are missing: then the first is half a line
    return (data[1:].partition(b"\n")[2] if len(data) > _TAIL else data).decode("utf-8", "replace")


def _said(context: Context, text: str, name: str) -> int:
    if context.json:
        emit({"ok": True, "verb": context.args.verb, "name": name})
    else:
        message(text)
    return DONE
