"""What the Monitor knows beyond samples: whose memory it is, loaded models, why a model is slow, alerts, profiles."""

from __future__ import annotations

from typing import Final

from tui.core.models import RunningModel
from tui.core.record import record

RAM: Final = "ram"
"""`MemoryMap.where` of main memory."""


@record(frozen=True)
class Points:
    """A part of the history of one figure.

    Attributes:
        values: Oldest first; None where nothing was measured.
        step: Seconds from one to the next.
        newest: Number of the last one: its time divided by `step`, so that the same moment always has the same number.
    """

    values: tuple[float | None, ...] = ()
    step: float = 1.0
    newest: int = 0


@record(frozen=True)
class MemoryPart:
    """A part of a memory, and whose it is.

    Attributes:
        kind: "model", "process", "hidden" (processes that cannot be seen) or "rest" (what nobody names).
        name: Of the model or the program, cleaned.
        who: The provider, or the account that runs the program; empty where not known.
        size: Bytes.
        about: The size or whose it is, is concluded, not told.
        pid: Of a process, 0 otherwise.
        count: How many processes `hidden` stands for.
    """

    kind: str
    name: str
    who: str
    size: int
    about: bool = False
    pid: int = 0
    count: int = 0


@record(frozen=True)
class MemoryMap:
    """Whose memory it is: of one GPU, or of the machine; the parts add up to `used`.

    Attributes:
        where: The GPU's uuid, or `RAM`.
        label: "GPU0" or "RAM".
        parts: Models first, then processes, largest first; hidden and rest last.
    """

    where: str
    label: str
    total: int
    used: int
    parts: tuple[MemoryPart, ...] = ()


@record(frozen=True)
class Take:
    """What a model would take, beside what is there now.

    Attributes:
        gpu: Bytes of GPU memory by GPU uuid, as the server would most likely place it.
        ram: Bytes of main memory.
        context: Tokens it was computed for.
        measured: An earlier load was measured; else it is an estimate.
        missing: Bytes that are not free, 0 where it fits.
        verdict: In words, as the Library says it: "good", "tight", "slow", "no".
    """

    gpu: tuple[tuple[str, int], ...] = ()
    ram: int = 0
    context: int = 0
    measured: bool = False
    missing: int = 0
    verdict: str = ""


@record(frozen=True)
class Loaded:
    """A loaded model, and what its server and this machine tell about it.

    Attributes:
        model: As the provider lists it.
        here: Its server runs on this machine.
        cards: Where its GPU memory is: "GPU0", "GPU0+1"; empty where not known.
        about: `cards` is concluded.
        pids: Its processes, where they are known.
        kv_bytes: Bytes of its KV cache, where the server tells.
        kv_used: Share of the KV cache in use, 0 to 1.
        rate: Tokens a second it writes now, all requests together; None while it writes nothing or nobody tells.
        running: Requests it works on.
        waiting: Requests that wait.
        own: How many of those are of this program.
        last_used: Epoch seconds; None where not known.
    """

    model: RunningModel
    here: bool = False
    cards: str = ""
    about: bool = False
    pids: tuple[int, ...] = ()
    kv_bytes: int | None = None
    kv_used: float | None = None
    rate: float | None = None
    running: int | None = None
    waiting: int | None = None
    own: int = 0
    last_used: float | None = None


@record(frozen=True)
class ServerFigures:
    """What a server tells about its work, by its API or `/metrics`; None where it does not.

    Attributes:
        at: Monotonic time of the answer.
        source: Where they come from: "/metrics", "/slots", "/api/extra/perf".
        kv_used: Share of the KV cache in use, 0 to 1.
        rate: Tokens a second written, all requests together.
        prompt_rate: Tokens of prompts a second.
        memory: Bytes of memory it says it uses.
        note: Why there is nothing, one sentence: "started without --metrics".
    """

    provider: str
    at: float = 0.0
    source: str = ""
    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    rate: float | None = None
    prompt_rate: float | None = None
    prompt_tokens: float | None = None
    output_tokens: float | None = None
    memory: int | None = None
    note: str = ""


@record(frozen=True)
class Check:
    """One answer to "why is it slow?".

    Attributes:
        key: "offload", "context", "swap", "other", "throttle", "pcie", "power", "threads", "queue".
        state: "cause", "fine" or "unknown".
        title: What was looked at: "all of it on the GPU".
        figure: The number that proves it: "38 % of it (2.6 GB) on the CPU"; for `unknown` why it is not known.
        remedy: One thing to do; empty unless it is a cause.
    """

    key: str
    state: str
    title: str
    figure: str
    remedy: str = ""


@record(frozen=True)
class SlowView:
    """The checks of one model, in order, first true cause first; empty while they are made.

    Attributes:
        at: Epoch seconds of the result.
        summary: "writes 12 tok/s, usually 48"; empty where neither is known.
    """

    provider: str
    model: str
    checks: tuple[Check, ...] = ()
    at: float = 0.0
    summary: str = ""


@record(frozen=True)
class Alert:
    """A rule of `[alerts]` that was passed for long enough.

    Attributes:
        rule: "cpu", "memory", "gpu", "gpu_temperature", "vram", "disk" or "provider_down".
        subject: "GPU0", a folder, a provider; empty for the machine.
        figure: The worst one: percent, °C, or for `provider_down` seconds.
        limit: In the same unit.
        started_at: Epoch seconds: since when it was over the limit.
        ended_at: None while it lasts.
        culprit: As far as known: "while qwen3:8b wrote", "alice's python has 5.9 GB".
        acknowledged: Somebody has seen it.
    """

    id: int
    rule: str
    subject: str
    figure: float
    limit: float
    started_at: float
    ended_at: float | None = None
    culprit: str = ""
    acknowledged: bool = False


@record(frozen=True)
class AlertsView:
    """Alerts, as screens show them.

    Attributes:
        active: Those that last, newest first.
        log: Those that ended, newest first; at most 200.
        muted_until: Epoch seconds until which nothing is rung, told or run; None where not muted.
        keeper: Who watches the rules: "this window", "another window (pid 812)", "the worker", or empty: nobody.
    """

    active: tuple[Alert, ...] = ()
    log: tuple[Alert, ...] = ()
    muted_until: float | None = None
    keeper: str = ""


@record(frozen=True)
class Enforcement:
    """Something that `[limits]` did: epoch seconds, what, to what, and why in one sentence.

    What is "unloaded", "not unloaded" (it failed), "refused", "asked" or "warned".
    """

    at: float
    what: str
    target: str
    why: str


@record(frozen=True)
class Profile:
    """How a model does on a provider, over time: medians of the latest answers, None where not known.

    What was measured on purpose (Optimise, levels) is one answer, and where settings were kept because of it, answers before do not count.

    Attributes:
        answers: How many were measured in all.
        load_seconds: Of the last load that took noticeable time.
        first_token: Seconds from sending to the first token.
        rate: Tokens a second written.
        prompt_rate: Tokens a second of the prompt read.
        memory: Bytes it took, as its server reports them.
        vram: Bytes of that on GPUs.
        context: Tokens of context it was loaded with when `memory` was reported.
        joules: Energy of an answer, of the GPUs it ran on.
        joules_per_token: The same for a token written.
        last_used: Epoch seconds.
    """

    answers: int = 0
    load_seconds: float | None = None
    first_token: float | None = None
    rate: float | None = None
    prompt_rate: float | None = None
    memory: int | None = None
    vram: int | None = None
    context: int | None = None
    joules: float | None = None
    joules_per_token: float | None = None
    last_used: float | None = None
