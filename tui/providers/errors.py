"""From what went wrong on the wire to a `Failure` in words (reliability reference, sections 2.1 and 3.3)."""

from __future__ import annotations

import email.utils
import errno
import html
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Final

from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_block, clean_label, clean_name, duration

ERROR_BODY: Final = 64 * 1024
"""Bytes of an error's body that are read and kept."""

TRANSIENT: Final = frozenset(
    {
        FailureKind.UNREACHABLE,
        FailureKind.TIMEOUT,
        FailureKind.BUSY,
        FailureKind.LOADING,
        FailureKind.SERVER,
        FailureKind.INTERRUPTED,
    }
)
"""Kinds that a later attempt may get over; everything else is final until someone changes something."""


@record(frozen=True)
class Target:
    """Whom we talk to, in the words of the sentences: `Ollama`, `127.0.0.1:11434`.

    Attributes:
        secrets: Keys that were sent there; servers repeat them in their complaints.
    """

    label: str
    host: str
    secrets: set[str] = field(default_factory=set, repr=False, compare=False)

    def hide(self, text: str) -> str:
        """A text of the server without our keys in it, so that none reaches a screen, a log or the database (P52)."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        return text

    def __str__(self) -> str:
        return f"{self.label} at {self.host}"


def is_transient(failure: Failure) -> bool:
    """Whether trying again later can help without anyone changing anything."""
    return failure.kind in TRANSIENT


def failed(failure: Failure) -> PaddockError:
    """The exception that carries this failure."""
    return PaddockError(failure)


def interrupted(target: Target, why: str, details: str = "") -> PaddockError:
    """A stream that ended before its end marker."""
    return failed(
        Failure(f"The answer of {target} was cut off: {why}", target.host, "What came is kept; try again", FailureKind.INTERRUPTED, details)
    )


def protocol(target: Target, why: str, details: str = "") -> PaddockError:
    """An answer that is not what the protocol says."""
    return failed(
        Failure(
            f"The answer of {target} cannot be used: {why}",
            target.host,
            "Check that the address belongs to this kind of server",
            FailureKind.PROTOCOL,
            target.hide(details),
        )
    )


def unsupported(target: Target, what: str) -> PaddockError:
    """A request this kind of server has no call for."""
    return failed(Failure(f"{target.label} cannot {what}", target.host, "Use a server that can", FailureKind.UNSUPPORTED))


# --- exceptions of the HTTP client -----------------------------------------------------------------------------------

_NO_ROUTE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EHOSTDOWN}
_NO_FILES: Final = {errno.EMFILE, errno.ENFILE}
_PHASES: Final = {
    "connect": "while connecting",
    "wait": "before answering",
    "body": "in the middle of the answer",
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        waiting.extend((current.__cause__, current.__context__))


def transport_failure(error: Exception, target: Target, phase: str, elapsed: float) -> Failure:
    """Say what an exception of the HTTP client means.

    Args:
        error: What was raised; its own text is often empty.
        target: Whom we talked to.
        phase: `connect`, `wait` (sent, no header yet) or `body`.
        elapsed: Seconds since the request began.
    """
    import httpx  # late: see `client`

    causes = list(_causes(error))
    if phase == "connect" or isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return _connect_failure(error, causes, target, elapsed)
    when = f"{_PHASES.get(phase, _PHASES['wait'])}, after {duration(elapsed)}"
    details = clean_block(target.hide(str(error)))[:2000]
    if isinstance(error, httpx.PoolTimeout):
        return Failure(
            f"All connections to {target} are in use", target.host, "Wait until one of the running requests ends", FailureKind.BUSY
        )
    if isinstance(error, httpx.WriteTimeout):
        return Failure(f"{target} stopped taking our request {when}", target.host, "Check whether the server is stuck", FailureKind.TIMEOUT)
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return Failure(
            f"{target} did not answer within {duration(elapsed)}", target.host, "Check whether the server is stuck", FailureKind.TIMEOUT
        )
    if isinstance(error, (httpx.RemoteProtocolError, httpx.DecodingError)):
        return _protocol_failure(str(error), target, when, details)
    if isinstance(error, (httpx.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol)):
        return Failure(
            f"The request to {target} cannot be sent", target.host, "Check the address and the extra headers", FailureKind.CONFIG, details
        )
    reset = any(isinstance(cause, (ConnectionResetError, BrokenPipeError)) for cause in causes)
    why = "reset by the server" if reset else "the line broke"
    return Failure(f"Connection to {target} lost {when}: {why}", target.host, "Try again", FailureKind.INTERRUPTED, details)


def _connect_failure(error: Exception, causes: list[BaseException], target: Target, elapsed: float) -> Failure:
    import httpx

    host = target.host
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        why = clean_label(certificate.verify_message or "not trusted", 200)
        return Failure(
            f"The certificate of {host} is not accepted: {why}", host, "Give this server's CA file in its settings", FailureKind.TLS
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Failure(f"{host} does not speak TLS as asked", host, "Try the address with http:// instead of https://", FailureKind.TLS)
    if any(isinstance(cause, (socket.gaierror, UnicodeError)) for cause in causes):
        name = host.rsplit(":", 1)[0]
        return Failure(f"Cannot reach {target}: the name {name} was not resolved", host, "Check the address", FailureKind.UNREACHABLE)
    codes = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return Failure(
            f"Cannot reach {target}: nothing is listening", host, "Start the server, or check the address", FailureKind.UNREACHABLE
        )
    if codes & _NO_ROUTE:
        return Failure(f"Cannot reach {target}: no way to that address", host, "Check the network", FailureKind.UNREACHABLE)
    if codes & _NO_FILES:
        return Failure("Too many files are open", host, "Raise the limit of open files (ulimit -n)", FailureKind.INTERNAL)
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        what = f"Cannot reach {target}: no answer to connecting for {duration(elapsed)}"
        return Failure(what, host, "Check the address, and whether the server is stuck", FailureKind.UNREACHABLE)
    what = f"Cannot reach {target}: the connection failed after {duration(elapsed)}"
    return Failure(what, host, "Check the address", FailureKind.UNREACHABLE, clean_block(str(error))[:2000])


def _protocol_failure(text: str, target: Target, when: str, details: str) -> Failure:
    if "without sending a response" in text:
        return Failure(f"{target} closed the connection {when}", target.host, "Try again", FailureKind.INTERRUPTED, details)
    if "incomplete" in text or "closed connection" in text:
        return Failure(
            f"Connection to {target} lost {when}: closed by the server", target.host, "Try again", FailureKind.INTERRUPTED, details
        )
    if "illegal status line" in text or "illegal header line" in text:
        looks = " (the answer looks like SSH)" if "SSH-" in text else " (the answer looks like TLS)" if "\\x15\\x03" in text else ""
        return Failure(
            f"{target.host} does not speak HTTP{looks}",
            target.host,
            "Check the port, and http:// or https://",
            FailureKind.PROTOCOL,
            details,
        )
    return Failure(
        f"{target} broke the HTTP protocol {when}", target.host, "Check the address, or restart the server", FailureKind.PROTOCOL, details
    )


# --- answers with an error status ------------------------------------------------------------------------------------

_TITLE: Final = re.compile(rb"<title[^>]*>(.{0,300}?)</title", re.IGNORECASE | re.DOTALL)
_TRACE: Final = re.compile(r'Traceback \(most recent|^\s*File "[^"]+", line \d+|\d+ validation errors?\b', re.MULTILINE)
_REASONS: Final = {502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Timeout"}


def message_of(value: Any) -> str:
    """The words of an error object in any of the shapes seen (providers reference, section 3.13); empty where none.

    The text is as sent: clean it before use.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, (message_of(item) for item in value[:5])))
    if not isinstance(value, Mapping):
        return ""
    if isinstance(value.get("msg"), str):
        where = value.get("loc")
        place = ".".join(str(part) for part in where) if isinstance(where, list) else ""
        return f"{place}: {value['msg']}" if place else str(value["msg"])
    for key in ("error", "message", "detail", "text"):
        found = message_of(value.get(key))
        if found:
            return found
    return ""


