"""The status line, for tmux and prompts: out of the last sample's file, with nothing imported that this does not need."""

from __future__ import annotations

import os
import sys
import time

from tui.core.places import LAST_LIMIT, LAST_VERSION, last_file

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

STALE = 10.0
"""Seconds after which nobody seems to measure; three intervals, where those are longer."""
FORMS = ("tmux", "starship", "waybar")
_GPUS, _MODELS = 4, 3
"""How many the line has room for; the rest is counted."""
_DONE, _NO_PROVIDER = 0, 4
_LIVE = ("waiting", "fetching", "checking", "paused", "failed")


class Shown:
    """What the line says.

    Attributes:
        parts: Its groups, the machine's name or the server's first.
        rest: Index of the first part that a prompt shows, too.
        busy: Something is loaded, fetched or wrong: a prompt shows it.
        tip: The lines of a tooltip.
        kind: "alert", "pulling", "loaded", "idle" or "down".
    """

    def __init__(self, parts: list[str], rest: int, busy: bool, tip: list[str], kind: str) -> None:
        self.parts, self.rest, self.busy, self.tip, self.kind = parts, rest, busy, tip, kind


# --- reading ----------------------------------------------------------------------------------------------------------


def answer(argv: Sequence[str], options: Mapping[str, str]) -> int | None:
    """Print the line out of the last sample; None where that is too old or not ours, or where more was asked for.

    Args:
        argv: What stands behind `status`.
        options: The global options as they were given.
    """
    form = form_of(argv)
    if form is None or "--provider" in options:
        return None
    last = read(last_file(os.environ, demo="--demo" in options, config=options.get("--config", "")))
    if last is None:
        return None
    ascii = "--ascii" in options or plain_only(os.environ) or last.get("ascii") is True
    try:
        shown, up = of_last(last, ascii=ascii)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    show(shown, form)
    return _DONE if up or form else _NO_PROVIDER


def form_of(argv: Sequence[str]) -> str | None:
    """What the line is for, empty for people; None where `argv` asks for something else."""
    words = list(argv)
    if words == ["--line"]:
        return ""
    if len(words) == 2 and words[0] == "--line" and words[1].startswith("--for="):
        words = ["--line", "--for", words[1][6:]]
    if len(words) == 3 and "--line" in (words[0], words[2]) and "--for" in words[:2]:
        form = words[words.index("--for") + 1]
        return form if form in FORMS else None
    return None


