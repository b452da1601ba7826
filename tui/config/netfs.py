"""Whether a folder lies on a network filesystem, where SQLite's log and locks cannot be relied on; standard library only."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/self/mountinfo")
_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_NETWORK: Final = frozenset(
    (
        *("9p", "afs", "afpfs", "beegfs", "ceph", "cifs", "coda", "drvfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "webdav"),
        *("fuse.ceph", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    )
)


def is_network(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether the folder (or the nearest one above that exists) is on a network filesystem; False where that cannot be told.

    Reads the kernel's table of mounts (proc(5), mountinfo), so that a server that is away cannot make it hang longer
    than finding the folder itself does.
    """
    if mounts == _MOUNTS and not sys.platform.startswith("linux"):
        return _by_psutil(folder) if sys.platform == "darwin" else False
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    kinds: dict[str, str] = {}
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")[0]
        if len(fields) > 4:
            kinds[_unescaped(fields[4])] = kind  # a later mount hides an earlier one
    return _kind_of(folder, kinds) in _NETWORK


def _kind_of(folder: Path, kinds: dict[str, str]) -> str:
    place = Path(os.path.realpath(folder))
    for above in (place, *place.parents):
        if (found := kinds.get(str(above))) is not None:
            return found
    return ""


def _unescaped(path: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def _by_psutil(folder: Path) -> bool:
    import psutil  # 15 ms, and only where there is no /proc

    return _kind_of(folder, {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}) in _NETWORK


@cache
def machine_id() -> str:
    """A stable name of this machine for file names; not the machine id itself, which is not to be shown around (machine-id(5))."""
    import hashlib  # only where it is needed: this module is loaded early
    import platform

    for file in _IDS:
        try:
            if text := file.read_text("ascii").strip():
                break
        except (OSError, ValueError):
            continue
    else:
        text = platform.node()
    return hashlib.sha256(f"paddock {text}".encode()).hexdigest()[:16]