def error_in(item: Mapping[str, Any]) -> str | None:
    """The words of an error inside a stream that goes on with status 200, or None where this object is none."""
    if item.get("error"):
        return message_of(item["error"]) or "no reason given"
    if item.get("object") == "error" or ("error_code" in item and "choices" not in item):
        return message_of(item) or "no reason given"
    return None


def _shown(text: str) -> str:
    """One line of the server's words; traces (which may hold the prompt) never show."""
    return "" if _TRACE.search(text) else clean_label(text.strip(), 300)


def stream_failure(text: str, target: Target) -> Failure:
    """An error object in the middle of a 200 stream."""
    text = target.hide(text)
    shown = _shown(text)
    what = f"{target.label} stopped with an error: {shown}" if shown else f"{target.label} failed inside"
    return Failure(what, target.host, "What came is kept; try again", FailureKind.SERVER, clean_block(text)[:ERROR_BODY])


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds a `Retry-After` header asks for, from 0 to 60; None for anything else.

    Args:
        value: The header.
        now: Epoch seconds, for the form with a date.
    """
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds <= 60 else None


def _is_html(body: bytes, content_type: str) -> bool:
    return "html" in content_type.lower() or body[:512].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _read_body(body: bytes, content_type: str) -> tuple[str, Any, bool]:
    """The server's words (as sent), the parsed object or None, and whether it is a web page."""
    if _is_html(body, content_type):
        title = _TITLE.search(body)
        return (html.unescape(title[1].decode("utf-8", "replace")).strip() if title else "a web page"), None, True
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        readable = bool(text) and sum(char.isprintable() or char in "\r\n\t" for char in text[:400]) > 0.9 * min(len(text), 400)
        return (text if readable else ""), None, False
    return message_of(value), value, False


_FETCH: Final = ("/api/pull", "/api/create")
"""Requests that name a model which need not be there."""


