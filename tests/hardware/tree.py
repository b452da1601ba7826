"""Builds the /proc and /sys of a machine that a test describes, below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Tree:
    """Files of the kernel; everything that is not written is missing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())

    def writes(self, folder: str, files: Mapping[str, object]) -> None:
        for name, text in files.items():
            self.write(f"{folder}/{name}", text)

    def stat(self, cores: Iterable[tuple[int, int]]) -> None:
        """/proc/stat; busy and idle hundredths of each core."""
        each = list(cores)
        total = (sum(busy for busy, _idle in each), sum(idle for _busy, idle in each))
        lines = [f"cpu  {total[0]} 0 0 {total[1]} 0 0 0 0 50 0"]
        lines += [f"cpu{index} {busy} 0 0 {idle} 0 0 0 0 0 0" for index, (busy, idle) in enumerate(each)]
        self.write("proc/stat", "\n".join([*lines, "intr 12345 0 9", "ctxt 99", "btime 1", "processes 5"]))

    def frequencies(self, mhz: Iterable[int], highest: int = 5000) -> None:
        for index, value in enumerate(mhz):
            folder = f"sys/devices/system/cpu/cpufreq/policy{index}"
            self.writes(folder, {"scaling_cur_freq": value * 1000, "cpuinfo_max_freq": highest * 1000, "scaling_governor": "powersave"})

    def topology(self, threads: int, each: int = 2) -> None:
        for index in range(threads):
            first = index - index % each
            self.write(f"sys/devices/system/cpu/cpu{index}/topology/thread_siblings_list", f"{first}-{first + each - 1}")

    def meminfo(self, **kilobytes: int) -> None:
        self.write("proc/meminfo", "\n".join(f"{name}: {value:>12} kB" for name, value in kilobytes.items()))

    def pressure(self, what: str, some: object, full: object = 0.0) -> None:
        lines = [f"{kind} avg10={value} avg60=0.00 avg300=0.00 total=1" for kind, value in (("some", some), ("full", full))]
        self.write(f"proc/pressure/{what}", "\n".join(lines))

    def process(
        self, pid: int, comm: object = "sleep", *, anon: int = 0, shmem: int = 0, file: int = 0, ticks: int = 0, born: int = 7,
        argv: Iterable[str | bytes] = (), uid: int = 0,
    ) -> None:  # fmt: skip
        """One process; sizes in kilobytes."""
        name = comm if isinstance(comm, bytes) else str(comm).encode()
        fields = ["S", "1", *["0"] * 9, str(ticks), "0", *["0"] * 6, str(born), *["0"] * 30]
        self.write(f"proc/{pid}/stat", str(pid).encode() + b" (" + name + b") " + " ".join(fields).encode())
        resident = (anon + shmem + file) * 1024 // PAGE
        self.write(f"proc/{pid}/statm", f"{resident * 4} {resident} {(shmem + file) * 1024 // PAGE} 1 0 1 0")
        status = [f"VmRSS: {anon + shmem + file} kB", f"RssAnon: {anon} kB", f"RssFile: {file} kB", f"RssShmem: {shmem} kB"]
        self.write(
            f"proc/{pid}/status", b"Name:\t" + name + b"\nUid:\t" + f"{uid}\t{uid}\t{uid}\t{uid}\n".encode() + "\n".join(status).encode()
        )
        words = [word if isinstance(word, bytes) else word.encode() for word in argv]
        self.write(f"proc/{pid}/cmdline", b"".join(word + b"\0" for word in words))

    def cgroup2(self, path: str, groups: Mapping[str, Mapping[str, object]], within: str = "/") -> None:
        """Version 2; files by group."""
        self.write("proc/self/cgroup", f"0::{path}")
        self.write("proc/self/mountinfo", f"30 24 0:26 {within} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate")
        for group, files in groups.items():
            self.writes(f"sys/fs/cgroup/{group.strip('/')}", files)

    def cgroup1(self, path: str, groups: Mapping[str, Mapping[str, object]], within: str = "/") -> None:
        """Version 1; files by `controller/group`."""
        kinds = ("memory", "cpu,cpuacct", "cpuset")
        self.write("proc/self/cgroup", "\n".join([*(f"{index + 2}:{kind}:{path}" for index, kind in enumerate(kinds)), "0::/"]))
        mount = "{0} 24 0:{0} {1} /sys/fs/cgroup/{2} rw - cgroup cgroup rw,{2}"
        lines = [mount.format(30 + index, within, kind) for index, kind in enumerate(kinds)]
        self.write("proc/self/mountinfo", "\n".join([*lines, "40 24 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"]))
        for group, files in groups.items():
            self.writes(f"sys/fs/cgroup/{group}", files)
