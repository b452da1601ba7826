"""Small trees of /sys and /proc as kernels with GPUs have them; contents as read from such machines and the kernel's documentation."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

BUS = "sys/bus/pci/devices"
CLASSES = {"display": "0x030000", "3d": "0x030200", "accelerator": "0x120000", "audio": "0x040300", "bridge": "0x060400"}


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def device(root: Path, place: str, vendor: int, model: int, driver: str = "", kind: str = "display", behind: str = "") -> Path:
    """A device on the bus, as the kernel shows it: a folder below its bridges, and a link to it.

    Args:
        root: The folder with sys.
        place: As in 0000:03:00.0.
        vendor: Of the PCI identifier.
        model: Of the PCI identifier.
        driver: The kernel's; none where empty.
        kind: One of `CLASSES`.
        behind: Bridges between the bus and the device, as a path of places.
    """
    folder = root / "sys/devices/pci0000:00" / behind / place
    write(folder, {"vendor": f"{vendor:#06x}\n", "device": f"{model:#06x}\n", "class": f"{CLASSES[kind]}\n"})
    bus = root / BUS
    bus.mkdir(parents=True, exist_ok=True)
    (bus / place).symlink_to(folder)
    if driver:
        target = root / "sys/bus/pci/drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(target)
    return folder


def metrics(content: int = 3, revision: int = 1, throttle: int = 0) -> bytes:
    """A table of gpu_metrics; only what is read of it is set."""
    table = bytearray(120)
    struct.pack_into("<HBB", table, 0, 120, revision, content)
    struct.pack_into("<Q", table, 112, throttle)
    return bytes(table)


AMD = {
    "unique_id": "a1b2c3d4e5f60718\n",
    "gpu_busy_percent": "97\n",
    "mem_busy_percent": "41\n",
    "mem_info_vram_total": "25753026560\n",
    "mem_info_vram_used": "8589934592\n",
    "mem_info_gtt_total": "16703770624\n",
    "mem_info_gtt_used": "40960000\n",
    "pp_dpm_sclk": "0: 500Mhz \n1: 2304Mhz *\n2: 2482Mhz \n",
    "pp_dpm_mclk": "0: 96Mhz \n1: 456Mhz \n2: 1249Mhz *\n",
    "current_link_speed": "16.0 GT/s PCIe\n",
    "current_link_width": "16\n",
    "max_link_speed": "16.0 GT/s PCIe\n",
    "max_link_width": "16\n",
    "gpu_metrics": metrics(),
    "ras/umc_err_count": "ue: 1\nce: 12\n",
    "ras/gfx_err_count": "ue: 0\nce: 3\n",
    "hwmon/hwmon4/name": "amdgpu\n",
    "hwmon/hwmon4/temp1_input": "71000\n",
    "hwmon/hwmon4/temp1_label": "edge\n",
    "hwmon/hwmon4/temp2_input": "85000\n",
    "hwmon/hwmon4/power1_average": "312400000\n",
    "hwmon/hwmon4/power1_cap": "350000000\n",
    "hwmon/hwmon4/pwm1": "158\n",
    "hwmon/hwmon4/pwm1_max": "255\n",
    "hwmon/hwmon4/fan1_input": "1800\n",
    "hwmon/hwmon4/freq1_input": "2304000000\n",
    "hwmon/hwmon4/freq2_input": "1249000000\n",
}
"""A Radeon RX 7900 XTX under load."""
APU = {
    "gpu_busy_percent": "12\n",
    "mem_info_vram_total": "536870912\n",
    "mem_info_vram_used": "268435456\n",
    "mem_info_gtt_total": "16106127360\n",
    "mem_info_gtt_used": "1073741824\n",
    "gpu_metrics": metrics(content=4, revision=2),
    "hwmon/hwmon2/temp1_input": "52000\n",
    "hwmon/hwmon2/power1_input": "18300000\n",
    "hwmon/hwmon2/freq1_input": "1100000000\n",
}
"""The graphics of a Ryzen 7 7840U."""
PCI_IDS = """# List of PCI IDs
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t744c  Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]
\t\t1002 0e3b  RX 7900 GRE [XFX]
\t15bf  Phoenix1
8086  Intel Corporation
\t56a0  DG2 [Arc A770]
\t744c  Not this one
"""


def amd(root: Path) -> Path:
    """A card behind the two bridges of its own board, in a slot of eight lanes, beside its sound device."""
    slot = "0000:00:01.1"
    device(root, slot, 0x1022, 0x14DB, "pcieport", "bridge")
    device(root, "0000:01:00.0", 0x1002, 0x1478, "pcieport", "bridge", slot)
    device(root, "0000:02:00.0", 0x1002, 0x1479, "pcieport", "bridge", f"{slot}/0000:01:00.0")
    card = device(root, "0000:03:00.0", 0x1002, 0x744C, "amdgpu", "display", f"{slot}/0000:01:00.0/0000:02:00.0")
    device(root, "0000:03:00.1", 0x1002, 0xAB30, "snd_hda_intel", "audio", f"{slot}/0000:01:00.0/0000:02:00.0")
    bridges = root / "sys/devices/pci0000:00" / slot
    for folder in (bridges, bridges / "0000:01:00.0"):
        write(folder, {"current_link_speed": "8.0 GT/s PCIe\n", "current_link_width": "8\n"})
    write(bridges, {"max_link_speed": "16.0 GT/s PCIe\n", "max_link_width": "8\n"})
    write(bridges / "0000:01:00.0", {"max_link_speed": "32.0 GT/s PCIe\n", "max_link_width": "16\n"})
    write(card, AMD)
    return card


def kfd(root: Path, pid: int, memory: int) -> None:
    """The compute driver's view: one processor, one card at 0000:03:00.0, and a process on it."""
    nodes = "sys/class/kfd/kfd/topology/nodes"
    write(
        root,
        {
            f"{nodes}/0/properties": "cpu_cores_count 16\nsimd_count 0\nlocation_id 0\ndomain 0\n",
            f"{nodes}/0/gpu_id": "0\n",
            f"{nodes}/1/properties": "cpu_cores_count 0\nsimd_count 192\nlocation_id 768\ndomain 0\n",
            f"{nodes}/1/gpu_id": "19283\n",
            f"sys/class/kfd/kfd/proc/{pid}/vram_19283": f"{memory}\n",
        },
    )


