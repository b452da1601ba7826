"""Why a model is slow: checks in one order, each with the number that proves it and one thing to do. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tui.core.fit import Served, Shape, estimate, kv_cache
from tui.core.models import RunningModel
from tui.core.monitor import Check, Loaded, Profile
from tui.core.record import record
from tui.hardware.sample import Gpu, GpuProcess, Sample
from tui.text import count, rate, size

ORDER: Final = ("offload", "context", "swap", "other", "throttle", "pcie", "power", "threads", "queue")
"""Keys of the checks."""
CAUSE: Final = "cause"
FINE: Final = "fine"
UNKNOWN: Final = "unknown"
TRACE: Final = 0.01
"""Share of a model on the CPU below which it counts as none: tables that stay in memory anyway."""
SPARE: Final = 2.0
"""How many times the longest answer a context may be before it counts as larger than needed."""
SMALLEST: Final = 4096
"""Tokens of context that are never advised against."""
SWAPS: Final = 1_000_000.0
"""Bytes a second of swapping from which on it slows everything down."""
PRESSED: Final = 10.0
"""Percent of the time in which something waits for memory, the same."""
WORKS: Final = 10.0
"""Percent of use of a GPU from which on it works, and its clock and its link say something."""
BUSY: Final = 50.0
"""Percent of use of the processor from which on a low clock is no rest."""
SLOWED: Final = 0.85
"""Share of the highest clock below which a limit of power is felt."""
HOT: Final = 95.0
"""Celsius of the processor at which it slows itself down."""
MUCH: Final = 500_000_000
"""Bytes of another program on the card that may be what does not fit."""
ELSEWHERE: Final = "runs on another machine"


@record(frozen=True)
class SlowFacts:
    """What the checks look at; None and empty where it is not known.

    Attributes:
        here: The server runs on this machine.
        loaded: The model, as its server and this machine tell; None where it is not loaded.
        sample: Means of the last moments; None where nothing is measured, and for servers elsewhere.
        cards: Uuids of the GPUs it is on.
        pids: Processes of all our servers on this machine.
        others: Other loaded models on this machine.
        shape: What its cache is computed from.
        longest: Tokens of its longest prompt and answer lately.
        threads: Threads it computes with, where somebody set them; `threads_of` says who.
        rate: Tokens a second of the answer that is written now, or of the last one.
        writes: One is written now.
        profile: How it usually does.
        limit: How many requests the server works at once.
        binary: Sizes in GiB.
    """

    here: bool = True
    loaded: Loaded | None = None
    sample: Sample | None = None
    cards: tuple[str, ...] = ()
    pids: frozenset[int] = frozenset()
    others: tuple[Loaded, ...] = ()
    shape: Shape | None = None
    longest: int | None = None
    threads: int | None = None
    threads_of: str = ""
    rate: float | None = None
    writes: bool = False
    profile: Profile | None = None
    limit: int | None = None
    binary: bool = False

    @property
    def model(self) -> RunningModel | None:
        """As its server lists it."""
        return self.loaded.model if self.loaded is not None else None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs it is on."""
        return tuple(gpu for gpu in self.sample.gpus if gpu.uuid in self.cards) if self.sample is not None else ()

    @property
    def off_gpu(self) -> int | None:
        """Bytes of it that are on the CPU; None where not told."""
        model = self.model
        if model is None or model.vram is None or not model.size:
            return None
        left = max(0, model.size - model.vram)
        return left if left >= TRACE * model.size else 0

    def size(self, count: float | None) -> str:
        """Bytes in the user's units."""
        return size(count, binary=self.binary)


def checks(facts: SlowFacts) -> tuple[Check, ...]:
    """All checks: causes first, then what is fine, then what is not known, each in the order of `ORDER`."""
    made = [_CHECKS[key](facts) for key in ORDER]
    return tuple(check for state in (CAUSE, FINE, UNKNOWN) for check in made if check.state == state)


def summary(facts: SlowFacts) -> str:
    """`writes 12 tok/s, usually 48`; empty where neither is known."""
    usual = facts.profile.rate if facts.profile is not None else None
    now = f"{'writes' if facts.writes else 'wrote'} {_speed(facts.rate)} tok/s" if facts.rate else ""
    if not usual:
        return now
    answers = facts.profile.answers if facts.profile is not None else 0
    return f"{now}, usually {_speed(usual)}" if now else f"usually writes {_speed(usual)} tok/s ({_many(answers, 'answer')})"


