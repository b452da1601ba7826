"""Finding servers: which known ports of this machine answer, as what; and what an address typed by a person leads to.

Only GETs, one connection each, no key and no prompt; a key goes along only to an address that the caller gives one for.
A closed port is known at once; one that takes connections is named or given up within `GIVE_UP` seconds.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.models import Location, ProviderStatus
from tui.core.record import record
from tui.core.threads import in_daemon_thread
from tui.providers import probe
from tui.providers.address import (
    Address,
    candidates,
    display_place,
    is_loopback,
    ollama_host,
    origin,
    parse,
    port_name,
    ssh_command,
)
from tui.providers.catalogue import Kind, default_ports, kinds
from tui.providers.fingerprint import MISSING, betrayed, dig, entries, judge, matches, questions
from tui.providers.ports import Holder, holders
from tui.providers.probe import Reply
from tui.text import clean_label, clean_name

CONNECT: Final = 0.4
"""Seconds for a loopback port to take a connection."""
CONNECT_FAR: Final = 3.0
GIVE_UP: Final = 5.0
_PORT_NAMES: Final = 2
_PORTS_NAMED: Final = 4


class FoundState(StrEnum):
    """How far the look at one port has come, and with what result."""

    IDENTIFYING = "identifying"  # it takes connections
    UP = "up"
    LOADING = "loading"  # identified, and loading its model
    STARTING = "starting"  # its process is known and does not answer yet
    NEEDS_KEY = "needs a key"
    REFUSED = "refused"  # identified; it refuses our host name
    UNKNOWN = "unknown"  # given up: not a model server, or silent


_BUSY: Final = frozenset({FoundState.IDENTIFYING, FoundState.LOADING, FoundState.STARTING})


@record(frozen=True)
class Identity:
    """What answers at an address; texts are cleaned.

    Attributes:
        kind: Id of the catalogue, empty where not identified.
        failure: Why not, or what it refuses.
        models: Length of its list, None where it gave none.
        latency: Seconds of the first answer, None where there was none.
    """

    kind: str
    version: str = ""
    state: FoundState = FoundState.UNKNOWN
    failure: Failure | None = None
    models: int | None = None
    latency: float | None = None

    @property
    def reason(self) -> str:
        """The failure in a sentence, or empty."""
        return self.failure.what if self.failure else ""


@record(frozen=True)
class Found:
    """A server, or a port still being looked at.

    Attributes:
        kind: Id of the catalogue, empty while not identified.
        label: `Ollama 0.24.0`.
        holder: Who holds the port, where it is of this machine and visible.
        owner: The same in words.
        listens_wide: Reachable from outside; None where not known.
        child_of: Name of the server that runs this one for itself, or empty.
        from_environment: It is what OLLAMA_HOST names.
    """

    url: str
    kind: str = ""
    version: str = ""
    label: str = ""
    state: FoundState = FoundState.IDENTIFYING
    failure: Failure | None = None
    models: int | None = None
    latency: float | None = None
    holder: Holder | None = None
    owner: str = ""
    listens_wide: bool | None = None
    child_of: str = ""
    from_environment: bool = False

    @property
    def status(self) -> ProviderStatus:
        """For the list of providers; what a found server refuses is in `failure`."""
        if self.state in _BUSY:
            return ProviderStatus.BUSY
        return ProviderStatus.FOUND if self.kind else ProviderStatus.FAILED

    @property
    def location(self) -> Location:
        """Where it runs; behind a tunnel only the user knows."""
        if self.holder is not None and self.holder.is_ssh_tunnel:
            return Location.ASK
        return Location.HERE if is_loopback(self.url) else Location.ELSEWHERE


@record(frozen=True)
class Discovery:
    """The result of a look around.

    Attributes:
        ports: Looked at, in the order they are named.
        looked_at: The same in words: `127.0.0.1:11434 (Ollama), :8080 (llama.cpp), :1234, :8000 and 9 more ports`.
        found: Identified ones, in the order of the ports.
        unknown: Ports that take connections and were given up.
        elapsed: Seconds.
        environment: OLLAMA_HOST is set and leads nowhere.
    """

    ports: tuple[int, ...]
    looked_at: str
    found: tuple[Found, ...]
    unknown: tuple[Found, ...]
    elapsed: float
    environment: Failure | None = None


# --- identifying -------------------------------------------------------------------------------------------------------


class _Session:
    """The questions to one address: each path is asked once; what failed is remembered as no answer."""

    def __init__(self, address: Address, headers: Mapping[str, str], verify: bool | str) -> None:
        self.address = address
        self._headers = headers
        self._verify = verify
        self._seen: dict[tuple[str, int], Reply | None] = {}

    async def first(self, path: str) -> Reply:
        """As `ask`, but raises."""
        reply = await probe.get(self.address, path, headers=self._headers, verify=self._verify)
        self._seen[path, 0] = reply
        return reply

    def asked(self, path: str) -> bool:
        return (path, 0) in self._seen

    async def ask(self, path: str, port: int = 0) -> Reply | None:
        if (path, port) not in self._seen:
            # Another port is another origin: no key goes there.
            target, headers = (replace(self.address, port=port, path=""), {}) if port else (self.address, self._headers)
            try:
                self._seen[path, port] = await probe.get(target, path, headers=headers, verify=self._verify)
            except PaddockError:
                self._seen[path, port] = None
        return self._seen[path, port]


async def identify(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = GIVE_UP,
    verify: bool | str = True,
    catalogue: Mapping[str, Kind] | None = None,
) -> Identity:
    """Find out what answers at an address. Never raises for what the server does.

    Args:
        url: In normal form or as typed with scheme and port.
        headers: Sent with every question to this very address: the key the user gave for it.
        timeout: Seconds for all questions together.
        verify: For https, as `probe.get`.
        catalogue: The kinds to tell apart.
    """
    known = kinds() if catalogue is None else catalogue
    try:
        address = parse(url)
        session = _Session(address, headers or {}, verify)
        async with asyncio.timeout(timeout):
            return await _identify(session, known)
    except PaddockError as error:
        return Identity("", failure=error.failure)
    except TimeoutError:
        place = display_place(url)
        what = f"{place} was not identified in {timeout:.0f} s"
        return Identity("", failure=Failure(what, place, "Add it with its kind written out", FailureKind.TIMEOUT))


async def _identify(session: _Session, known: Mapping[str, Kind]) -> Identity:
    reply = await session.first("/v1/models")
    verdict = judge(reply, known)
    kind = verdict.kind if verdict else None
    if verdict is None or not verdict.sure:
        kind = await _decide(session, known, verdict.suspects if verdict else ())
    if kind is None and session.address.path and entries(_json(await session.ask("/models"))) is not None:
        kind = known.get("openai")
    if kind is None:
        return Identity("", failure=_unidentified(reply, await session.ask("/"), session.address), latency=reply.seconds)
    listed = entries(reply.json()) if reply.status == 200 else None
    version = await _version(session, kind)
    state, failure = _state(reply, kind, session.address)
    return Identity(kind.id, version, state, failure, None if listed is None else len(listed), reply.seconds)


async def _decide(session: _Session, known: Mapping[str, Kind], suspects: tuple[Kind, ...]) -> Kind | None:
    """Step 2: a few more questions, in the order for this port."""
    strict = [kind for kind in known.values() if kind.fingerprint.needs]
    if suspects and suspects[0].id == "openai":
        for kind in strict:
            if (proved := await _needs(session, kind, known)) is not None:
                return proved
        return suspects[0]
    for question in questions(session.address.port, known, suspects):
        reply = await session.ask(question.path, question.port)
        if reply is None:
            continue
        if (traitor := betrayed(reply, known)) is not None:
            return traitor
        for kind, wanted in question.proves:
            if not matches(wanted.expect, reply):
                continue
            proved = await _needs(session, kind, known) if kind.fingerprint.needs else kind
            if proved is not None:
                return proved
    return await _imitator(session, strict, suspects, known)


async def _needs(session: _Session, kind: Kind, known: Mapping[str, Kind]) -> Kind | None:
    """This kind where all its needs hold and no imitator shows itself, else that imitator, else None."""
    for need in kind.fingerprint.needs:
        reply = await session.ask(need.path)
        if reply is None or not matches(need.expect, reply):
            return None
    others = [known[name] for name in kind.fingerprint.unless if name in known]
    paths = {wanted.path for other in others for wanted in other.fingerprint.probes}
    await asyncio.gather(*(session.ask(path) for path in paths))
    for other in others:
        for wanted in other.fingerprint.probes:
            reply = await session.ask(wanted.path)
            if reply is not None and matches(wanted.expect, reply):
                return other
    return kind


async def _imitator(session: _Session, strict: list[Kind], suspects: tuple[Kind, ...], known: Mapping[str, Kind]) -> Kind | None:
    """A server that answers like a strict kind in part only: the version it claims tells who it is."""
    for kind in strict:
        for need in kind.fingerprint.needs:
            if not need.version or not (kind in suspects or session.address.port in kind.ports or session.asked(need.path)):
                continue
            reply = await session.ask(need.path)
            claimed = dig(reply.json(), need.version) if reply is not None else MISSING
            for other in known.values():
                if other.fingerprint.imitates and other.fingerprint.imitates == claimed:
                    return other
    return None


async def _version(session: _Session, kind: Kind) -> str:
    sources = [(wanted.path, wanted.version) for wanted in (*kind.fingerprint.needs, *kind.fingerprint.probes) if wanted.version]
    if kind.fingerprint.version is not None:
        sources.insert(0, (kind.fingerprint.version.path, kind.fingerprint.version.key))
    for path, key in sources[:1]:
        found = dig(_json(await session.ask(path)), key)
        if isinstance(found, str):
            return clean_label(found, 40)
    return ""


def _json(reply: Reply | None) -> Any:
    return None if reply is None else reply.json()


def _state(reply: Reply, kind: Kind, address: Address) -> tuple[FoundState, Failure | None]:
    place = display_place(address.url)
    if reply.status == 401 and kind.id == "gpt4all":
        remedy = "Switch on its local API server in its settings"
        return FoundState.REFUSED, Failure(
            f"{kind.name} at {place} has its server switched off", place, remedy, FailureKind.FORBIDDEN, status=401
        )
    if reply.status == 401 or (reply.status == 403 and "host" not in reply.text.lower()):
        what = f"{kind.name} at {place} needs a key ({reply.status})"
        return FoundState.NEEDS_KEY, Failure(what, place, "Add the key to this provider", FailureKind.AUTH, status=reply.status)
    if reply.status in (400, 403):
        what = f"{kind.name} at {place} refused the host name ({reply.status})"
        return FoundState.REFUSED, Failure(
            what, place, "Write the address as 127.0.0.1, or allow this name there", FailureKind.FORBIDDEN, status=reply.status
        )
    return (FoundState.LOADING if reply.status == 503 else FoundState.UP), None


def _unidentified(reply: Reply, root: Reply | None, address: Address) -> Failure:
    place = display_place(address.url)
    for answer in (reply, root):
        if answer is not None and answer.status in (301, 302, 303, 307, 308):
            target = clean_name(answer.headers.get("location", ""), 120)
            what = f"{place} points elsewhere ({target or 'it does not say where'})"
            return Failure(what, place, "Add that address if you trust it", FailureKind.REDIRECT, status=answer.status)
    if reply.status in (401, 403):
        if reply.status == 403 and not reply.body:
            remedy = "Write the address as 127.0.0.1 or localhost; a server on loopback accepts only local names"
            return Failure(f"{place} refused the host name (403)", place, remedy, FailureKind.FORBIDDEN, status=403)
        return Failure(
            f"{place} needs a key ({reply.status})", place, "Add it with its kind and its key", FailureKind.AUTH, status=reply.status
        )
    page = (root.text if root is not None else reply.text)[:4096].lower()
    if "<html" in page or "<!doctype html" in page:
        named = " (Gradio)" if "gradio" in page else ""
        return Failure(f"{place} is a web page{named}, not a model server", place, "Write the address of its API", FailureKind.PROTOCOL)
    if reply.status in (502, 503, 504):
        return Failure(
            f"{place} is not ready ({reply.status})",
            place,
            "Wait if it is starting, else look at its log",
            FailureKind.LOADING,
            status=reply.status,
        )
    what = f"{place} answers, but not as a model server we know ({reply.status})"
    return Failure(what, place, "Check the port, or add it as kind openai", FailureKind.PROTOCOL, status=reply.status)


# --- looking around ------------------------------------------------------------------------------------------------------


async def discover(
    catalogue: Mapping[str, Kind],
    *,
    known: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    on_found: Callable[[Found], None] = lambda found: None,
    ports: tuple[int, ...] | None = None,
) -> Discovery:
    """Look at the catalogue's ports of this machine, all at once, and at what OLLAMA_HOST names.

    Args:
        catalogue: The kinds.
        known: URLs of configured servers: not asked, somebody else watches them.
        environ: For OLLAMA_HOST.
        on_found: Told when a port takes a connection (IDENTIFYING) and again when it is named or given up (UNKNOWN).
        ports: Instead of the catalogue's.
    """
    started = time.monotonic()
    looked = default_ports(catalogue) if ports is None else ports
    taken = {_same_place(url) for url in known}
    wanted = ollama_host(environ or {})
    tasks = [_look(catalogue, port, on_found) for port in looked if ("loopback", port) not in taken]
    outside = wanted if wanted and _same_place(wanted) not in {*taken, *(("loopback", port) for port in looked)} else None
    if outside:
        tasks.append(_look_at(catalogue, outside, on_found))
    results = [found for found in await asyncio.gather(*tasks) if found is not None]
    if wanted:
        results = [replace(found, from_environment=_same_place(found.url) == _same_place(wanted)) for found in results]
    named = tuple(found for found in results if found.kind)
    answered = {_same_place(found.url) for found in named} | taken
    return Discovery(
        looked,
        _in_words(looked, catalogue),
        named,
        tuple(found for found in results if not found.kind),
        time.monotonic() - started,
        _environment_failure(environ or {}, wanted, results) if not wanted or _same_place(wanted) not in answered else None,
    )


def _same_place(url: str) -> tuple[str, int]:
    """What makes two addresses of this machine one."""
    try:
        address = parse(url)
    except PaddockError:
        return url, 0
    return ("loopback" if is_loopback(url) and address.scheme != "unix" else origin(url), address.port)


def _in_words(ports: tuple[int, ...], catalogue: Mapping[str, Kind]) -> str:
    parts = []
    for index, port in enumerate(ports[:_PORTS_NAMED]):
        name = port_name(port, catalogue) if index < _PORT_NAMES else ""
        parts.append(f"{'127.0.0.1' if index == 0 else ''}:{port}" + (f" ({name})" if name else ""))
    more = len(ports) - len(parts)
    return ", ".join(parts) + (f" and {more} more port{'s' if more > 1 else ''}" if more else "")


def _environment_failure(environ: Mapping[str, str], wanted: str | None, results: list[Found]) -> Failure | None:
    value = clean_name(re.sub(r"^(.*//)?[^/@]*@", r"\1", environ.get("OLLAMA_HOST", "").strip()), 80)
    if not value:
        return None
    remedy = "Correct or unset it, or start that server"
    if wanted is None:
        return Failure(f"OLLAMA_HOST={value} is not an address", "OLLAMA_HOST", remedy, FailureKind.BAD_REQUEST)
    why = next((found.failure for found in results if found.failure and _same_place(found.url) == _same_place(wanted)), None)
    if why is None or "refused the connection" in why.what:
        return Failure(f"OLLAMA_HOST={value} refused the connection", "OLLAMA_HOST", remedy, FailureKind.UNREACHABLE)
    return Failure(f"OLLAMA_HOST={value}: {why.what}", "OLLAMA_HOST", why.remedy or remedy, why.kind)


async def _look(catalogue: Mapping[str, Kind], port: int, on_found: Callable[[Found], None]) -> Found | None:
    """One port of this machine, None where it is closed; [::1] only where 127.0.0.1 is closed."""
    for host in ("127.0.0.1", "::1"):
        address = Address("http", host, port)
        if not await _takes_connections(address, CONNECT / 2):
            continue
        on_found(Found(address.url))
        identity, held = await asyncio.gather(identify(address.url, catalogue=catalogue), held_by(address.url))
        found = _found(address.url, identity, held, catalogue)
        on_found(found)
        return found
    return None


async def _look_at(catalogue: Mapping[str, Kind], url: str, on_found: Callable[[Found], None]) -> Found:
    """An address outside the usual ports."""
    identity = await identify(url, catalogue=catalogue)
    found = _found(url, identity, await held_by(url), catalogue)
    if found.kind:
        on_found(found)
    return found


async def _takes_connections(address: Address, timeout: float) -> bool:
    try:
        (await probe.connect(address, timeout)).close()
    except PaddockError:
        return False
    return True


async def held_by(url: str) -> Holder | None:
    """Who holds the local port of an address; None for other machines, and where the look hangs or tells nothing."""
    address = parse(url)
    if address.scheme == "unix" or not is_loopback(url):
        return None
    host = "::1" if ":" in address.host else "127.0.0.1"
    try:
        async with asyncio.timeout(GIVE_UP):
            return (await in_daemon_thread(lambda: holders((address.port,), host=host))).get(address.port)
    except (OSError, TimeoutError):
        return None


def _found(url: str, identity: Identity, held: Holder | None, catalogue: Mapping[str, Kind]) -> Found:
    kind, state = catalogue.get(identity.kind), identity.state
    by_process = _kind_of(held.command, catalogue) if held else None
    if (
        kind is None
        and by_process is not None
        and identity.failure
        and identity.failure.kind in (FailureKind.TIMEOUT, FailureKind.PROTOCOL)
    ):
        kind, state = by_process, FoundState.STARTING
    if kind is not None and by_process is not None and kind.id == "llamacpp" and by_process.family == "llamacpp":
        kind = by_process
    parent = _kind_of(held.parent, catalogue) if held else None
    child_of = parent.name if kind and parent and parent.children and parent.id != kind.id else ""
    return Found(
        url,
        kind.id if kind else "",
        identity.version,
        f"{kind.name} {identity.version}".strip() if kind else "",
        state,
        identity.failure,
        identity.models,
        identity.latency,
        held,
        held.words() if held else "",
        held.listens_wide if held else None,
        child_of,
    )


def _kind_of(command: str, catalogue: Mapping[str, Kind]) -> Kind | None:
    """The kind whose process pattern a command line matches."""
    if not command:
        return None
    return next((kind for kind in catalogue.values() for pattern in kind.process if re.search(pattern, command)), None)


# --- an address typed by a person ------------------------------------------------------------------------------------------


async def find(
    text: str,
    catalogue: Mapping[str, Kind],
    *,
    headers: Mapping[str, str] | None = None,
    verify: bool | str = True,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Found | Failure:
    """Find the server that a typed text means; a bare host is tried on every known port.

    Args:
        text: A host, host:port, URL or unix:// path.
        catalogue: The kinds.
        headers: The key that was typed along with the address; sent to that address only, and never to guessed ports.
        verify: For https.
        on_progress: Told which address is being identified.
    """
    try:
        typed = parse(text)
        tries = candidates(text, catalogue)
        if typed.scheme != "unix":
            await probe.resolve(typed.host, typed.port)
    except PaddockError as error:
        return error.failure
    sent = headers if typed.port_given or typed.scheme_given else None
    outcomes = await asyncio.gather(*(_connects(parse(one.url)) for one in tries))
    answers: list[Failure] = []
    for one, outcome in zip(tries, outcomes, strict=True):
        if outcome is not None:
            continue
        on_progress(display_place(one.url))
        identity = await identify(one.url, headers=sent, verify=verify, catalogue=catalogue)
        if identity.kind:
            return _found(one.url, identity, await held_by(one.url), catalogue)
        if identity.failure is not None:
            answers.append(identity.failure)
    return _nothing(typed, tries[0].url, [*answers, *(outcome for outcome in outcomes if outcome is not None)], len(tries))


async def _connects(address: Address) -> Failure | None:
    try:
        (await probe.connect(address, CONNECT if is_loopback(address.url) else CONNECT_FAR)).close()
    except PaddockError as error:
        return error.failure
    return None


def _tells_less(failure: Failure) -> int:
    """Order of failures: what a server said, then that it speaks something else, then that it says nothing."""
    if failure.kind in (FailureKind.UNREACHABLE, FailureKind.TIMEOUT):
        return 2
    return int("does not speak" in failure.what or "closed the connection" in failure.what)


def _nothing(typed: Address, first: str, failures: list[Failure], tried: int) -> Failure:
    """Why no server was found, with the remedy that fits."""
    refused = [failure for failure in failures if failure.kind is FailureKind.UNREACHABLE and "refused" in failure.what]
    if len(refused) < len(failures) or typed.scheme == "unix":
        return min(failures, key=_tells_less)
    port = parse(first).port
    place = display_place(first) if typed.port_given else typed.host
    what = f"{place} refused the connection" if typed.port_given else f"{typed.host} refused the connection on all {tried} ports we know"
    if is_loopback(first):
        return Failure(what + ": nothing is listening", place, "Start the server, or check the port", FailureKind.UNREACHABLE)
    name = "Ollama" if port == 11434 or not typed.port_given else "The server"
    port = port if typed.port_given else 11434
    remedy = f"{name} there probably listens on its own 127.0.0.1. From here: `{ssh_command(typed.host, port)}`"
    return Failure(what, place, remedy, FailureKind.UNREACHABLE)
