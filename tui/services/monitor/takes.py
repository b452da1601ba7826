"""What a model would take of this machine's memory, and where its server would most likely put it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tui.core.chat import ConversationSettings
from tui.core.fit import SERVED, Basis, Machine, Need, Served, Shape, Verdict, freed, judge, kv_cache, need_of, subject_of
from tui.core.models import Model, RunningModel
from tui.core.monitor import Profile, Take
from tui.core.names import same
from tui.services.chat.sending import options_of
from tui.services.machine import is_here, machine_of

if TYPE_CHECKING:
    from tui.hardware.sample import Gpu, Sample
    from tui.services.monitor.host import MonitorHost

CONTEXT: Final = 8192
"""Tokens taken where nobody says how many a server gives a model."""
ALONE: Final = 0.8
"""Share of a GPU's free memory up to which a model is put on it alone (Ollama reference, section 5.5)."""


def would_take(
    host: MonitorHost, sample: Sample | None, provider: str, model: str, context: int | None, profile: Profile | None
) -> Take | None:
    """What a model would take; None while its details are not known (they are asked for), or where its size never is.

    Args:
        host: Tells what is installed and loaded.
        sample: The newest one.
        provider: Where.
        model: Its exact name.
        context: Tokens; None: as it would be loaded.
        profile: What earlier loads took.
    """
    watching = host.watching
    state = watching.state(provider)
    listed = next((one for one in watching.models.value if one.provider == provider and model in (one.key, one.name)), None)
    if state is None or listed is None or not listed.size:
        return None
    running = next((one for one in watching.running.value if one.provider == provider and same(one.key, listed.key)), None)
    detail = host.detail(provider, listed.key)
    if detail is None and profile is None and running is None:
        return None
    subject = subject_of(listed, detail)
    if subject is None:
        return None
    served, lessons = host.taught(provider)
    tokens = context or (running.context if running is not None else None) or _usual(host, listed, profile)
    need = need_of(subject, tokens, served, lessons)
    if not need.measured and (known := _measured(running, profile)) is not None:
        size, at = known
        if at == tokens:
            need = Need(size, 0, 0, ram=need.ram, basis=Basis.MEASURED)
        elif subject.shape is not None:
            grown = kv_of(subject.shape, tokens, served) - kv_of(subject.shape, at, served)
            need = Need(max(0, size + grown), 0, 0, ram=need.ram, basis=Basis.FITTED)
    if not is_here(state, demo=host.demo):
        return _elsewhere(host, provider, need, tokens, served)
    machine = machine_of(sample, watching.providers.value, watching.running.value)
    if sample is None or machine is None:
        return None
    loaded = running is not None and (context is None or context == running.context)
    if loaded:
        return Take(context=tokens, measured=True, verdict=str(Verdict.LOADED))
    return _placed(need, sample.gpus, machine, running, tokens, served)


def _usual(host: MonitorHost, listed: Model, profile: Profile | None) -> int:
    asked = options_of(host.settings(), listed.key, ConversationSettings()).get("num_ctx")
    if isinstance(asked, int):
        return asked
    if profile is not None and profile.context:
        return profile.context
    return min(CONTEXT, listed.context or CONTEXT)


def _measured(running: RunningModel | None, profile: Profile | None) -> tuple[int, int] | None:
    """Bytes and tokens of a load that was measured: of this one, or of earlier ones."""
    if running is not None and running.size and running.context:
        return running.size, running.context
    if profile is not None and profile.memory and profile.context:
        return profile.memory, profile.context
    return None


def _elsewhere(host: MonitorHost, provider: str, need: Need, tokens: int, served: Served) -> Take | None:
    """On another machine nothing is known but what the settings say."""
    settings = host.settings().providers.get(provider)
    vram = settings.vram if settings is not None else None
    if not vram:
        return None
    fit = judge(need, Machine(ram_total=0, ram_free=0, gpu_total=vram, gpu_free=vram, gpus=1), served)
    missing = max(0, need.total + served.margin - vram)
    verdict = Verdict.NO if missing else fit.verdict
    return Take(ram=0, context=tokens, measured=need.measured, missing=missing, verdict=str(verdict))


def kv_of(shape: Shape, tokens: int, served: Served) -> int:
    """Bytes of the cache as a server keeps it."""
    return kv_cache(shape, tokens, slots=served.slots, kind=served.cache_type, batch=served.batch)


def _placed(need: Need, gpus: Sequence[Gpu], machine: Machine, running: RunningModel | None, tokens: int, served: Served) -> Take:
    free = {
        gpu.uuid: max(0, (gpu.memory_total or 0) - (gpu.memory_used or 0))
        for gpu in gpus
        if gpu.memory_total and not gpu.lost and not gpu.unified
    }
    ours = running.vram or 0 if running is not None else 0  # it is unloaded before it is loaded again
    machine = freed(machine, ours)
    fit = judge(need, machine, served)
    total = max(0, need.total - ours)
    on_gpu = place(total, free, served.margin)
    rest = total - sum(on_gpu.values())
    ram = need.ram + rest
    if machine.gpus:
        missing = max(0, need.total + served.margin * machine.gpus - machine.gpu_free)
        missing = 0 if fit.verdict in (Verdict.GOOD, Verdict.TIGHT) else max(missing, fit.over)
    else:
        missing = fit.over
    return Take(tuple(on_gpu.items()), ram, tokens, need.measured, missing, str(fit.verdict))


def place(total: int, free: dict[str, int], margin: int = SERVED.margin) -> dict[str, int]:
    """Bytes of a model on each GPU: on one alone where it has room enough, else on all of them by their room; the rest is left out."""
    if not free or total <= 0:
        return {}
    emptiest = max(free, key=lambda uuid: free[uuid])
    if total <= ALONE * free[emptiest] or (len(free) == 1 and total + margin <= free[emptiest]):
        return {emptiest: total}
    room = {uuid: max(0, bytes_free - margin) for uuid, bytes_free in free.items()}
    whole = sum(room.values())
    if whole <= 0:
        return {}
    part = min(1.0, total / whole)
    return {uuid: int(held * part) for uuid, held in room.items() if int(held * part)}