def _many(number: int, what: str) -> str:
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def _speed(tokens: float) -> str:
    return f"{tokens:.0f}" if tokens >= 10 else f"{tokens:.1f}"


# --- memory ------------------------------------------------------------------------------------------------------------


def _offload(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("offload", state, "part of it on the CPU", figure, remedy)

    model, left = facts.model, facts.off_gpu
    if model is None:
        return told(UNKNOWN, "it is not loaded")
    if left is None or not model.size:
        return told(UNKNOWN, "the server does not tell where it is")
    if not left:
        return told(FINE, f"all of it ({facts.size(model.size)}) is on the GPU")
    if facts.sample is not None and not facts.sample.gpus:
        remedy = f"Choose a smaller model: without a GPU the {facts.size(model.size)} are read from memory for every token"
        return told(CAUSE, f"all of it ({facts.size(model.size)}) is on the CPU: there is no GPU", remedy)
    share = f"{100 * left / model.size:.0f} % of it ({facts.size(left)})" if model.vram else f"all of it ({facts.size(left)})"
    return told(CAUSE, f"{share} is on the CPU", _room(facts, left))


def _room(facts: SlowFacts, missing: int) -> str:
    """What would bring all of it onto the GPU, or most of it."""
    free = [(_free(gpu), f"GPU{gpu.index}") for gpu in (facts.sample.gpus if facts.sample is not None else ())]
    most, where = max(free, default=(0, ""))
    if most > 1.5 * missing + MUCH:
        wording = "unload it and load it again" if facts.model is not None and facts.model.vram else "see the server's log for why"
        return f"{where} has {facts.size(most)} free now: {wording}"
    wanted, saved = _smaller(facts)
    other = max(facts.others, key=lambda one: one.model.vram or 0, default=None)
    held = (other.model.vram or 0) if other is not None else 0
    if wanted and saved >= missing:
        return f"Choose a context of {count(wanted)}: frees {_about(facts, saved)}, then all of it should fit"
    if other is not None and held >= missing:
        return f"Unload {other.model.name}: frees {facts.size(held)}, then all of it should fit"
    strangers = _strangers(facts, facts.sample.gpus if facts.sample is not None else ())
    foreign = max(strangers, key=lambda one: one[1].memory or 0, default=None)
    if foreign is not None and (foreign[1].memory or 0) >= missing:
        return f"End {_who(foreign[1])}: it has {facts.size(foreign[1].memory)} of GPU{foreign[0].index}"
    if other is not None and wanted and held + saved >= missing:
        return f"Unload {other.model.name} and choose a context of {count(wanted)}: frees {_about(facts, held + saved)} together"
    if wanted and saved >= missing / 4:
        return f"Choose a context of {count(wanted)}: frees {_about(facts, saved)} of the {facts.size(missing)} that do not fit"
    if held >= missing / 4 and other is not None:
        return f"Unload {other.model.name}: frees {facts.size(held)} of the {facts.size(missing)} that do not fit"
    return f"Choose a smaller model or a smaller quantization: {facts.size(missing)} do not fit"


def _free(gpu: Gpu) -> int:
    return 0 if gpu.lost or gpu.memory_total is None or gpu.memory_used is None else max(0, gpu.memory_total - gpu.memory_used)


def _smaller(facts: SlowFacts) -> tuple[int, int]:
    """A context that would do, and the bytes it frees; zeros where the present one is not larger than needed."""
    model = facts.model
    if model is None or not model.context or not facts.longest or model.context < SPARE * max(facts.longest, SMALLEST / SPARE):
        return 0, 0
    wanted = SMALLEST
    while wanted < facts.longest * 1.25:
        wanted *= 2
    if wanted >= model.context:
        return 0, 0
    slots = model.slots or 1
    told = facts.loaded.kv_bytes if facts.loaded is not None else None
    if facts.shape is not None:
        now, then = (kv_cache(facts.shape, tokens, slots=slots) for tokens in (model.context, wanted))
        return wanted, int((told or now) * (1 - then / now)) if now else 0
    if told:
        return wanted, int(told * (1 - wanted / model.context))
    now, then = (estimate(model.size or 0, None, tokens, Served(slots=slots)).kv_cache for tokens in (model.context, wanted))
    return wanted, min(now - then, (model.size or 0) // 2)


def _about(facts: SlowFacts, saved: int) -> str:
    """Bytes that a smaller context frees, as the server tells or as we compute them."""
    told = facts.loaded is not None and facts.loaded.kv_bytes
    return facts.size(saved) if told else f"about {facts.size(saved)}"


def _context(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("context", state, "context larger than needed", figure, remedy)

    model = facts.model
    if model is None or not model.context:
        return told(UNKNOWN, "it is not loaded" if model is None else "the server does not tell its context")
    if not facts.longest:
        return told(UNKNOWN, f"{count(model.context)} tokens; no answer was measured yet")
    used = f"{count(model.context)} tokens, the longest lately had {count(facts.longest)}"
    wanted, saved = _smaller(facts)
    if not wanted:
        return told(FINE, used)
    if not facts.off_gpu and (facts.off_gpu == 0 or not _swaps(facts)):  # memory of a GPU helps no main memory
        return told(FINE, f"{used}; a smaller one frees {_about(facts, saved)}, but nothing is short")
    return told(CAUSE, used, f"Choose a context of {count(wanted)}: frees {_about(facts, saved)}")


def _swaps(facts: SlowFacts) -> bool:
    memory = facts.sample.memory if facts.sample is not None else None
    if memory is None:
        return False
    return (memory.swap_in or 0.0) + (memory.swap_out or 0.0) >= SWAPS or (memory.pressure or 0.0) >= PRESSED


def _swap(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("swap", state, "swapping", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    memory = facts.sample.memory
    moved = None if memory.swap_in is None and memory.swap_out is None else (memory.swap_in or 0.0) + (memory.swap_out or 0.0)
    if moved is None and memory.pressure is None:
        return told(UNKNOWN, "this machine does not tell")
    parts = [f"{rate(moved, binary=facts.binary)} to and from swap"] if moved is not None else []
    parts += [f"something waits for memory {memory.pressure:.0f} % of the time"] if memory.pressure is not None else []
    if not _swaps(facts):
        return told(FINE, ", ".join(parts))
    idle = max((one for one in facts.others if one.model.size), key=lambda one: _in_ram(one.model), default=None)
    largest = max((one for one in facts.sample.processes if one.pid not in facts.pids), key=lambda one: one.memory, default=None)
    if idle is not None and _in_ram(idle.model) > MUCH:
        return told(CAUSE, ", ".join(parts), f"Unload {idle.model.name}: frees {facts.size(_in_ram(idle.model))} of memory")
    if largest is not None and largest.memory > MUCH:
        return told(CAUSE, ", ".join(parts), f"Close {largest.name} (pid {largest.pid}): it has {facts.size(largest.memory)}")
    return told(CAUSE, ", ".join(parts), "Choose a smaller model, or a smaller context")


def _in_ram(model: RunningModel) -> int:
    return max(0, (model.size or 0) - (model.vram or 0))


# --- the card ----------------------------------------------------------------------------------------------------------


def _strangers(facts: SlowFacts, gpus: Iterable[Gpu]) -> list[tuple[Gpu, GpuProcess]]:
    return [(gpu, one) for gpu in gpus for one in gpu.processes if one.pid not in facts.pids]


def _who(process: GpuProcess) -> str:
    name = f"{process.name or 'a program'} (pid {process.pid})"
    return f"{process.user}'s {name}" if process.user else name


def _other(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("other", state, "others on the card", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    working = [one for one in facts.others if one.running or one.own]
    if working:
        one = working[0]
        name, requests = one.model.name, _many(one.running or one.own, "request")
        return told(CAUSE, f"{name} works on {requests}{f' on {one.cards}' if one.cards else ''}", f"Wait for {name}, or unload it")
    gpus = facts.gpus
    if not gpus:
        return told(UNKNOWN, _no_card(facts))
    strangers = sorted(_strangers(facts, gpus), key=lambda one: (one[1].percent or 0.0, one[1].memory or 0), reverse=True)
    for gpu, process in strangers:
        used = f", {process.percent:.0f} % use" if process.percent is not None else ""
        figure = f"{_who(process)} has {facts.size(process.memory)} of GPU{gpu.index}{used}"
        if (process.percent or 0.0) >= WORKS or (facts.off_gpu and (process.memory or 0) >= MUCH):
            return told(CAUSE, figure, f"End {process.name or 'it'}, or wait until it is done")
    hidden = sum(gpu.hidden for gpu in gpus)
    if hidden:
        return told(UNKNOWN, f"{count(hidden)} of the processes there cannot be seen")
    if not any(gpu.processes for gpu in gpus):
        return told(UNKNOWN, "the driver does not tell whose processes are there")
    if strangers:
        held = sum(process.memory or 0 for _, process in strangers)
        return told(FINE, f"{_many(len(strangers), 'other program')} with {facts.size(held)}, doing nothing there")
    return told(FINE, "only our servers are there")


def _throttle(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("throttle", state, "thermal or power throttling", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    found: list[str] = []
    for gpu in facts.gpus:
        figure = _clocks(gpu)
        if "thermal" in gpu.throttle or "hardware" in gpu.throttle:
            remedy = "Cool it: clean the fans, or let more air in"
            return told(CAUSE, figure, remedy if "thermal" in gpu.throttle else "Look at its power supply and cables")
        slowed = gpu.clock is not None and gpu.clock_max and gpu.clock < SLOWED * gpu.clock_max
        if "power" in gpu.throttle and slowed:
            limit = f" ({gpu.power_limit:.0f} W)" if gpu.power_limit else ""
            return told(CAUSE, figure, f"Raise its power limit{limit}, where the card and its cooling allow it")
        if (gpu.percent or 0.0) >= WORKS and figure:
            found.append(figure)
    cpu, on_cpu = facts.sample.cpu, _computes(facts)
    if on_cpu and cpu.temperature is not None and cpu.temperature >= HOT:
        clock = f" at {cpu.frequency:.0f} of {cpu.frequency_max:.0f} MHz" if cpu.frequency and cpu.frequency_max else ""
        return told(CAUSE, f"the processor has {cpu.temperature:.0f} °C{clock}", "Cool it: clean the fans, or let more air in")
    if found:
        return told(FINE, "; ".join(found))
    if on_cpu and not facts.gpus:
        known = cpu.temperature is not None
        return told(FINE if known else UNKNOWN, f"the processor has {cpu.temperature:.0f} °C" if known else "no temperature is told")
    return told(UNKNOWN, "the card does nothing now: look while it writes" if facts.gpus else _no_card(facts))


def _clocks(gpu: Gpu) -> str:
    parts = [", ".join(f"{why} limit" for why in gpu.throttle)] if gpu.throttle else []
    if gpu.temperature is not None:
        parts.append(f"{gpu.temperature:.0f} °C")
    if gpu.clock is not None:
        parts.append(f"{gpu.clock:.0f}{f' of {gpu.clock_max:.0f}' if gpu.clock_max else ''} MHz")
    if gpu.power is not None:
        parts.append(f"{gpu.power:.0f}{f' of {gpu.power_limit:.0f}' if gpu.power_limit else ''} W")
    return f"GPU{gpu.index}: {', '.join(parts)}" if parts else ""


def _pcie(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("pcie", state, "PCIe narrower than possible", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    known = [gpu for gpu in facts.gpus if gpu.pcie_width and gpu.pcie_width_max]
    if not known:
        return told(UNKNOWN, "the driver does not tell" if facts.gpus else _no_card(facts))
    works = [gpu for gpu in known if (gpu.percent or 0.0) >= WORKS]
    if not works:
        return told(UNKNOWN, f"{_link(known[0])}; the card rests now, and cards slow the link down then")
    matters = bool(facts.off_gpu) or len(facts.gpus) > 1
    for gpu in works:
        if (gpu.pcie_width or 0) < (gpu.pcie_width_max or 0) or (gpu.pcie_generation or 0) < (gpu.pcie_generation_max or 0):
            if not matters:
                return told(FINE, f"{_link(gpu)}; with all of it on one card that matters for loading only")
            why = "a part of it is on the CPU" if facts.off_gpu else f"it is on {len(facts.gpus)} cards"
            return told(CAUSE, f"{_link(gpu)}, and {why}", "Put the card into the slot nearest the processor; look at the BIOS settings")
    return told(FINE, _link(works[0]))


def _link(gpu: Gpu) -> str:
    now, most = f"x{gpu.pcie_width}", f"x{gpu.pcie_width_max}"
    if gpu.pcie_generation and gpu.pcie_generation_max:
        now, most = f"Gen{gpu.pcie_generation} {now}", f"Gen{gpu.pcie_generation_max} {most}"
    return f"GPU{gpu.index}: {now}" + ("" if now == most else f" of {most}")


def _no_card(facts: SlowFacts) -> str:
    if facts.sample is not None and not facts.sample.gpus:
        return facts.sample.gpu_note or "there is no GPU"
    return "it is on no GPU" if facts.model is not None and facts.model.vram == 0 else "it is not known on which card it is"


# --- the rest of the machine --------------------------------------------------------------------------------------------


def _unmeasured(facts: SlowFacts) -> str:
    return "nothing is measured now" if facts.here else ELSEWHERE


def _computes(facts: SlowFacts) -> bool:
    """Whether the processor has a part in it, as far as that is known."""
    return bool(facts.off_gpu) or (facts.off_gpu is None and facts.sample is not None and not facts.sample.gpus)


def _power(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("power", state, "battery or power profile", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    power, cpu = facts.sample.power, facts.sample.cpu
    if power is None or (power.on_battery is None and not power.profile):
        return told(UNKNOWN, "this machine does not tell")
    clock = f"{cpu.frequency:.0f} of {cpu.frequency_max:.0f} MHz" if cpu.frequency and cpu.frequency_max else ""
    parts = [power.profile] if power.profile else []
    if power.on_battery is not None:
        charge = f" ({power.battery:.0f} %)" if power.battery is not None else ""
        parts.insert(0, f"on battery{charge}" if power.on_battery else "on mains power")
    figure = ", ".join([*parts, clock] if clock else parts)
    if power.on_battery:
        return told(CAUSE, figure, "Plug it in")
    low = bool(cpu.frequency and cpu.frequency_max and cpu.frequency < SLOWED * cpu.frequency_max and (cpu.percent or 0.0) >= BUSY)
    if power.profile == "power-saver" or (power.profile == "powersave" and low):
        return told(CAUSE, figure, "Choose the profile performance: powerprofilesctl set performance")
    return told(FINE, figure)


def _threads(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("threads", state, "too few or too many threads", figure, remedy)

    if facts.sample is None:
        return told(UNKNOWN, _unmeasured(facts))
    cores = facts.sample.cpu.physical
    if facts.model is None:
        return told(UNKNOWN, "it is not loaded")
    if facts.off_gpu == 0:
        return told(FINE, "the processor has no part in it")
    if cores is None:
        return told(UNKNOWN, "it is not known how many cores there are")
    if facts.threads is None:
        return told(FINE if _computes(facts) else UNKNOWN, f"the server chooses; there are {count(cores)} cores")
    source = f" ({facts.threads_of})" if facts.threads_of else ""
    figure = f"{count(facts.threads)} threads{source} for {count(cores)} cores"
    if facts.threads > cores or facts.threads * 2 < cores:
        return told(CAUSE, figure, f"Set {'num_thread' if facts.threads_of != 'its command line' else '--threads'} to {count(cores)}")
    return told(FINE, figure)


def _queue(facts: SlowFacts) -> Check:
    def told(state: str, figure: str, remedy: str = "") -> Check:
        return Check("queue", state, "queue at the server", figure, remedy)

    loaded = facts.loaded
    if loaded is None:
        return told(UNKNOWN, "it is not loaded")
    running = loaded.running if loaded.running is not None else loaded.model.busy_slots
    waiting = loaded.waiting if loaded.waiting is not None else loaded.model.waiting
    slots = facts.limit or loaded.model.slots
    if running is None and waiting is None:
        if loaded.own > 1:
            return told(CAUSE, f"{count(loaded.own)} answers of ours are written at once", "Let one end before the next begins")
        return told(UNKNOWN, "the server does not tell how many requests it works on")
    requests = f"{count(running or 0)} of {count(slots)} requests" if slots else _many(running or 0, "request")
    at = f"works on {requests}, {count(waiting or 0)} wait"
    if waiting:
        return told(CAUSE, at, "Wait, or start the server with more slots: --parallel, OLLAMA_NUM_PARALLEL, --max-num-seqs")
    if (running or 0) > 1:
        more = f", {count(running - loaded.own)} not from here" if running and running > loaded.own else ""
        return told(CAUSE, f"{at}{more}: they share its speed", "Wait until the others are done")
    return told(FINE, at)


_CHECKS: Final[dict[str, Callable[[SlowFacts], Check]]] = {
    "offload": _offload, "context": _context, "swap": _swap, "other": _other, "throttle": _throttle, "pcie": _pcie, "power": _power,
    "threads": _threads, "queue": _queue,
}  # fmt: skip
