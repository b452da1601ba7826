"""Who holds a local port, and what of Ollama is installed: looking only, nothing is started or asked.

On Linux the kernel's own tables are read: the account of a listening socket is public even where its process is not.
Elsewhere psutil tells what it may. Functions block for some milliseconds; call them off the loop (`tui.core.threads`).
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tui.core.record import record
from tui.text import clean_name

FIRST_PERSON: Final = 1000
"""User ids from here are people, below are root and services."""
_LISTEN: Final = "0A"
_SSH: Final = frozenset({"ssh", "sshd", "sshd-session", "autossh"})
_UNIT_FOLDERS: Final = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_OLLAMA_PLACES: Final = (
    "/usr/local/bin/ollama",
    "/usr/bin/ollama",
    "/opt/homebrew/bin/ollama",
    "/Applications/Ollama.app/Contents/Resources/ollama",
)


@record(frozen=True)
class Holder:
    """The holder of a listening port; texts are cleaned.

    Attributes:
        pid: None where the system does not show it to us.
        process_name: Short name, empty where not shown.
        command: Command line, empty where not shown.
        uid: Account of the socket, None where not shown.
        user: Its name, or `uid 1234`.
        parent: Command line of the parent process, empty where not shown.
        unit: systemd service it runs in, without `.service`; empty for none.
        is_ssh_tunnel: Held by ssh: the server itself is on another machine.
        other_person: Held by another person's account.
        listens_wide: Reachable from outside this machine.
    """

    pid: int | None = None
    process_name: str = ""
    command: str = ""
    uid: int | None = None
    user: str = ""
    parent: str = ""
    unit: str = ""
    is_ssh_tunnel: bool = False
    other_person: bool = False
    listens_wide: bool = False

    def words(self) -> str:
        """For screens: `systemd, pid 812, user ollama`; empty where nothing is known."""
        parts = ["systemd" if self.unit else "", f"pid {self.pid}" if self.pid else "", f"user {self.user}" if self.user else ""]
        return ", ".join(part for part in parts if part)


@record(frozen=True)
class _Socket:
    address: bytes
    port: int
    uid: int
    inode: str

    @property
    def everywhere(self) -> bool:
        return not any(self.address)

    @property
    def loopback(self) -> bool:
        if len(self.address) == 4:
            return self.address[0] == 127
        return self.address == bytes(15) + b"\x01" or self.address[:13] == bytes(10) + b"\xff\xff\x7f"


def holder(port: int, *, host: str = "127.0.0.1", proc: Path = Path("/proc"), me: int | None = None) -> Holder | None:
    """Who would take a connection to a local port, None where nobody listens or nobody may know."""
    return holders((port,), host=host, proc=proc, me=me).get(port)


def holders(ports: Iterable[int], *, host: str = "127.0.0.1", proc: Path = Path("/proc"), me: int | None = None) -> dict[int, Holder]:
    """`holder` for several ports in one pass over the processes."""
    wanted = frozenset(ports)
    mine = os.getuid() if me is None else me
    if not (proc / "net" / "tcp").exists():
        return _by_psutil(wanted, mine)
    listening = _sockets(proc, wanted)
    chosen: dict[int, _Socket] = {}
    for sock in sorted(listening, key=lambda sock: _distance(sock, host), reverse=True):
        chosen[sock.port] = sock
    wide = {sock.port for sock in listening if not sock.loopback}
    owners, hidden_ssh = _owners(proc, {sock.inode for sock in chosen.values()}, mine)
    return {port: _describe(sock, owners.get(sock.inode), port in wide, proc, mine, hidden_ssh) for port, sock in chosen.items()}


def _distance(sock: _Socket, host: str) -> int:
    """How specific a listening socket is for a host: the kernel prefers the exact address."""
    four = len(sock.address) == 4
    if sock.loopback:
        return 0 if four == (":" not in host) else 4
    if sock.everywhere:
        return 1 if four == (":" not in host) else 2
    return 3


def _sockets(proc: Path, ports: frozenset[int]) -> list[_Socket]:
    """Who listens on these ports; a busy machine has thousands of other lines."""
    endings = tuple(f":{port:04X}" for port in ports)
    found = []
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            if f" {_LISTEN} " not in line:
                continue
            fields = line.split()
            if len(fields) < 10 or fields[3] != _LISTEN or not fields[1].endswith(endings):
                continue
            address, _, port = fields[1].partition(":")
            try:
                words = bytes.fromhex(address)
                found.append(_Socket(_big_endian(words), int(port, 16), int(fields[7]), fields[9]))
            except ValueError:
                continue
    return found


def _big_endian(words: bytes) -> bytes:
    """The table prints addresses as machine words; all machines we run on are little-endian."""
    return b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))


def _owners(proc: Path, inodes: set[str], me: int) -> tuple[dict[str, int], bool]:
    """Process by socket inode, and whether an ssh process of ours hides its sockets (sshd does, even from its own account).

    Thousands of links on a busy machine: `os` is five times as fast as `pathlib`.
    """
    links = {f"socket:[{inode}]": inode for inode in inodes if inode != "0"}
    found: dict[str, int] = {}
    hidden_ssh = False
    for process in list(os.scandir(proc)) if links else ():
        if not process.name.isdecimal():
            continue
        try:
            for entry in os.scandir(f"{process.path}/fd"):
                inode = links.get(_link(entry.path))
                if inode is not None:
                    found.setdefault(inode, int(process.name))
        except PermissionError:
            folder = proc / process.name
            hidden_ssh = hidden_ssh or (_name(folder) in _SSH and _uid(folder) == me)
        except OSError:
            continue
        if len(found) == len(links):
            break
    return found, hidden_ssh


def _link(entry: str) -> str:
    try:
        return os.readlink(entry)  # noqa: PTH115
    except OSError:
        return ""


def _describe(sock: _Socket, pid: int | None, wide: bool, proc: Path, me: int, hidden_ssh: bool) -> Holder:
    name = command = parent = unit = ""
    if pid is not None:
        folder = proc / str(pid)
        name, command, unit = _name(folder), _command(folder), _unit(folder)
        parent_pid = _parent(folder)
        parent = _command(proc / str(parent_pid)) if parent_pid > 1 else ""
    tunnel = name in _SSH or (pid is None and sock.uid == me and hidden_ssh)
    return Holder(
        pid,
        name,
        command,
        sock.uid,
        user_name(sock.uid),
        parent,
        unit,
        tunnel,
        _another_person(sock.uid, me),
        wide,
    )


def _another_person(uid: int, me: int) -> bool:
    return uid >= FIRST_PERSON and uid != me


def user_name(uid: int) -> str:
    """The account's name, or `uid 1234` where it has none here."""
    try:
        return clean_name(pwd.getpwuid(uid).pw_name, 40)
    except KeyError:
        return f"uid {uid}"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _name(folder: Path) -> str:
    return clean_name(_read(folder / "comm").strip(), 40)


