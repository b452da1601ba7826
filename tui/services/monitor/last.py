"""The last sample in one small file, so that `paddock status --line` answers without asking anybody."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tui.core.places import LAST_LIMIT, LAST_VERSION, last_file

if TYPE_CHECKING:
    from tui.core.clock import Clock
    from tui.core.jobs import QueueView
    from tui.core.models import ProviderState, RunningModel
    from tui.core.monitor import AlertsView
    from tui.hardware.sample import Gpu, Sample
    from tui.services.hub import Hub

EVERY: Final = 2.0
"""Seconds between two writings, at least."""
AGAIN: Final = 5.0
"""Seconds after which it is written although nothing changed: its age says whether anybody measures."""
MODELS: Final = 8
GPUS: Final = 16


class LastFile:
    """Writes it, when a sample comes and at most every `EVERY` seconds; a failure to write is of no matter.

    Args:
        place: Where to; asked each time (see `core.places.last_file`).
        told: What else the line tells, as `facts` makes it.
    """

    def __init__(self, place: Callable[[], str], told: Callable[[], Mapping[str, Any]], clock: Clock) -> None:
        self._place = place
        self._told = told
        self._clock = clock
        self._at = float("-inf")
        self._before = ""

    def take(self, sample: Sample, interval: float) -> None:
        """Write what is new."""
        now = self._clock.monotonic()
        if now - self._at < EVERY:
            return
        facts = {**of_sample(sample), **self._told()}
        text = json.dumps(facts, separators=(",", ":"), allow_nan=False)
        if text == self._before and now - self._at < AGAIN:
            return
        self._at, self._before = now, text
        head = {"v": LAST_VERSION, "host": os.uname().nodename, "at": round(sample.time, 3), "every": interval}
        write(self._place(), json.dumps({**head, **facts}, separators=(",", ":"), allow_nan=False).encode())


def last_of(hub: Hub) -> LastFile:
    """The one of an app."""
    config = str(hub.paths.config_file)

    def told() -> dict[str, Any]:
        look = hub.settings().appearance
        return facts(
            hub.monitor.machine(),
            hub.watching.default(),
            hub.watching.running.value,
            hub.jobs.view.value,
            hub.monitor.alerts.value,
            now=hub.clock.time(),
            fahrenheit=hub.settings().monitor.temperature_unit == "F",
            binary=look.units == "binary",
            ascii=look.ascii == "on",
        )

    return LastFile(lambda: last_file(hub.environ, demo=hub.is_demo, config=config), told, hub.clock)


def of_sample(sample: Sample) -> dict[str, Any]:
    """What the line shows of a sample."""
    memory = sample.memory
    ram = 100 * memory.used / memory.total if memory.total and memory.used is not None else None
    gpus = [_gpu(gpu) for gpu in sample.gpus[:GPUS]]
    return {"cpu": _round(sample.cpu.percent), "ram": _round(ram), "gpus": gpus}


def _gpu(gpu: Gpu) -> dict[str, Any]:
    found = {"label": f"GPU{gpu.index}", "name": gpu.name[:60], "percent": _round(gpu.percent)}
    return {**found, "used": gpu.memory_used, "total": gpu.memory_total}


def _round(value: float | None) -> int | None:
    return None if value is None else round(value)


def facts(
    machine: str,
    server: ProviderState | None,
    running: tuple[RunningModel, ...],
    queue: QueueView,
    alerts: AlertsView,
    *,
    now: float,
    fahrenheit: bool,
    binary: bool,
    ascii: bool,
) -> dict[str, Any]:
    """What the line shows beside the sample."""
    from tui.core.alert_words import alert_sentence
    from tui.core.jobs import JobState
    from tui.core.models import ProviderStatus

    live = (JobState.WAITING, JobState.FETCHING, JobState.CHECKING, JobState.PAUSED, JobState.FAILED)
    down = (ProviderStatus.DOWN, ProviderStatus.FAILED, ProviderStatus.OFF)
    states = {state.value: number for state in live if (number := queue.count(state))}
    unseen = [alert for alert in alerts.active if not alert.acknowledged]
    return {
        "machine": machine,
        "server": None if server is None else {"name": server.name[:60], "up": server.status not in down},
        "models": [{"name": model.name[:80], "size": model.size, "provider": model.provider[:60]} for model in running[:MODELS]],
        "more": max(0, len(running) - MODELS),
        "pulls": {"states": states, "running": queue.count(JobState.FETCHING, JobState.CHECKING), "rate": _round(queue.rate)}
        | {"percent": _round(queue.percent)},
        "alerts": {"count": len(unseen), "newest": alert_sentence(unseen[0], now, fahrenheit=fahrenheit) if unseen else ""},
        "binary": binary,
        "ascii": ascii,
    }


def write(path: str, data: bytes) -> None:
    """Replace the file at once, for its owner only; it is of no worth after a crash, so nothing is forced to the disk."""
    if len(data) > LAST_LIMIT:
        return
    temporary = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), 0o700)  # noqa: PTH102, PTH120 - its parent is never ours to make
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)
        os.replace(temporary, path)  # noqa: PTH105