@record(frozen=True)
class Asked:
    """What was asked for, for the sentences about refusals.

    Attributes:
        path: Of the request.
        model: Named in the request, or empty.
        with_key: A key was sent.
        local_name: The host part of the address is an IP address or a name that only means this machine.
    """

    path: str = ""
    model: str = ""
    with_key: bool = False
    local_name: bool = True


def status_failure(status: int, headers: Mapping[str, str], body: bytes, target: Target, asked: Asked, now: float) -> Failure:
    """Say what an answer with an error status means.

    Args:
        status: From 300 up.
        headers: With lower-case or case-insensitive names.
        body: At most `ERROR_BODY` bytes of it.
        target: Who answered.
        asked: What we asked.
        now: Epoch seconds, for `Retry-After` with a date.
    """
    body = target.hide(body[:ERROR_BODY].decode("latin-1")).encode("latin-1")
    text, value, page = _read_body(body, headers.get("content-type", ""))
    shown = _shown(text)
    details = "" if page else clean_block(body.decode("utf-8", "replace")) if text else ""
    wait = retry_after(headers.get("retry-after"), now) if status in (429, 503) else None
    what, remedy, kind = _status_words(status, shown, value, page, target, asked, headers.get("server", ""))
    if not shown and text and "Details" not in remedy:
        remedy = f"{remedy}; the server's own words are under Details"
    return Failure(what, target.host, remedy, kind, details, wait, status)


def _status_words(
    status: int, shown: str, value: Any, page: bool, target: Target, asked: Asked, server: str
) -> tuple[str, str, FailureKind]:
    said = f": {shown}" if shown else ""
    if page and status in _REASONS:
        software = clean_name(server, 40)
        via = f"{_REASONS[status]}{', ' + software if software else ''}"
        kind = FailureKind.BUSY if status == 503 else FailureKind.SERVER
        return f"A proxy answered instead of {target} ({via}){said}", "Check the proxy, and whether the server runs", kind
    if status == 401:
        return _refused_key(value, target, asked)
    if status == 403:
        return _forbidden(shown, target, asked)
    if status == 404:
        if asked.model and not page and isinstance(value, Mapping) and asked.path not in _FETCH:
            name = clean_name(asked.model)
            return f"Model {name} is not on {target} (404)", f"Pull {name}, or choose another model", FailureKind.NOT_FOUND
        path = clean_name(asked.path, 100)
        return f"{target} knows no {path} (404)", "Check the address, and the kind of the server", FailureKind.NOT_FOUND
    if status in (405, 501):
        return f"{target} cannot do that ({status}){said}", "Update the server, or use another", FailureKind.UNSUPPORTED
    if status == 429 or (status == 503 and "loading" not in shown.lower()):
        return f"{target} is busy ({status}){said}", "Try again in a moment", FailureKind.BUSY
    if status == 503:
        return f"{target} is loading its model (503)", "Wait until it is ready", FailureKind.LOADING
    if status >= 500:
        return f"Server error {status} of {target}{said}", "Try again, or look into the server's log", FailureKind.SERVER
    error = value.get("error") if isinstance(value, Mapping) else None
    if isinstance(error, Mapping) and isinstance(error.get("n_prompt_tokens"), int) and isinstance(error.get("n_ctx"), int):
        what = f"The prompt has {error['n_prompt_tokens']} tokens, {target} takes {error['n_ctx']} ({status})"
        return what, "Shorten the conversation, or start the server with a larger context", FailureKind.BAD_REQUEST
    return f"{target} refused the request ({status}){said}", "Change the request", FailureKind.BAD_REQUEST


def _refused_key(value: Any, target: Target, asked: Asked) -> tuple[str, str, FailureKind]:
    if isinstance(value, Mapping) and value.get("signin_url"):
        what = f"{target} is not signed in to Ollama's cloud, where this model runs (401)"
        return what, "Run `ollama signin` on that machine, or choose a local model", FailureKind.AUTH
    if asked.with_key:
        return f"{target} refuses the API key (401)", "Set the right one: F2, Servers, Key", FailureKind.AUTH
    return f"{target} wants an API key (401)", "Set it: F2, Servers, Key", FailureKind.AUTH


def _forbidden(shown: str, target: Target, asked: Asked) -> tuple[str, str, FailureKind]:
    if not shown and not asked.local_name and target.label == "Ollama":
        name = clean_name(target.host.rsplit(":", 1)[0], 100)
        what = f"Ollama refused the host name '{name}' (403): a server bound to loopback accepts only local names"
        return what, "Let the proxy send Host: localhost:11434, or use the server's address", FailureKind.FORBIDDEN
    said = f": {shown}" if shown else ""
    return f"{target} refused this request (403){said}", "Check the key's rights, and the proxy in between", FailureKind.FORBIDDEN


def redirect_failure(location: str, status: int, target: Target) -> Failure:
    """Redirects are never followed: they would carry prompts and keys to an address nobody chose."""
    shown = clean_name(target.hide(location.split("?", 1)[0]), 200) or "nowhere"
    what = f"The server points elsewhere ({shown}); add that address as a server if you trust it"
    return Failure(what, target.host, "Add the address as a server, or correct this one", FailureKind.REDIRECT, status=status)