def _command(folder: Path) -> str:
    return clean_name(_read(folder / "cmdline").replace("\0", " ").strip(), 400)


def _uid(folder: Path) -> int:
    match = re.search(r"^Uid:\s+(\d+)", _read(folder / "status"), re.MULTILINE)
    return int(match[1]) if match else -1


def _parent(folder: Path) -> int:
    fields = _read(folder / "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdecimal() else 0


def _unit(folder: Path) -> str:
    match = re.search(r"/([^/\s]+)\.service\s*$", _read(folder / "cgroup"), re.MULTILINE)
    return "" if match is None or match[1].startswith("user@") else clean_name(match[1], 60)


def _by_psutil(wanted: frozenset[int], me: int) -> dict[int, Holder]:
    """Where there is no /proc: what psutil sees, which is our own processes at least."""
    import psutil  # only for systems without /proc

    found: dict[int, Holder] = {}
    for process in psutil.process_iter():
        try:
            for link in process.net_connections("tcp"):
                if link.status != psutil.CONN_LISTEN or link.laddr.port not in wanted:
                    continue
                uid, name = process.uids().real, clean_name(process.name(), 40)
                address = link.laddr.ip
                found[link.laddr.port] = Holder(
                    process.pid,
                    name,
                    clean_name(" ".join(process.cmdline()), 400),
                    uid,
                    user_name(uid),
                    is_ssh_tunnel=name in _SSH,
                    other_person=_another_person(uid, me),
                    listens_wide=not (address.startswith("127.") or address == "::1"),
                )
        except (psutil.Error, OSError):
            continue
    return found


def ollama_program(environ: Mapping[str, str] | None = None, places: Iterable[str] = _OLLAMA_PLACES) -> Path | None:
    """The installed `ollama` program: on PATH, else in its usual places."""
    path = (os.environ if environ is None else environ).get("PATH", "")
    for place in (shutil.which("ollama", path=path) or "", *places):
        if place and os.access(place, os.X_OK) and Path(place).is_file():
            return Path(place)
    return None


def systemd_unit_exists(name: str, folders: Iterable[str] = _UNIT_FOLDERS) -> bool:
    """Whether a systemd service of this name is installed, for the system or for us."""
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    return any((folder / f"{name}.service").is_file() for folder in (*map(Path, folders), user))
