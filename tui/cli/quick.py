"""The status line where nobody measures: the server is asked, with as little as that takes and none of the settings' schema."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from tui.core.options import AppOptions

PATIENCE = 0.8
"""Seconds the server is given."""
LIMIT = 262_144
"""Bytes its answer may have."""
OLLAMA = "http://127.0.0.1:11434"
STATES = ("waiting", "fetching", "checking", "done", "paused", "failed", "cancelled", "interrupted")
"""Those of `core.jobs.JobState`, which costs 15 ms."""
_CONFIG_LIMIT = 1_000_000
_CHUNKED = b"transfer-encoding: chunked"
_DECIDING = ("PADDOCK_PROVIDERS__", "PADDOCK_GENERAL__", "PADDOCK_APPEARANCE__UNITS")
_PLAIN = {
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


class Plan:
    """Whom to ask: a name, an address, whether nobody named it, and whether sizes are binary."""

    def __init__(self, name: str, url: str, guessed: bool, binary: bool) -> None:
        self.name, self.url, self.guessed, self.binary = name, url, guessed, binary


def status_line(argv: Sequence[str], options: AppOptions, demo_url: str = "") -> int | None:
    """Print the line of `status --line`; None where only the whole program can tell, which then does."""
    if options.provider:
        return None
    return answer(argv, config=str(options.config or ""), demo_url=demo_url if options.demo else "")


def answer(argv: Sequence[str], *, config: str = "", demo_url: str = "") -> int | None:
    """The same, without options being read first.

    Args:
        argv: What stands behind `status`.
        config: What `--config` said.
        demo_url: The demo server's address, where it is about that.
    """
    from tui.cli.line import form_of
    from tui.core.places import folders

    form = form_of(argv)
    if form is None:
        return None
    data, _state, file = folders(os.environ, demo=bool(demo_url), config=config)
    try:
        plan = Plan("demo", demo_url, False, False) if demo_url else make_plan(file, os.environ)
        return None if plan is None else _ask(data, plan, form)
    except OSError:
        return None


def make_plan(file: str, environ: Mapping[str, str]) -> Plan | None:
    """Whom to ask by the settings of a file; None where they are not as simple as most are."""
    if any(name.startswith(_DECIDING) for name in environ):
        return None
    text = _config(file)
    if text is None:
        return None
    raw: dict[str, Any] = {}
    if text:
        import tomllib

        try:
            raw = tomllib.loads(text)
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
    return Plan(str(chosen), url, False, binary) if isinstance(url, str) and target(url) else None


def _config(file: str) -> str | None:
    """The configuration's text, empty where there is none; None for what the whole program should tell about."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None if os.path.islink(file) else ""  # noqa: PTH114 - pathlib is dear
    except (OSError, ValueError):
        return None
    with os.fdopen(handle, "rb") as stream:
        if os.fstat(handle).st_mode & 0o170000 != 0o100000:
            return None
        data = stream.read(_CONFIG_LIMIT + 1)
    try:
        return None if len(data) > _CONFIG_LIMIT else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _unconfigured(look_around: bool, binary: bool, environ: Mapping[str, str]) -> Plan | None:
    named = environ.get("OLLAMA_HOST", "")
    if not named:
        return Plan("ollama", OLLAMA, True, binary) if look_around else None
    if target(named):
        return Plan("ollama", named, False, binary)
    if target(f"http://{named}"):
        return Plan("ollama", f"http://{named}" if ":" in named.rpartition("]")[2] else f"http://{named}:11434", False, binary)
    from tui.providers.address import ollama_host

    url = ollama_host(environ)
    return Plan("ollama", url, False, binary) if url and target(url) else None


def target(url: str) -> tuple[str, int] | None:
    """Host and port of a plain address; None for any other."""
    import re

    found = re.fullmatch(r"http://(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?/?", url)
    if found is None or not 0 < (port := int(found[3] or 80)) < 65_536:
        return None
    host = found[1] or found[2]
    return ("127.0.0.1" if host in ("0.0.0.0", "::") else host), port


def _ask(data: str, plan: Plan, form: str) -> int | None:
    from tui.cli.line import clean, size

    try:
        running = read_loaded(get(plan.url, "/api/ps"))
    except (OSError, ValueError, RecursionError):
        running = None
    if running is None and plan.guessed:
        if _somebody_else():
            return None  # another kind of server may be there: the whole program finds out which
        return show("", False, [], pulls(data), form)
    base = 1024.0 if plan.binary else 1000.0
    shown = [clean(name, 80) if count is None else f"{clean(name, 80)} {size(count, base)}" for name, count in running or ()]
    return show(clean(plan.name), running is not None, shown, pulls(data), form)


def get(url: str, path: str) -> Any:
    """The JSON a server answers with, within `PATIENCE`; over a plain socket, because asyncio takes as long to import as all else.

    Raises:
        OSError: Nobody answers, or not in time.
        ValueError: It is no whole answer of a server that speaks HTTP, or no JSON.
    """
    import json
    import socket

    there = target(url)
    if there is None:
        raise ValueError
    host, port = there
    end = time.monotonic() + PATIENCE
    named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"GET {path} HTTP/1.0\r\nHost: {named}\r\nAccept: application/json\r\n\r\n"
    with socket.create_connection(there, timeout=PATIENCE) as line:
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

    found = set()
    for entry in os.scandir(os.path.join(os.path.dirname(os.path.dirname(__file__)), "catalogue")):  # noqa: PTH118, PTH120
        if entry.name.endswith(".toml"):
            with open(entry, encoding="utf-8") as file:  # noqa: PTH123
                if line := re.search(r"(?m)^ports = \[([\d, ]*)\]", file.read()):
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


def pulls(data: str) -> dict[str, int]:
    """How many pulls are in which state.

    Raises:
        OSError: The database is elsewhere or cannot be read; the whole program tells.
    """
    file = f"{data}/paddock.db"
    if os.path.isdir(f"{data}/hosts"):  # noqa: PTH112 - each machine has its own
        raise OSError
    if not os.path.exists(file):  # noqa: PTH110
        return {}
    import sqlite3

    quoted = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        connection = sqlite3.connect(f"file:{quoted}?mode=ro", uri=True, timeout=0.2)
        try:
            found = dict(connection.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OSError from error
    return {state: found[state] for state in STATES if state in found}


def show(name: str, up: bool, loaded: Sequence[str], counts: Mapping[str, int], form: str = "") -> int:
    """Print the line; 4 where nobody answers, which a prompt or a bar has no use for."""
    from tui.cli.line import of_answer, show

    show(of_answer(name, up, loaded, counts), form)
    return 0 if up or form else 4
