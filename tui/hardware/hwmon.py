"""Sensors of a card as the kernel's hardware monitoring gives them (Documentation/hwmon/sysfs-interface.rst)."""

from __future__ import annotations

from pathlib import Path

from tui.hardware.reading import names
from tui.hardware.trees import number


class Sensors:
    """The sensors of one device; every figure is None where there is none.

    Args:
        device: Its folder.
    """

    def __init__(self, device: Path) -> None:
        self._folders = tuple(device / "hwmon" / name for name in names(device / "hwmon"))

    def _first(self, files: tuple[str, ...], low: int, high: int) -> int | None:
        for folder in self._folders:
            for file in files:
                found = number(folder / file, low, high)
                if found is not None:
                    return found
        return None

    def temperature(self) -> float | None:
        """Celsius, of the first sensor that answers."""
        found = self._first(("temp1_input", "temp2_input"), -100_000, 300_000)
        return None if found is None or found <= 0 else found / 1000

    def power(self) -> float | None:
        """Watts, averaged by the card or as they are."""
        found = self._first(("power1_average", "power1_input"), 0, 10_000_000_000)
        return None if found is None else round(found / 1e6, 1)

    def power_limit(self) -> float | None:
        """Watts; None where the limit is off."""
        found = self._first(("power1_cap", "power1_max", "power2_max", "power1_rated_max"), 1, 10_000_000_000)
        return None if found is None else round(found / 1e6, 1)

    def energy(self) -> int | None:
        """Microjoules since some moment."""
        return self._first(("energy1_input", "energy2_input"), 0, 2**63)

    def fan(self) -> float | None:
        """Percent of the highest speed."""
        level = self._first(("pwm1",), 0, 65_535)
        if level is not None:
            highest = self._first(("pwm1_max",), 1, 65_535) or 255
        else:
            level, highest = self._first(("fan1_input",), 0, 100_000), self._first(("fan1_max",), 1, 100_000) or 0
        return round(min(100.0, 100 * level / highest), 1) if level is not None and highest else None

    def clocks(self) -> tuple[float | None, float | None]:
        """MHz of processors and memory."""
        found = (self._first((f"freq{which}_input",), 0, 100_000_000_000) for which in (1, 2))
        processors, memory = (None if figure is None else round(figure / 1e6) for figure in found)
        return processors, memory
