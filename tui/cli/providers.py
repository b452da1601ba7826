"""providers: list, add, remove, test, start, stop, logs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from tui.cli.context import Context
from tui.cli.output import DONE, FAILED, USAGE, block, emit, line, message, report, table
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Endpoint
from tui.providers.address import parse
from tui.services.servers import ServerJobs
from tui.text import clean_name, duration


async def providers(context: Context) -> int:
    """List the servers, or work on one."""
    verb, what = context.args.verb, context.args.what
    if verb is None:
        return await _list(context)
    if not what:
        message(f"Which one? paddock providers {verb} {'URL' if verb == 'add' else 'NAME'}.")
        return USAGE
    return await {"add": _add, "remove": _remove, "test": _test, "start": _start, "stop": _stop, "logs": _logs}[verb](context, what)


async def _facts(context: Context, endpoint: Endpoint) -> tuple[dict[str, Any], Failure | None]:
    facts: dict[str, Any] = {"name": endpoint.name, "kind": endpoint.kind, "url": endpoint.url, "ok": True, "version": "", "latency": None}
    try:
        health = await context.connect(endpoint).check()
    except PaddockError as error:
        return {**facts, "ok": False, "failure": error.failure}, error.failure
    return {**facts, "version": health.version, "latency": health.latency, "loading": health.loading}, None


async def _list(context: Context) -> int:
    known = await context.endpoints()
    known += await context.discovered(known)
    found = await asyncio.gather(*(_facts(context, endpoint) for endpoint in known))
    if context.json:
        emit({"providers": [facts for facts, _ in found]})
        return DONE
    rows = [
        (
            facts["name"], facts["kind"], facts["url"], facts["version"],
            duration(facts["latency"]) if failure is None else failure.what,
        )
        for facts, failure in found
    ]  # fmt: skip
    table(("NAME", "KIND", "URL", "VERSION", "ANSWERS"), rows)
    return DONE


async def _add(context: Context, what: str) -> int:
    context.allow("Adding a provider")
    endpoint = await context.by_address(what)
    name = context.args.name or endpoint.kind
    number = 1
    while not context.args.name and name in context.settings.providers:
        number += 1
        name = f"{endpoint.kind}-{number}"
    context.config.set_provider(name, {"kind": endpoint.kind, "url": endpoint.url})
    return _said(context, f"{name} is {endpoint.url}.", name)


async def _remove(context: Context, what: str) -> int:
    context.allow("Removing a provider")
    if what not in context.settings.providers:
        raise _unknown(what)
    context.config.remove_provider(what)
    return _said(context, f"{clean_name(what)} is no longer in the settings.", what)


async def _endpoint(context: Context, name: str) -> Endpoint:
    known = await context.endpoints()
    for endpoint in known:
        if endpoint.name == name:
            return endpoint
    for endpoint in await context.discovered(known):
        if endpoint.name == name:
            return endpoint
    raise _unknown(name)


async def _test(context: Context, what: str) -> int:
    facts, failure = await _facts(context, await _endpoint(context, what))
    if context.json:
        emit(facts)
    if failure is not None:
        return report(failure)
    if not context.json:
        line(f"{facts['name']} answers in {duration(facts['latency'])}, version {facts['version'] or 'unknown'}.")
    return DONE


async def _start(context: Context, what: str) -> int:
    context.allow("Starting a server")
    endpoint = await _endpoint(context, what)
    program = shutil.which("ollama")
    if endpoint.kind != "ollama" or program is None:
        raise PaddockError.of(
            "Paddock cannot start this server", endpoint.name, "Start it yourself; only ollama is known", FailureKind.UNSUPPORTED
        )
    address = parse(endpoint.url)
    jobs = context.jobs()
    await ServerJobs(context.database()).start(endpoint.name, program, f"{address.host}:{address.port}")
    await jobs.ensure_worker()
    return _said(context, f"{endpoint.name} is being started; see paddock providers test {endpoint.name}.", endpoint.name)


async def _stop(context: Context, what: str) -> int:
    context.allow("Stopping a server", destructive=True)
    servers = ServerJobs(context.database())
    servers.refresh()
    if what not in [row.name for row in servers.view.value]:
        raise PaddockError.of(
            "Paddock did not start that server", clean_name(what, 80), "Stop it where it was started", FailureKind.NOT_FOUND
        )
    await servers.stop(what)
    await context.jobs().ensure_worker()
    return _said(context, f"{clean_name(what)} is being stopped.", what)


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
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - 65_536))
        return file.read().decode("utf-8", "replace")


def _unknown(name: str) -> PaddockError:
    return PaddockError.of("There is no provider of that name", clean_name(name, 80), "See paddock providers", FailureKind.CONFIG)


def _said(context: Context, text: str, name: str) -> int:
    if context.json:
        emit({"ok": True, "verb": context.args.verb, "name": name})
    else:
        message(text)
    return DONE
