"""One measurement of this machine. Every figure may be None: not available here, or not now."""

from __future__ import annotations

from typing import Final

from tui.core.record import record

CORES: Final = "cores"
"""Wanted: the use of each core."""
PROCESSES: Final = "processes"
"""Wanted: the processes with the most memory."""
GPU_PROCESSES: Final = "gpu_processes"
"""Wanted: the processes on each GPU, by name and user."""
GPU_DETAIL: Final = "gpu_detail"
"""Wanted: PCIe rates, ECC errors, clocks and whatever else costs time for each GPU."""
WANTED: Final = (CORES, PROCESSES, GPU_PROCESSES, GPU_DETAIL)
"""What is measured only while somebody shows or needs it; all else is always measured."""
MACHINE_SOURCES: Final = ("processor", "memory", "disks", "network", "control group", "power", "processes", "process names")
"""Sources of figures that ask the system; all others ask a GPU's driver."""


@record(frozen=True)
class Cpu:
    """The processor.

    Attributes:
        percent: Of all cores together, 0 to 100.
        cores: Percent of each core; empty while nobody wants `CORES`.
        count: Logical processors.
        physical: Cores without their hyper-threads.
        load: Averages over 1, 5 and 15 minutes.
        frequency: MHz, mean of the cores.
        frequency_max: MHz that it could reach.
        temperature: Celsius, of the package.
        pressure: Percent of the last 10 s in which something waited for the processor (PSI, `some`).
    """

    percent: float | None = None
    cores: tuple[float, ...] = ()
    load: tuple[float, ...] = ()
    frequency: float | None = None
    temperature: float | None = None
    count: int | None = None
    physical: int | None = None
    frequency_max: float | None = None
    pressure: float | None = None


@record(frozen=True)
class Memory:
    """Main memory and swap, bytes.

    Attributes:
        used: What is not available to programs.
        cache: Page cache and buffers; it is given back when needed.
        swap_in: Bytes a second read from swap.
        swap_out: Bytes a second written to swap.
        pressure: Percent of the last 10 s in which something waited for memory (PSI, `some`).
        pressure_full: The same in which everything waited (PSI, `full`).
    """

    total: int | None = None
    used: int | None = None
    swap_total: int | None = None
    swap_used: int | None = None
    available: int | None = None
    cache: int | None = None
    swap_in: float | None = None
    swap_out: float | None = None
    pressure: float | None = None
    pressure_full: float | None = None


@record(frozen=True)
class Disk:
    """The filesystem that holds `path`: bytes, and bytes a second of its device."""

    path: str
    total: int | None = None
    used: int | None = None
    free: int | None = None
    read: float | None = None
    write: float | None = None


@record(frozen=True)
class Network:
    """All interfaces but loopback, bytes a second."""

    received: float | None = None
    sent: float | None = None


@record(frozen=True)
class Cgroup:
    """The control group this process runs in, where it has limits.

    Attributes:
        version: 1 or 2.
        memory_limit: Bytes; None where there is no limit.
        memory_used: Bytes, without page cache that can be given back.
        cpu_limit: Processors it may use, as in 2.5; None where there is no limit.
        cpu_percent: Use in percent of that limit.
    """

    version: int
    memory_limit: int | None = None
    memory_used: int | None = None
    cpu_limit: float | None = None
    cpu_percent: float | None = None


@record(frozen=True)
class Power:
    """What the machine runs on: battery charge in percent, and the profile or governor ("power-saver", "performance")."""

    on_battery: bool | None = None
    battery: float | None = None
    profile: str = ""


@record(frozen=True)
class MachineProcess:
    """A process with much memory: bytes that only it holds, and percent of one core."""

    pid: int
    name: str
    user: str
    memory: int
    percent: float | None = None


@record(frozen=True)
class GpuProcess:
    """A process on a GPU.

    Attributes:
        memory: Bytes of GPU memory.
        percent: Use of the GPU.
        name: Of the program, cleaned; empty where it cannot be seen (another account's, or outside this container).
        user: Its account; empty where it cannot be seen.
        instance: The MIG instance it runs on, or empty.
    """

    pid: int
    memory: int | None = None
    percent: float | None = None
    name: str = ""
    user: str = ""
    instance: str = ""


@record(frozen=True)
class MigInstance:
    """A part of an NVIDIA GPU that is used as one of its own: profile name, and bytes."""

    uuid: str
    name: str = ""
    memory_total: int | None = None
    memory_used: int | None = None


@record(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        uuid: Stable across reboots; rows follow it, not the index.
        index: The driver's number.
        source: What told these figures, as shown: "NVML", "amdgpu", "xe", "IOKit", "nvidia-smi".
        percent: Share of the last moments in which something ran.
        memory_total: Bytes.
        memory_used: Bytes.
        memory_percent: Share of the last moments in which its memory was read or written.
        temperature: Celsius.
        power: Watts.
        power_limit: Watts.
        fan: Percent of its highest speed.
        clock: MHz of the processors.
        clock_max: MHz they could reach.
        memory_clock: MHz.
        pcie_generation: As the link runs now; `pcie_generation_max` as card and slot together could.
        pcie_width: Lanes now; `pcie_width_max` as could be.
        pcie_received: Bytes a second from the machine to the card; only while `GPU_DETAIL` is wanted.
        pcie_sent: Bytes a second from the card.
        throttle: Why it runs slower than it could: "thermal", "power", "hardware", "other".
        ecc_corrected: Memory errors since the driver was loaded.
        ecc_uncorrected: Those that could not be corrected.
        mig: Its instances, where it is divided.
        processes: Those that hold memory, as far as the driver tells.
        hidden: Processes among them that this account cannot see.
        unified: Its memory is the machine's main memory.
        lost: The driver says that the card is gone; `note` says so in words.
    """

    uuid: str
    index: int
    name: str = ""
    percent: float | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: float | None = None
    memory_clock: float | None = None
    processes: tuple[GpuProcess, ...] = ()
    lost: bool = False
    note: str = ""
    source: str = ""
    memory_percent: float | None = None
    fan: float | None = None
    clock_max: float | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    pcie_received: float | None = None
    pcie_sent: float | None = None
    throttle: tuple[str, ...] = ()
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    mig: tuple[MigInstance, ...] = ()
    hidden: int = 0
    unified: bool = False


@record(frozen=True)
class Source:
    """How one source of figures does.

    Attributes:
        name: As shown: "NVML", "amdgpu", "processor", "disks".
        seconds: What its last reading cost.
        every: Seconds between two readings; longer than the interval where a reading is dear.
        silent: Seconds it has not answered beyond its time; 0 while it does.
        note: Why it gives nothing, one sentence; empty where it does.
    """

    name: str
    seconds: float = 0.0
    every: float = 0.0
    silent: float = 0.0
    note: str = ""


@record(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        time: Seconds since 1970, UTC.
        seconds: Since the measurement before; None for the first, whose rates are missing.
        gpu_note: Why there is no GPU data, one sentence; empty where there is, or where none is wanted.
        cgroup: Where this process runs in one with limits.
        processes: Those with the most memory, largest first; empty while nobody wants `PROCESSES`.
        hidden_processes: Processes of this machine that this account cannot see, as far as they can be counted.
    """

    time: float
    seconds: float | None = None
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    disks: tuple[Disk, ...] = ()
    network: Network = Network()
    gpus: tuple[Gpu, ...] = ()
    gpu_note: str = ""
    cgroup: Cgroup | None = None
    power: Power | None = None
    processes: tuple[MachineProcess, ...] = ()
    hidden_processes: int = 0
    sources: tuple[Source, ...] = ()
