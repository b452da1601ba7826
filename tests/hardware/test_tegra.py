"""NVIDIA's systems on a chip out of recorded trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hardware import trees_gpu as trees
from tests.support.screen import FORBIDDEN
from tui.hardware import tegra
from tui.hardware.sample import Gpu
from tui.hardware.tegra import Tegra


def test_all_figures_of_an_orin(tmp_path: Path):
    trees.write(tmp_path, trees.TEGRA)
    source = tegra.find(tmp_path)
    assert source is not None
    assert source.read() == (
        Gpu(
            "tegra-gpu",
            0,
            "NVIDIA Jetson AGX Orin Developer Kit",
            source="Tegra",
            percent=87.3,
            memory_total=65_536_000 * 1024,
            memory_used=(65_536_000 - 40_960_000) * 1024,
            unified=True,
            temperature=51.5,
            power=22.8,
            clock=1300.0,
            clock_max=1300.0,
        ),
    )


@pytest.mark.parametrize("where", ["sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load", "sys/devices/57000000.gpu/load"])
def test_the_load_is_where_older_systems_have_it(tmp_path: Path, where: str):
    trees.write(tmp_path, {"proc/device-tree/compatible": "nvidia,jetson-nano\0nvidia,tegra210\0", where: "421\n"})
    assert Tegra(tmp_path).read()[0].percent == 42.1


def test_an_older_system_tells_its_clock_below_the_device(tmp_path: Path):
    trees.write(tmp_path, {"sys/devices/17000000.gv11b/devfreq/17000000.gv11b/cur_freq": "1377000000\n"})
    assert Tegra(tmp_path).read()[0].clock == 1377.0


def test_other_machines_are_none(tmp_path: Path):
    assert tegra.find(tmp_path) is None
    trees.write(tmp_path, {"proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0"})
    assert tegra.find(tmp_path) is None


@pytest.mark.parametrize("content", ["", "-1", "banana", "9" * 300, "\x1b[31m\u202e"])
def test_G06_odd_contents_are_none(tmp_path: Path, content: str):
    trees.write(tmp_path, dict.fromkeys(trees.TEGRA, content))
    (gpu,) = Tegra(tmp_path).read()
    assert (gpu.percent, gpu.memory_total, gpu.memory_used, gpu.temperature, gpu.power, gpu.clock) == (None,) * 6
    assert not FORBIDDEN & set(gpu.name)
