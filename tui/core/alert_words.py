"""Alerts in words, the same on the screen, in notices, on the command line and for the alert command."""

from __future__ import annotations

import time
from typing import Final

from tui.core.monitor import Alert
from tui.text import duration

PROVIDER_DOWN: Final = "provider_down"
NOT_WATCHED: Final = "it is not watched any more"
"""`Alert.culprit` of a provider that did not come back but was removed or turned off."""
NOBODY_LOOKED: Final = "then nobody looked"
"""The same of one that was down when this machine slept or the program crashed."""
_NAMES: Final = {"cpu": "CPU", "memory": "Memory", "gpu": "GPU", "gpu_temperature": "GPU", "vram": "VRAM", "disk": "Disk"}


def alert_name(alert: Alert) -> str:
    """What it is about: "CPU", "GPU0", "GPU0 VRAM", "Disk /models", "ollama"."""
    if alert.rule == PROVIDER_DOWN:
        return alert.subject
    name = _NAMES.get(alert.rule, alert.rule)
    if not alert.subject:
        return name
    if alert.rule == "disk":
        return f"{name} {alert.subject}"
    return f"{alert.subject} {name}" if alert.rule == "vram" else alert.subject


def alert_figure(alert: Alert, value: float, *, fahrenheit: bool = False) -> str:
    """A figure of an alert with its unit: "86 °C", "97 %", "31s"."""
    if alert.rule == PROVIDER_DOWN:
        return duration(value)
    if alert.rule != "gpu_temperature":
        return f"{value:.0f} %"
    return f"{value * 9 / 5 + 32:.0f} °F" if fahrenheit else f"{value:.0f} °C"


def alert_seconds(alert: Alert, now: float) -> float:
    """How long it lasts, or lasted."""
    return max(0.0, (now if alert.ended_at is None else alert.ended_at) - alert.started_at)


def alert_sentence(alert: Alert, now: float, *, fahrenheit: bool = False) -> str:
    """One line, without a full stop.

    "GPU0 86 °C, over 85 °C for 1m52s, while qwen3:8b wrote"; "ollama does not answer since 12:04 (31s)"; of one that ended
    "GPU0 VRAM over 95 %, cleared after 31s", "ollama came back after 31s".

    Args:
        alert: Lasting or ended.
        now: Epoch seconds.
        fahrenheit: Temperatures in °F.
    """
    name, lasted = alert_name(alert), duration(alert_seconds(alert, now))
    if alert.rule == PROVIDER_DOWN:
        if alert.ended_at is None:
            return f"{name} does not answer since {time.strftime('%H:%M', time.localtime(alert.started_at))} ({lasted})"
        return f"{name} did not answer for {lasted}, {alert.culprit}" if alert.culprit else f"{name} came back after {lasted}"
    limit = alert_figure(alert, alert.limit, fahrenheit=fahrenheit)
    told = f", {alert.culprit}" if alert.culprit else ""
    if alert.ended_at is not None:
        return f"{name} over {limit}, cleared after {lasted}{told}"
    return f"{name} {alert_figure(alert, alert.figure, fahrenheit=fahrenheit)}, over {limit} for {lasted}{told}"
