"""The status line, for tmux and prompts: answered in a fraction of a second, without the settings' schema and the HTTP client."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tui.config.paths import Paths
    from tui.core.options import AppOptions

PATIENCE: Final = 0.8
"""Seconds the server is given."""
LIMIT: Final = 262_144
"""Bytes its answer may have."""
OLLAMA: Final = "http://127.0.0.1:11434"
_DECIDING: Final = ("PADDOCK_PROVIDERS__", "PADDOCK_GENERAL__", "PADDOCK_APPEARANCE__UNITS")
_PLAIN: Final = {
    "kind",
    "url",
    "enabled",
    "timeout",
    "retries",
    "retry_delay",
    "keep_alive",
    "location",
    "health_interval",
    "models_folder",
}
"""Keys of a provider that change nothing about how it is asked."""


class Plan(NamedTuple):
    """Whom to ask."""

    name: str
    url: str
    guessed: bool
    binary: bool


def status_line(argv: Sequence[str], options: AppOptions, demo_url: str = "") -> int | None:
    """Print the line of `status --line`; None where only the whole program can tell, which then does."""
    from tui.cli.line import form_of

    form = form_of(argv)
    if form is None or options.provider:
        return None
    from tui.config.paths import find_paths
    from tui.core.errors import PaddockError

    try:
        paths = find_paths(config=options.config, demo=options.demo)
        plan = Plan("demo", demo_url, False, False) if options.demo else make_plan(paths, os.environ)
        return None if plan is None else _ask(paths, plan, form)
    except (PaddockError, OSError):
        return None


def make_plan(paths: Paths, environ: Mapping[str, str]) -> Plan | None:
    """Whom to ask by these settings; None where they are not as simple as most are."""
    from tui.config import files

    if any(name.startswith(_DECIDING) for name in environ):
        return None
    found = files.read(paths.config_file)
    if found.refused:
        return None
    try:
        raw = tomllib.loads(found.text or "")
    except (ValueError, RecursionError):
        return None
    providers, general, look = (raw.get(name, {}) for name in ("providers", "general", "appearance"))
    if not all(isinstance(part, dict) for part in (providers, general, look)) or "network" in general:
        return None
    binary, default = look.get("units") == "binary", general.get("default_provider", "")
    if not providers:
        return None if default else _unconfigured(general.get("discover") is not False, binary, environ)
    chosen = default if default in providers else next(iter(providers)) if len(providers) == 1 else None
    one = providers.get(chosen)
    if not isinstance(one, dict) or not set(one) <= _PLAIN or one.get("kind") != "ollama" or one.get("enabled", True) is not True:
        return None
    url = one.get("url")
    return Plan(str(chosen), url, False, binary) if isinstance(url, str) and url.startswith("http://") else None


def _unconfigured(look_around: bool, binary: bool, environ: Mapping[str, str]) -> Plan | None:
    from tui.providers.address import ollama_host

    url = ollama_host(environ)
    if url:
        return Plan("ollama", url, False, binary) if url.startswith("http://") else None
    return Plan("ollama", OLLAMA, True, binary) if look_around and not environ.get("OLLAMA_HOST") else None


def _ask(paths: Paths, plan: Plan, form: str) -> int | None:
    from tui.text import clean_name, size

    try:
        running = read_loaded(get(plan.url, "/api/ps"))
    except (OSError, ValueError, RecursionError):
        running = None
    if running is None and plan.guessed:
        if _somebody_else():
            return None  # another kind of server may be there: the whole program finds out which
        return show("", False, [], pulls(paths), form)
    shown = [
        clean_name(name) if count is None else f"{clean_name(name)} {size(count, binary=plan.binary)}" for name, count in running or ()
    ]
    return show(plan.name, running is not None, shown, pulls(paths), form)


def get(url: str, path: str) -> Any:
    """The JSON a server answers with, within `PATIENCE`; over a plain socket, because asyncio takes as long to import as all else.

    Raises:
        OSError: Nobody answers, or not in time.
        ValueError: It is no whole answer of a server that speaks HTTP, or no JSON.
        PaddockError: The address is none.
    """
    import json
    import socket

    from tui.providers.address import host_port, parse

    address = parse(url)
    end = time.monotonic() + PATIENCE
    request = f"GET {address.path}{path} HTTP/1.0\r\nHost: {host_port(address.host, address.port)}\r\nAccept: application/json\r\n\r\n"
    with socket.create_connection((address.host, address.port), timeout=PATIENCE) as line:
        line.sendall(request.encode())
        data = b""
        while len(data) <= LIMIT:
            line.settimeout(max(0.001, end - time.monotonic()))
            piece = line.recv(65_536)
            data += piece
            if not piece or _whole(data):
                break
    head, _, body = data.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)
    if not _whole(data, ended=True) or not status[0].startswith(b"HTTP/1.") or status[1:2] != [b"200"]:
        raise ValueError
    return json.loads(_dechunked(body) if _CHUNKED in head.lower() else body)


_CHUNKED: Final = b"transfer-encoding: chunked"


def _whole(data: bytes, *, ended: bool = False) -> bool:
    """Whether all of an answer is there, as its length says; where it names none, its end does."""
    head, gap, body = data.partition(b"\r\n\r\n")
    if not gap or len(data) > LIMIT:
        return False
    head = head.lower()
    if _CHUNKED in head:
        return body.endswith(b"0\r\n\r\n")
    _, named, length = head.partition(b"\r\ncontent-length:")
    count = length.split(b"\r\n", 1)[0].strip()
    return len(body) >= int(count) if named and count.isdigit() else ended


def _dechunked(body: bytes) -> bytes:
    found = b""
    while body:
        count, _, rest = body.partition(b"\r\n")
        length = int(count.split(b";", 1)[0], 16)
        if length <= 0:
            break
        found, body = found + rest[:length], rest[length + 2 :]
    return found


def read_loaded(answer: Any) -> list[tuple[str, int | None]] | None:
    """Names and bytes out of an answer to `/api/ps`; None where it is none."""
    models = answer.get("models") if isinstance(answer, dict) else None
    if not isinstance(models, list):
        return None
    found = []
    for one in models:
        if isinstance(one, dict) and isinstance(name := one.get("name"), str) and name:
            count = one.get("size")
            found.append((name, count if isinstance(count, int) and count >= 0 else None))
    return found


def known_ports() -> set[int]:
    """The ports of the catalogue, read without its schema."""
    import re
    from pathlib import Path

    found = set()
    for entry in (Path(__file__).parent.parent / "catalogue").glob("*.toml"):
        if line := re.search(r"(?m)^ports = \[([\d, ]*)\]", entry.read_text("utf-8")):
            found |= {int(port) for port in line[1].split(",") if port.strip()}
    return found


def _somebody_else() -> bool:
    """Whether any other port that a model server is known for takes connections here."""
    import socket

    for port in known_ports() - {11434}:
        with socket.socket() as probe:
            probe.settimeout(0.05)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
    return False


def pulls(paths: Paths) -> dict[str, int]:
    """How many pulls are in which state."""
    if not paths.database.exists():
        return {}
    from tui.core.jobs import JobState
    from tui.store.db import Database
    from tui.store.jobs import JobTable

    database = Database(paths.database, read_only=True, network_fs=paths.network)
    try:
        jobs = JobTable(database).list()
    finally:
        database.close()
    return {state.value: number for state in JobState if (number := sum(job.state is state for job in jobs))}


def show(name: str, up: bool, loaded: Sequence[str], counts: Mapping[str, int], form: str = "") -> int:
    """Print the line; 4 where nobody answers, which a prompt or a bar has no use for."""
    from tui.cli.line import of_answer, show

    show(of_answer(name, up, loaded, counts), form)
    return 0 if up or form else 4
