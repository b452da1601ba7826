"""What the rules of `[alerts]` look at, out of a sample and the state of providers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tui.core.alert_words import PROVIDER_DOWN
from tui.core.errors import FailureKind
from tui.core.models import Origin, ProviderState, ProviderStatus
from tui.hardware.sample import Sample
from tui.services.monitor.alerts import Key, Reading
from tui.text import clean_name, size

if TYPE_CHECKING:
    from tui.config.settings import Settings
    from tui.core.models import RunningModel
    from tui.services.chat.api import LiveAnswer
    from tui.services.own_use import OwnUse

MACHINE: Final = ("cpu", "memory", "gpu", "gpu_temperature", "vram", "disk")
"""The rules that a sample answers."""


def raw(settings: Settings, sample: Sample, binary: bool = False) -> Iterable[tuple[Key, str, float, int, str]]:
    """Key, subject, figure, limit and culprit of every rule that is on; own models' work is in the figures."""
    alerts = settings.alerts
    if alerts.cpu and sample.cpu.percent is not None:
        yield ("cpu", ""), "", sample.cpu.percent, alerts.cpu, ""
    memory = sample.memory
    if alerts.memory and memory.total and memory.used is not None:
        yield ("memory", ""), "", 100 * memory.used / memory.total, alerts.memory, ""
    for gpu in sample.gpus:
        if gpu.lost:
            continue
        name = f"GPU{gpu.index}"
        if alerts.gpu and gpu.percent is not None:
            yield ("gpu", gpu.uuid), name, gpu.percent, alerts.gpu, ""
        if alerts.gpu_temperature and gpu.temperature is not None:
            yield ("gpu_temperature", gpu.uuid), name, gpu.temperature, alerts.gpu_temperature, ""
        if alerts.vram and gpu.memory_total and gpu.memory_used is not None and not gpu.unified:
            yield ("vram", gpu.uuid), name, 100 * gpu.memory_used / gpu.memory_total, alerts.vram, ""
    for disk in sample.disks:
        if alerts.disk and disk.total and disk.free is not None:
            path = clean_name(disk.path, 60)
            yield ("disk", path), path, 100 * (disk.total - disk.free) / disk.total, alerts.disk, f"{size(disk.free, binary=binary)} free"


_SHARED: Final = ("cpu", "memory", "gpu", "vram")
"""Rules that leave out what own servers use, where `[limits] count` is "others"."""


def asks_own(settings: Settings, sample: Sample) -> bool:
    """Whether it matters what own servers use: counted without it, something may not be over its limit."""
    if settings.limits.count != "others":
        return False
    return any(key[0] in _SHARED and figure > limit for key, _subject, figure, limit, _who in raw(settings, sample))


def machine_readings(settings: Settings, sample: Sample, own: OwnUse | None, own_cpu: float | None, culprit: str) -> tuple[Reading, ...]:
    """What the rules see of a sample; nothing for a figure of which it is not known how much of it is ours.

    Args:
        settings: The running settings.
        sample: The newest one.
        own: What own servers use; None while it is not known.
        own_cpu: Percent points of the processor that they use; None while not known.
        culprit: What runs now: "while qwen3:8b wrote".
    """
    others = settings.limits.count == "others"
    found = []
    for key, subject, figure, limit, who in raw(settings, sample, settings.appearance.units == "binary"):
        rule, value = key[0], figure
        if others and rule in _SHARED:
            ours = _ours(rule, key[1], sample, own, own_cpu, figure)
            if ours is None and figure > limit:
                continue
            value = max(0.0, figure - (ours or 0.0))
        other = who or _holds(key, sample, own, settings.appearance.units == "binary")
        blame = other if rule == "disk" or (others and other) else culprit or other
        found.append(Reading(key, subject, value, limit, settings.alerts.after, blame))
    return tuple(found)


def _holds(key: Key, sample: Sample, own: OwnUse | None, binary: bool) -> str:
    """Who else has most of a memory: "alice's python has 5.9 GB"; empty where not known."""
    if key[0] in ("gpu", "vram"):
        return own.others.get(key[1], "") if own is not None else ""
    if key[0] == "memory":
        pids = own.pids if own is not None else frozenset[int]()
        for process in sample.processes:
            if process.pid not in pids and process.user:
                return f"{process.user}'s {process.name} has {size(process.memory, binary=binary)}"
    return ""


def _ours(rule: str, uuid: str, sample: Sample, own: OwnUse | None, own_cpu: float | None, figure: float) -> float | None:
    """Percent points of own servers."""
    if rule == "cpu":
        return own_cpu
    if own is None:
        return None
    if rule == "memory":
        return 100 * own.memory / sample.memory.total if sample.memory.total else None
    if rule == "gpu":  # a driver's percentage is of all processes together
        return figure if uuid in own.gpus else 0.0
    total = next((gpu.memory_total for gpu in sample.gpus if gpu.uuid == uuid), None)
    return 100 * own.gpu_memory.get(uuid, 0) / total if total else None


def at_work(live: Sequence[LiveAnswer], running: Sequence[RunningModel]) -> str:
    """What runs now: "while qwen3:8b wrote"; empty where nothing that is known does."""
    for answer in live:
        return f"while {clean_name(answer.model, 60)} {'read its prompt' if answer.phase == 'reading' else 'wrote'}"
    for model in running:
        if model.busy_slots:
            return f"while {clean_name(model.name, 60)} wrote"
    return ""


def no_answer(state: ProviderState) -> bool | None:
    """Whether a server does not answer; None while that is not known."""
    if state.status in (ProviderStatus.UP, ProviderStatus.FOUND):
        return False
    if state.status is ProviderStatus.DOWN:
        return True
    if state.status is ProviderStatus.FAILED:
        return state.failure is not None and state.failure.kind is FailureKind.TIMEOUT
    return False if state.failure is None and state.checked_at is not None else None


def provider_readings(settings: Settings, states: Sequence[ProviderState], were_up: set[str]) -> tuple[Reading, ...]:
    """What `provider_down` sees: servers that answered once while it looked, and the default one.

    Args:
        settings: The running settings.
        states: Of all providers.
        were_up: Names of those that answered; it is kept.
    """
    found = []
    for state in states:
        down = no_answer(state)
        if down is False:
            were_up.add(state.name)
        default = state.is_default and state.origin in (Origin.CONFIG, Origin.ENVIRONMENT, Origin.FLAG)
        if not settings.alerts.provider_down or down is None or not (default or state.name in were_up):
            continue
        seconds = settings.alerts.provider_down
        found.append(Reading((PROVIDER_DOWN, state.name), state.name, float(down), seconds, seconds))
    return tuple(found)