def read(path: str, now: float | None = None) -> dict[str, Any] | None:
    """The last sample, where it is whole, young, of this machine and written by this account."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(handle)
        ours = found.st_uid == os.geteuid() and found.st_mode & 0o170022 == 0o100000
        data = os.read(handle, LAST_LIMIT + 1) if ours else b""
    except OSError:
        return None
    finally:
        os.close(handle)
    if not data or len(data) > LAST_LIMIT:
        return None
    import json

    try:
        last = json.loads(data)
        age = (time.time() if now is None else now) - last["at"]
        young = -STALE <= age <= max(STALE, 3 * last["every"])
        fits = last["v"] == LAST_VERSION and last["host"] == os.uname().nodename
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return last if young and fits and isinstance(last, dict) else None


def plain_only(environ: Mapping[str, str]) -> bool:
    """Whether the line must be ASCII: the locale is not UTF-8, or what is written is not."""
    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named and "utf8" not in named.lower().replace("-", ""):
        return True
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"


# --- wording ----------------------------------------------------------------------------------------------------------


def clean(text: str, limit: int = 40) -> str:
    """The writer cleaned it; this is for a file that somebody else wrote for us."""
    if not isinstance(text, str):
        raise TypeError
    if not (text.isprintable() and max(text, default=" ") < "\u0300"):  # from there on combining marks are printable, too
        from tui.text import clean_name, strip_line

        text = strip_line(clean_name(text))
    return text if len(text) <= limit else f"{text[: limit - 2]}.."


def of_last(last: Mapping[str, Any], *, ascii: bool) -> tuple[Shown, bool]:
    """What a sample says, and whether the server answers.

    Raises:
        KeyError, TypeError, ValueError: It is not what Paddock writes.
    """
    base = 1024.0 if last["binary"] else 1000.0
    server, machine, alerts = last["server"], clean(last["machine"], 24), last["alerts"]
    figures = [f"{name} {last[key]:d}%" for name, key in (("CPU", "cpu"), ("RAM", "ram")) if last[key] is not None]
    gpus = [_gpu(gpu, base) for gpu in last["gpus"]]
    models, tip = [clean(model["name"]) for model in last["models"]], [machine, "  ".join(figures)]
    tip += [f"{words}  {clean(gpu['name'], 60)}".rstrip() for words, gpu in zip(gpus, last["gpus"], strict=True)]
    for model, name in zip(last["models"], models, strict=True):
        tip.append(f"{name} {'' if model['size'] is None else size(model['size'], base)} {clean(model['provider'])}".replace("  ", " "))
    up = server is not None and server["up"] is True
    down = "" if server is None or up else f"{clean(server['name'])} down"
    parts = [machine, *figures, *short(gpus, _GPUS), *([down] if down else ()), *short(models, _MODELS, last["more"])]
    pulls = last["pulls"]
    running = pulls["running"]
    if running:
        rate = "" if pulls["rate"] is None else f" {size(pulls['rate'], base).replace(' ', '').removesuffix('B').removesuffix('i')}/s"
        percent = "" if pulls["percent"] is None else f" {pulls['percent']:d}%"
        parts.append(f"{'v' if ascii else chr(0x2193)}{running:d}{rate}{percent}")
        tip.append(f"{running:d} fetching{rate}{percent}")
    count = alerts["count"]
    if count:
        parts.append(f"!{count:d}")
        tip.append(f"! {clean(alerts['newest'], 120)}")
    tip += [down] if down else []
    kind = "alert" if count else "pulling" if running else "loaded" if models else "down" if down else "idle"
    shown = Shown([_ascii(part) if ascii else part for part in parts], 1, bool(models or running or count), tip, kind)
    return shown, up


def of_answer(name: str, up: bool, loaded: Sequence[str], counts: Mapping[str, int]) -> Shown:
    """What a server says that was asked, where nobody measures; `loaded` with sizes, `counts` of pulls by state."""
    pulls = [f"{number} {state}" for state, number in counts.items() if state in _LIVE]
    server = f"{name} {'up' if up else 'down'}" if name else "no server"
    running = counts.get("fetching", 0) + counts.get("checking", 0)
    kind = "pulling" if running else "loaded" if loaded else "idle" if up else "down"
    return Shown([server, *loaded, *pulls], 1, bool(loaded or running), [server, *loaded, *pulls], kind)


def _gpu(gpu: Mapping[str, Any], base: float) -> str:
    """`GPU0 97% 13.5/24G`."""
    used, total, giga = gpu["used"], gpu["total"], base**3
    percent = "" if gpu["percent"] is None else f" {gpu['percent']:d}%"
    memory = "" if used is None or not total else f" {used / giga:.1f}/{total / giga:.0f}G"
    return f"{clean(gpu['label'])}{percent}{memory}"


def short(words: Sequence[str], room: int, more: int = 0) -> list[str]:
    """As many as there is room for, and how many more there are."""
    more += max(0, len(words) - room)
    return [*words[:room], *([f"+{more:d}"] if more else ())]


def size(count: float, base: float) -> str:
    """As `tui.text.size`, which costs 7 ms."""
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB") if base == 1024 else ("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    for larger in units:
        if round(value, 1 if value < 9.95 else 0) < base:
            break
        value, unit = value / base, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


# --- printing ---------------------------------------------------------------------------------------------------------


def show(shown: Shown, form: str) -> None:
    """Print it for people, or as tmux, starship or waybar read it."""
    text = "  ".join(shown.parts)
    if form == "tmux":
        text = text.replace("#", "##")
    elif form == "starship":
        text = "  ".join(shown.parts[shown.rest :]) if shown.busy else ""
    elif form == "waybar":
        import json

        tip = "\n".join(pango(line) for line in shown.tip if line)
        text = json.dumps({"text": pango(text), "tooltip": tip, "class": shown.kind})
    try:
        out = sys.stdout
        if out is not None and (text or form != "starship"):
            encoding = getattr(out, "encoding", None) or "utf-8"
            out.write(f"{text}\n".encode(encoding, "replace").decode(encoding))
            out.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pango(text: str) -> str:
    """Literal text for what reads Pango markup."""
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(sign, name)
    return text
