"""Battery, mains and profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hardware.tree import Tree
from tui.hardware.power import read_power
from tui.hardware.sample import Power

BATTERY = {"type": "Battery", "status": "Discharging", "capacity": 62, "present": 1}


@pytest.mark.parametrize(
    ("supplies", "found"),
    [
        ({}, None),
        ({"AC": {"type": "Mains", "online": 1}}, Power(False, None, "")),
        ({"AC": {"type": "Mains", "online": 0}}, None),
        ({"AC": {"type": "Mains", "online": 0}, "BAT0": BATTERY}, Power(True, 62.0, "")),
        ({"AC": {"type": "Mains", "online": 1}, "BAT0": BATTERY}, Power(False, 62.0, "")),
        ({"BAT0": BATTERY}, Power(True, 62.0, "")),
        ({"BAT0": {**BATTERY, "status": "Full", "capacity": 104}}, Power(False, 100.0, "")),
        ({"BAT0": BATTERY, "BAT1": {**BATTERY, "capacity": 0}}, Power(True, 31.0, "")),
        ({"mouse": {**BATTERY, "scope": "Device"}}, None),
        ({"BAT0": {**BATTERY, "present": 0}}, None),
        ({"usb": {"type": "USB", "online": 1}, "BAT0": {**BATTERY, "capacity": "x"}}, Power(False, None, "")),
    ],
)
def test_what_the_machine_runs_on(tmp_path: Path, supplies: dict[str, dict[str, object]], found: Power | None):
    for name, files in supplies.items():
        Tree(tmp_path).writes(f"sys/class/power_supply/{name}", files)
    assert read_power(tmp_path) == found


def test_the_firmware_s_profile_goes_before_the_governor(tmp_path: Path):
    tree = Tree(tmp_path)
    tree.frequencies([2000])
    assert read_power(tmp_path) == Power(None, None, "powersave")
    tree.write("sys/firmware/acpi/platform_profile", "low-power")
    assert read_power(tmp_path) == Power(None, None, "low-power")


def test_G12_X_an_odd_profile_is_cleaned(tmp_path: Path):
    Tree(tmp_path).write("sys/firmware/acpi/platform_profile", b"\x1b[2J\xff" + b"x" * 60)
    found = read_power(tmp_path)
    assert found is not None and "\x1b" not in found.profile and len(found.profile) <= 32
