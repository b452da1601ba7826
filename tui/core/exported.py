"""The names under which `paddock monitor --prometheus` tells a sample, and another Paddock reads it (`providers.*.exporter`).

`hardware.exported` walks the table in both directions.
"""

from __future__ import annotations

from typing import Final

from tui.core.record import record

MACHINE: Final = "machine"
CORE: Final = "core"
DISK: Final = "disk"
GPU: Final = "gpu"
LABELS: Final = {MACHINE: (), CORE: ("core",), DISK: ("path",), GPU: ("gpu", "uuid", "name")}
"""Labels that say which part of the machine a figure is of; `gpu` is the driver's number."""


@record(frozen=True)
class Exported:
    """One exported name.

    Attributes:
        name: As Prometheus wants it; all are gauges.
        help: What it is, one line.
        unit: "percent", "bytes", "bytes_per_second", "celsius", "watts", "mhz", "seconds" or empty for plain numbers.
        of: `MACHINE`, or which parts there is a figure for each of.
        fields: Value of the label `label`, and the attribute of the sample (for parts: of the part); an attribute that is a tuple
            has one value for each.
        label: A further label, empty where there is one field.
    """

    name: str
    help: str
    unit: str
    of: str
    fields: tuple[tuple[str, str], ...]
    label: str = ""


def _one(name: str, text: str, unit: str, of: str, field: str) -> Exported:
    return Exported(f"paddock_{name}", text, unit, of, (("", field),))


def _same(prefix: str, *fields: str) -> tuple[tuple[str, str], ...]:
    return tuple((field, prefix + field) for field in fields)


EXPORTED: Final = (
    _one("sample_time_seconds", "When the sample was taken, seconds since 1970 UTC", "seconds", MACHINE, "time"),
    _one("cpu_percent", "Use of all processors together, 0 to 100", "percent", MACHINE, "cpu.percent"),
    _one("cpu_core_percent", "Use of each processor", "percent", CORE, "cpu.cores"),
    _one("cpu_count", "Logical processors", "", MACHINE, "cpu.count"),
    _one("cpu_physical", "Processor cores without their hyper-threads", "", MACHINE, "cpu.physical"),
    _one("cpu_mhz", "Frequency, mean of the processors", "mhz", MACHINE, "cpu.frequency"),
    _one("cpu_max_mhz", "Frequency the processors could reach", "mhz", MACHINE, "cpu.frequency_max"),
    _one("cpu_temperature_celsius", "Temperature of the processor", "celsius", MACHINE, "cpu.temperature"),
    _one("cpu_pressure_percent", "Share of the last 10 s in which something waited for the processor", "percent", MACHINE, "cpu.pressure"),
    Exported("paddock_load", "Load averages", "", MACHINE, (("1", "cpu.load.0"), ("5", "cpu.load.1"), ("15", "cpu.load.2")), "minutes"),
    Exported(
        "paddock_memory_bytes",
        "Main memory and swap",
        "bytes",
        MACHINE,
        _same("memory.", "total", "used", "available", "cache", "swap_total", "swap_used"),
        "kind",
    ),
    Exported(
        "paddock_swap_bytes_per_second",
        "Read from and written to swap",
        "bytes_per_second",
        MACHINE,
        (("in", "memory.swap_in"), ("out", "memory.swap_out")),
        "direction",
    ),
    Exported(
        "paddock_memory_pressure_percent",
        "Share of the last 10 s in which something (some) or everything (full) waited for memory",
        "percent",
        MACHINE,
        (("some", "memory.pressure"), ("full", "memory.pressure_full")),
        "kind",
    ),
    Exported("paddock_disk_bytes", "Room on the disk that holds a path", "bytes", DISK, _same("", "total", "used", "free"), "kind"),
    Exported("paddock_disk_bytes_per_second", "Traffic of that disk", "bytes_per_second", DISK, _same("", "read", "write"), "direction"),
    Exported(
        "paddock_network_bytes_per_second",
        "Traffic of all interfaces but loopback",
        "bytes_per_second",
        MACHINE,
        _same("network.", "received", "sent"),
        "direction",
    ),
    _one("cgroup_version", "Version of the control group with limits it runs in", "", MACHINE, "cgroup.version"),
    _one("cgroup_cpu_limit", "Processors the control group may use", "", MACHINE, "cgroup.cpu_limit"),
    _one("cgroup_cpu_percent", "Use in percent of that limit", "percent", MACHINE, "cgroup.cpu_percent"),
    Exported(
        "paddock_cgroup_memory_bytes",
        "Memory of the control group",
        "bytes",
        MACHINE,
        (("limit", "cgroup.memory_limit"), ("used", "cgroup.memory_used")),
        "kind",
    ),
    _one("power_battery_percent", "Charge of the battery", "percent", MACHINE, "power.battery"),
    _one("power_on_battery", "1 while it runs on the battery", "", MACHINE, "power.on_battery"),
    _one("gpu_percent", "Share of the last moments in which something ran", "percent", GPU, "percent"),
    Exported("paddock_gpu_memory_bytes", "Memory of the GPU", "bytes", GPU, (("total", "memory_total"), ("used", "memory_used")), "kind"),
    _one("gpu_memory_percent", "Share of the last moments in which its memory was read or written", "percent", GPU, "memory_percent"),
    _one("gpu_temperature_celsius", "Temperature of the GPU", "celsius", GPU, "temperature"),
    _one("gpu_power_watts", "Power it draws", "watts", GPU, "power"),
    _one("gpu_power_limit_watts", "Power it may draw", "watts", GPU, "power_limit"),
    _one("gpu_fan_percent", "Fan, in percent of its highest speed", "percent", GPU, "fan"),
    _one("gpu_mhz", "Clock of its processors", "mhz", GPU, "clock"),
    _one("gpu_max_mhz", "Clock they could reach", "mhz", GPU, "clock_max"),
    _one("gpu_memory_mhz", "Clock of its memory", "mhz", GPU, "memory_clock"),
    Exported(
        "paddock_gpu_pcie_generation",
        "Generation of the link",
        "",
        GPU,
        (("now", "pcie_generation"), ("max", "pcie_generation_max")),
        "kind",
    ),
    Exported("paddock_gpu_pcie_lanes", "Lanes of the link", "", GPU, (("now", "pcie_width"), ("max", "pcie_width_max")), "kind"),
    Exported(
        "paddock_gpu_pcie_bytes_per_second",
        "Traffic of the link, as the card sees it",
        "bytes_per_second",
        GPU,
        (("received", "pcie_received"), ("sent", "pcie_sent")),
        "direction",
    ),
    Exported(
        "paddock_gpu_ecc_errors",
        "Memory errors since the driver was loaded",
        "",
        GPU,
        (("corrected", "ecc_corrected"), ("uncorrected", "ecc_uncorrected")),
        "kind",
    ),
    _one("gpu_unified", "1 where its memory is the machine's main memory", "", GPU, "unified"),
    _one("gpu_lost", "1 where the driver says that the card is gone", "", GPU, "lost"),
)
"""All of them; those of parts are told for each part that has a value. Names that are not in here are not read."""
