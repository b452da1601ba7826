"""Battery or mains, and the power profile."""

from __future__ import annotations

from pathlib import Path

from tui.hardware import reading
from tui.hardware.sample import Power
from tui.text import clean_name


def read_power(root: Path = Path("/")) -> Power | None:
    """What the machine runs on; None where it says nothing.

    Args:
        root: Where `/sys` is.
    """
    if not reading.has_proc(root):
        from tui.hardware import elsewhere

        return elsewhere.power()
    on_battery, battery = _supplies(root)
    profile = _profile(root)
    return Power(on_battery, battery, profile) if (on_battery, battery, profile) != (None, None, "") else None


def _supplies(root: Path) -> tuple[bool | None, float | None]:
    """Whether it runs on battery, and the charge; see Documentation/ABI/testing/sysfs-class-power."""
    mains: list[bool] = []
    states: list[str] = []
    charges: list[float] = []
    for name in reading.names(root / "sys/class/power_supply"):
        folder = root / "sys/class/power_supply" / name

        def word(file: str, folder: Path = folder) -> str:
            return reading.text(folder / file, 64).strip()

        if word("scope") == "Device":  # of a mouse or a headset
            continue
        if word("type") == "Battery":
            if word("present") == "0":
                continue
            states.append(word("status"))
            charge = reading.number(folder / "capacity")
            if charge is not None:
                charges.append(reading.share(charge))
        elif word("type") in ("Mains", "USB", "Wireless") and word("online"):
            mains.append(word("online") != "0")
    battery = round(sum(charges) / len(charges), 1) if charges else None
    if not states:
        return (False if any(mains) else None), None
    if "Discharging" in states and not any(mains):
        return True, battery
    return (not any(mains) if mains else False), battery


def _profile(root: Path) -> str:
    """The profile of the firmware, else what decides the frequency."""
    chosen = reading.text(root / "sys/firmware/acpi/platform_profile", 64).strip()
    if not chosen:
        folder = root / "sys/devices/system/cpu/cpufreq"
        first = next((name for name in reading.names(folder) if name.startswith("policy")), None)
        chosen = reading.text(folder / first / "scaling_governor", 64).strip() if first else ""
    return clean_name(chosen, 32)