def process(root: Path, pid: int, files: Mapping[int, str], target: str = "/dev/dri/renderD128") -> None:
    """A process with open files of a graphics device, and one of something else."""
    folder = root / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    (folder / "fd/0").symlink_to("/dev/null")
    for number, content in files.items():
        (folder / "fd" / str(number)).symlink_to(target)
        write(folder, {f"fdinfo/{number}": content})


def fdinfo_amd(client: int, vram: int, gfx: int, compute: int) -> str:
    """A file of amdgpu; memory in KiB, engines in nanoseconds."""
    return (
        f"pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t1081\ndrm-driver:\tamdgpu\ndrm-client-id:\t{client}\ndrm-pdev:\t0000:03:00.0\n"
        f"pasid:\t32771\ndrm-memory-vram:\t{vram} KiB\ndrm-memory-gtt: \t2048 KiB\ndrm-memory-cpu: \t0 KiB\n"
        f"amd-evicted-vram:\t0 KiB\ndrm-engine-gfx:\t{gfx} ns\ndrm-engine-compute:\t{compute} ns\n"
    )


def fdinfo_xe(client: int, place: str, vram: int, cycles: int, total: int) -> str:
    """A file of xe, shortened; engines in cycles."""
    return (
        f"pos:\t0\ndrm-driver:\txe\ndrm-client-id:\t{client}\ndrm-pdev:\t{place}\ndrm-total-system:\t0\ndrm-total-vram0:\t{vram + 1} KiB\n"
        f"drm-shared-vram0:\t16 MiB\ndrm-resident-vram0:\t{vram} KiB\ndrm-cycles-rcs:\t0\ndrm-total-cycles-rcs:\t{total}\n"
        f"drm-cycles-ccs:\t{cycles}\ndrm-total-cycles-ccs:\t{total}\ndrm-engine-capacity-ccs:\t4\n"
    )


def fdinfo_i915(client: int, place: str, render: int) -> str:
    """A file of i915, shortened."""
    return (
        f"pos:\t0\ndrm-driver:\ti915\ndrm-client-id:\t{client}\ndrm-pdev:\t{place}\ndrm-total-system0:\t65536 KiB\n"
        f"drm-resident-system0:\t32 MiB\ndrm-engine-render:\t{render} ns\ndrm-engine-video:\t0 ns\ndrm-engine-capacity-video:\t2\n"
    )


XE = {
    "current_link_speed": "2.5 GT/s PCIe\n",
    "current_link_width": "1\n",
    "tile0/gt0/freq0/act_freq": "2450\n",
    "tile0/gt0/freq0/rp0_freq": "2850\n",
    "tile0/gt0/freq0/throttle/status": "1\n",
    "tile0/gt0/freq0/throttle/reason_pl1": "1\n",
    "tile0/gt0/freq0/throttle/reason_thermal": "0\n",
    "tile0/gt0/gtidle/idle_residency_ms": "100000\n",
    "hwmon/hwmon3/name": "xe\n",
    "hwmon/hwmon3/energy1_input": "5000000000\n",
    "hwmon/hwmon3/power1_max": "190000000\n",
    "hwmon/hwmon3/temp2_input": "64000\n",
    "hwmon/hwmon3/fan1_input": "1500\n",
    "drm/renderD128/dev": "226:128\n",
}
"""An Arc B580 with xe."""
I915 = {
    "drm/card0/gt/gt0/rps_act_freq_mhz": "1300\n",
    "drm/card0/gt/gt0/rps_RP0_freq_mhz": "1450\n",
    "drm/card0/gt/gt0/rc6_residency_ms": "50000\n",
    "drm/card0/gt/gt0/throttle_reason_status": "1\n",
    "drm/card0/gt/gt0/throttle_reason_prochot": "1\n",
    "drm/card0/gt/gt0/throttle_reason_pl1": "0\n",
}
"""The graphics of a Core i7 with i915."""
MEMINFO = "MemTotal:       65536000 kB\nMemFree:         1000000 kB\nMemAvailable:   40960000 kB\nBuffers:          500000 kB\n"
TEGRA = {
    "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/meminfo": MEMINFO,
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48000\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "51500\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "1300500000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    "sys/class/devfreq/17000000.gpu/device/load": "873\n",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_GPU_SOC\n",
    "sys/class/hwmon/hwmon3/in1_input": "19000\n",
    "sys/class/hwmon/hwmon3/curr1_input": "1200\n",
}
"""A Jetson AGX Orin."""
IOREG = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><array><dict>
<key>IOClass</key><string>AGXAcceleratorG13X</string><key>model</key><string>Apple M1 Max</string>
<key>gpu-core-count</key><integer>32</integer>
<key>PerformanceStatistics</key><dict>
<key>Device Utilization %</key><integer>93</integer><key>Renderer Utilization %</key><integer>92</integer>
<key>Alloc system memory</key><integer>30000000000</integer><key>In use system memory</key><integer>21474836480</integer>
<key>recoveryCount</key><integer>0</integer></dict></dict></array></plist>
"""
"""What `ioreg -r -c IOAccelerator -d 1 -a` writes, shortened."""
