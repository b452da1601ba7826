"""Samples as figures with names of `core.exported`, and the way back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from tui.core.exported import CORE, DISK, EXPORTED, GPU, LABELS, MACHINE, Exported
from tui.hardware.sample import Cgroup, Cpu, Disk, Gpu, Memory, Network, Power, Sample
from tui.text import clean_name

Figure = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""
MOST_CORES: Final = 1024
MOST_DISKS: Final = 32
MOST_GPUS: Final = 64
_LARGEST: Final = 1e18
_WHOLE: Final = frozenset(
    (
        *("count", "physical", "version", "total", "used", "available", "cache", "swap_total", "swap_used", "free", "memory_limit"),
        *("memory_used", "memory_total", "pcie_generation", "pcie_generation_max", "pcie_width", "pcie_width_max"),
        *("ecc_corrected", "ecc_uncorrected"),
    )
)
_FLAGS: Final = frozenset({"unified", "lost", "on_battery"})
_BY_NAME: Final = {row.name: row for row in EXPORTED}


def exported(sample: Sample) -> Iterator[tuple[Exported, tuple[str, ...], float]]:
    """What a sample tells: the row of the table, the values of its labels (the part's, then its own), and the figure."""
    for row in EXPORTED:
        for labels, part in _parts(sample, row.of):
            for value, field in row.fields:
                own = (*labels, value) if row.label else labels
                figure = _value(part, field)
                if row.of == CORE:
                    yield from ((row, (str(core),), float(percent)) for core, percent in enumerate(figure or ()))
                elif figure is not None:
                    yield row, own, float(figure)


def label_names(row: Exported) -> tuple[str, ...]:
    """The labels that figures of a row have, in the order `exported` gives their values."""
    return (*LABELS[row.of], *((row.label,) if row.label else ()))


def _parts(sample: Sample, of: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    if of == DISK:
        yield from (((disk.path,), disk) for disk in sample.disks)
    elif of == GPU:
        yield from (((str(gpu.index), gpu.uuid, gpu.name), gpu) for gpu in sample.gpus)
    else:
        yield (), sample


def _value(part: Any, field: str) -> Any:
    for word in field.split("."):
        if part is None:
            return None
        if isinstance(part, tuple):
            part = dict(enumerate(part)).get(int(word))
            continue
        part = getattr(part, word)
    return part


def sample_of(figures: Iterable[Figure]) -> Sample | None:
    """The sample that figures tell; what is out of place is left out, None where nothing of a machine is in it."""
    flat: dict[str, float] = {}
    cores: dict[int, float] = {}
    disks: dict[str, dict[str, Any]] = {}
    gpus: dict[str, dict[str, Any]] = {}
    for name, labels, value in figures:
        row = _BY_NAME.get(name)
        if row is None or not math.isfinite(value) or abs(value) > _LARGEST:
            continue
        field = dict(row.fields).get(labels.get(row.label, "") if row.label else "")
        if field is None or (row.unit == "celsius" and not -100 <= value <= 300):
            continue
        if row.unit == "percent":
            value = min(100.0, value)
        if row.of == MACHINE:
            flat[field] = value
        elif row.of == CORE:
            _core(cores, labels, value)
        elif row.of == DISK and (path := clean_name(labels.get("path", ""), 200)) and (path in disks or len(disks) < MOST_DISKS):
            disks.setdefault(path, {})[field] = _typed(field, value)
        elif row.of == GPU:
            _card(gpus, labels, field, value)
    if not (cores or disks or gpus or flat.keys() - {"time"}):
        return None
    return _machine(flat, cores, disks, gpus)


def _core(cores: dict[int, float], labels: Mapping[str, str], value: float) -> None:
    number = labels.get("core", "")
    if number.isascii() and number.isdecimal() and len(number) < 5 and int(number) < MOST_CORES:
        cores[int(number)] = max(0.0, value)


def _card(gpus: dict[str, dict[str, Any]], labels: Mapping[str, str], field: str, value: float) -> None:
    uuid, index = clean_name(labels.get("uuid", ""), 80), labels.get("gpu", "")
    if not uuid or (uuid not in gpus and len(gpus) >= MOST_GPUS):
        return
    number = int(index) if index.isascii() and index.isdecimal() and len(index) < 5 else len(gpus)
    card = gpus.setdefault(uuid, {"uuid": uuid, "index": number, "name": clean_name(labels.get("name", ""), 80)})
    card[field] = _typed(field, value)


def _typed(field: str, value: float) -> Any:
    if field in _FLAGS:
        return value > 0
    if value < 0 and field != "temperature":
        return None
    if field in _WHOLE:
        return round(value)
    return value


def _machine(
    flat: Mapping[str, float], cores: Mapping[int, float], disks: Mapping[str, dict[str, Any]], gpus: Mapping[str, dict[str, Any]]
) -> Sample:
    def part(prefix: str) -> dict[str, Any]:
        begin = f"{prefix}."
        return {field[len(begin) :]: _typed(field[len(begin) :], value) for field, value in flat.items() if field.startswith(begin)}

    cpu = part("cpu")
    load = tuple(cpu.pop(f"load.{number}") for number in range(3) if f"load.{number}" in cpu)
    cgroup = part("cgroup")
    power = part("power")
    ordered = sorted(gpus.values(), key=lambda card: card["index"])
    return Sample(
        time=flat.get("time", 0.0),
        cpu=replace(Cpu(**cpu), load=load, cores=tuple(cores[number] for number in sorted(cores))),
        memory=Memory(**part("memory")),
        network=Network(**part("network")),
        cgroup=Cgroup(**cgroup) if cgroup.get("version") is not None else None,
        power=Power(**power) if power else None,
        disks=tuple(Disk(path, **fields) for path, fields in disks.items()),
        gpus=tuple(Gpu(**card) for card in ordered),
    )
