"""What a server tells about its work: Prometheus text and JSON, by the catalogue's `[metrics]` (providers reference, section 2.6).

The text format is read by our own parser: the official library's takes 84 ms to import, reads every sample in pure Python at a third of
this one's speed, needs quadratic time for a line with many labels, and has no limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Final

from tui.core.clock import SYSTEM, Clock
from tui.core.errors import PaddockError
from tui.core.models import Endpoint
from tui.core.record import record
from tui.providers.catalogue import Kind, Metrics
from tui.providers.errors import protocol
from tui.providers.http import Http, Reply
from tui.text import clean_name

LIMIT: Final = 1024 * 1024
"""Bytes of an answer."""
PATIENCE: Final = 2.0
"""Seconds for an answer."""
LINE: Final = 8192
"""Bytes of a line; longer ones count as bad."""
BAD_LINES: Final = 20
"""Bad lines from which an answer is refused whole."""
MOST_MODELS: Final = 64
LARGEST: Final = 1e18
"""What is larger is no figure."""
ABSENT: Final = frozenset({404, 405, 501})
"""Statuses of a server that has no figures, or was not told to give any."""
_OFF: Final = 503
"""Status of one that was told to give none; those that must be told to give some are loading then."""
_LOCKED: Final = frozenset({401, 403})
_MODEL_LABELS: Final = ("model_name", "model", "model_id")
_NUMBER: Final = r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?|[+-]?(?:Inf|inf)|NaN|nan"
_SAMPLE: Final = re.compile(
    r'([A-Za-z_:][A-Za-z0-9_:]{0,199}+)(?:[ \t]*\{((?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\})?'
    rf"[ \t]*(?<=[ \t}}])({_NUMBER})(?:[ \t]+-?\d{{1,20}})?[ \t]*\Z"
)
_LABEL: Final = re.compile(r'[ \t]*([A-Za-z_][A-Za-z0-9_]{0,99})[ \t]*=[ \t]*"((?:[^"\\]|\\.)*+)"[ \t]*(?:,|\Z)')
_ESCAPE: Final = re.compile(r"\\(.)")


@record(frozen=True)
class Figures:
    """One answer about a server's work.

    Attributes:
        source: The path asked.
        values: running, waiting, kv_used (0 to 1), prompt_tokens and output_tokens (counted since it was started), rate (tokens a
            second), written (tokens so far, also those of answers that are not finished; only its growth means something), memory
            (bytes), as far as told.
        models: The same by the name the server gives a model, where it tells them apart.
        note: Why there is nothing, or not all, in one sentence.
    """

    source: str
    values: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""


# --- the text format ---------------------------------------------------------------------------------------------------


def samples(body: bytes, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of each sample whose name is wanted; NaN, infinite and absurd values are left out.

    A last line without its line feed may be half of one and is left out.

    Raises:
        ValueError: It is not that format: too long, or too many lines that are none.
    """
    if len(body) > LIMIT:
        raise ValueError("too long")
    bad = good = 0
    for raw in body.split(b"\n")[:-1]:
        line = raw.rstrip(b"\r").lstrip(b" \t")
        if not line or line.startswith(b"#"):
            continue
        found = _SAMPLE.match(line.decode("utf-8", "replace")) if len(line) <= LINE else None
        labels = _labels(found[2] or "") if found is not None and wanted(found[1]) else {}
        if found is None or labels is None:
            bad += 1
            if bad >= BAD_LINES:
                raise ValueError("not the text format")
            continue
        good += 1
        value = float(found[3])
        if wanted(found[1]) and math.isfinite(value) and abs(value) <= LARGEST:
            yield found[1], labels, value
    if bad and not good:
        raise ValueError("not the text format")


def _labels(text: str) -> dict[str, str] | None:
    """The labels between the braces; None where they are no such list."""
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip(" \t"):
        label = _LABEL.match(text, at)
        if label is None or label[1] in found or len(found) >= 64:
            return None
        found[label[1]] = _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], label[2])
        at = label.end()
    return found


def from_text(body: bytes, spec: Metrics, source: str) -> Figures:
    """The figures of a Prometheus text, summed over what is not a model's.

    Raises:
        ValueError: It is none.
    """
    theirs: dict[str, str] = {name: ours for ours, name in spec.map.items()}
    total: dict[str, float] = {}
    models: dict[str, dict[str, float]] = {}
    for name, labels, value in samples(body, theirs.__contains__):
        ours = theirs[name]
        total[ours] = total.get(ours, 0.0) + value
        model = next((labels[label] for label in _MODEL_LABELS if labels.get(label)), "")
        if model and (model in models or len(models) < MOST_MODELS):
            part = models.setdefault(model, {})
            part[ours] = part.get(ours, 0.0) + value
    shares = {model: normal(values, spec) for model, values in models.items()}
    told = normal(total, spec)
    if len(models) > 1 and "kv_total" not in total:  # a sum of shares is no share
        told.pop("kv_used", None)
    return Figures(source, told, shares)


# --- JSON ---------------------------------------------------------------------------------------------------------------


def from_json(value: Any, spec: Metrics, source: str) -> Figures:
    """The figures of a JSON object by dotted keys; `!key` is 1 where the key is 0 or false."""
    found: dict[str, float] = {}
    for ours, key in spec.map.items():
        part = value
        for word in key.removeprefix("!").split("."):
            part = part.get(word) if isinstance(part, dict) else None
        if isinstance(part, bool):
            part = int(part)
        if isinstance(part, (int, float)) and abs(part) <= LARGEST:  # nan is not
            found[ours] = float(not part) if key.startswith("!") else float(part)
    return Figures(source, normal(found, spec))


def normal(values: Mapping[str, float], spec: Metrics) -> dict[str, float]:
    """The same in our units: what is negative left out, the KV cache as a share."""
    found = {name: value * spec.scale.get(name, 1.0) for name, value in values.items() if value >= 0}
    total = found.pop("kv_total", None)
    if "kv_used" in found:
        if total is not None:
            found["kv_used"] = found["kv_used"] / total if total else -1.0
        if not 0 <= found["kv_used"] <= 1.001:
            del found["kv_used"]
        else:
            found["kv_used"] = min(1.0, found["kv_used"])
    if "output_tokens" in found and spec.counts == "while":
        found["written"] = found["output_tokens"]
    if found.get("running") == 0 and "rate" in found:  # what it says then is of the answer before
        found["rate"] = 0.0
    return found


# --- asking -------------------------------------------------------------------------------------------------------------


async def ask(http: Http, kind: Kind, query: str = "") -> Figures:
    """Ask a server as the catalogue says.

    Args:
        http: The connection.
        kind: Its entry in the catalogue.
        query: What follows the path.

    Raises:
        PaddockError: It does not answer in `PATIENCE`, or not with figures.
    """
    spec = kind.metrics
    try:
        reply = await http.get(spec.path + query, timeout=PATIENCE, limit=LIMIT)
    except PaddockError as error:
        if error.failure.status in _LOCKED:
            return Figures(spec.path, note="its figures need a key")
        if error.failure.status in ABSENT or (error.failure.status == _OFF and not spec.flag):
            return Figures(spec.path, note=f"started without {spec.flag}" if spec.flag else "it gives no figures")
        raise
    return read(http, reply, spec)


def read(http: Http, reply: Reply, spec: Metrics) -> Figures:
    """The figures of an answer.

    Raises:
        PaddockError: It holds none (kind PROTOCOL).
    """
    if spec.kind == "json":
        return from_json(http.parse(reply), spec, spec.path)
    try:
        return from_text(reply.body, spec, spec.path)
    except ValueError:
        raise protocol(http.target, "its figures cannot be read") from None


class Exporter:
    """The exporter of another machine (`paddock monitor --prometheus`). No key is sent: it is another program on another port.

    Raises:
        PaddockError: The address cannot be used.
    """

    def __init__(self, name: str, url: str, verify: bool | str = True, clock: Clock = SYSTEM) -> None:
        self.url = url
        self.verify = verify
        self._http = Http(Endpoint(name, "", url, verify=verify), clock=clock, label="the exporter")
        self._path = "" if self._http.prefix else "/metrics"

    @property
    def host(self) -> str:
        """Where it is, to show."""
        return clean_name(self._http.base.shown, 80)

    async def read(self, wanted: Callable[[str], bool]) -> list[tuple[str, Mapping[str, str], float]]:
        """The samples whose names are wanted.

        Raises:
            PaddockError: It does not answer in `PATIENCE`, or not with figures.
        """
        reply = await self._http.get(self._path, timeout=PATIENCE, limit=LIMIT)
        try:
            return list(samples(reply.body, wanted))
        except ValueError:
            raise protocol(self._http.target, "its figures cannot be read") from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
