"""Who holds a port, read from a made-up /proc and from the real one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tui.providers import ports
from tui.providers.ports import Holder, holder, holders, ollama_program, systemd_unit_exists

ME = 1000
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LOOPBACK, ANY, LAN = "0100007F", "00000000", "1401A8C0"
LOOPBACK6, ANY6, MAPPED6 = "00000000000000000000000001000000", "0" * 32, "0000000000000000FFFF00000100007F"


class Proc:
    """A /proc with the listening sockets and processes of one test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "net").mkdir(parents=True)
        self._lines: dict[str, list[str]] = {"tcp": [], "tcp6": []}
        self._write()

    def _write(self) -> None:
        for name, lines in self._lines.items():
            (self.root / "net" / name).write_text(HEAD + "".join(lines))

    def listen(self, address: str, port: int, uid: int, inode: int, state: str = "0A") -> None:
        line = f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5d}        0 {inode} 1 x\n"
        self._lines["tcp6" if len(address) > 8 else "tcp"].append(line)
        self._write()

    def process(
        self, pid: int, name: str, command: str, inodes: tuple[int, ...] = (), parent: int = 1, unit: str = "", uid: int = ME
    ) -> None:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(name + "\n")
        (folder / "cmdline").write_text(command.replace(" ", "\0") + "\0")
        (folder / "stat").write_text(f"{pid} (odd ) name) S {parent} 1 1\n")
        (folder / "status").write_text(f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}.service\n" if unit else "0::/user.slice/user-1000.slice/session-1.scope\n")
        for number, inode in enumerate(inodes):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")

    def holder(self, port: int, host: str = "127.0.0.1") -> Holder | None:
        return holder(port, host=host, proc=self.root, me=ME)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def test_S06_our_own_server_is_named_with_its_process(proc: Proc) -> None:
    proc.listen(LOOPBACK, 11434, ME, 77)
    proc.process(812, "ollama", "/usr/local/bin/ollama serve", (76, 77))
    held = proc.holder(11434)
    assert held is not None
    assert (held.pid, held.process_name, held.command) == (812, "ollama", "/usr/local/bin/ollama serve")
    assert (held.uid, held.other_person, held.is_ssh_tunnel, held.listens_wide) == (ME, False, False, False)
    assert held.words().startswith("pid 812, user ")


def test_a_service_is_named_as_one(proc: Proc) -> None:
    proc.listen(LOOPBACK, 11434, 998, 77)
    proc.process(812, "ollama", "/usr/local/bin/ollama serve", (77,), unit="ollama", uid=998)
    held = proc.holder(11434)
    assert held is not None
    assert (held.unit, held.other_person) == ("ollama", False)
    assert held.words().startswith("systemd, pid 812, user ")


@pytest.mark.parametrize(("uid", "asks"), [(0, False), (999, False), (ME, False), (1001, True), (65534, True)])
def test_X17_P59_another_persons_port_is_seen_without_seeing_the_process(proc: Proc, uid: int, asks: bool) -> None:
    proc.listen(LOOPBACK, 8080, uid, 5)
    held = proc.holder(8080)
    assert held is not None
    assert (held.pid, held.uid, held.other_person) == (None, uid, asks)
    assert held.user
    assert held.words() == f"user {held.user}"


@pytest.mark.parametrize("name", ["ssh", "sshd", "sshd-session"])
def test_a_port_held_by_ssh_is_a_tunnel(proc: Proc, name: str) -> None:
    proc.listen(LOOPBACK, 11435, ME, 9)
    proc.process(40, name, "ssh -L 11435:127.0.0.1:11434 gpu2", (9,))
    held = proc.holder(11435)
    assert held is not None
    assert held.is_ssh_tunnel


def test_an_sshd_of_ours_that_hides_its_sockets_is_a_tunnel(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.listen(LOOPBACK, 11435, ME, 9)
    proc.process(41, "sshd-session", "sshd-session: ann@pts/0")
    real = os.scandir

    def scandir(path: object) -> object:
        if str(path).endswith("/fd"):
            raise PermissionError(13, "no")
        return real(str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    held = proc.holder(11435)
    assert held is not None
    assert (held.pid, held.is_ssh_tunnel) == (None, True)


def test_the_exact_address_wins_and_width_is_seen(proc: Proc) -> None:
    proc.listen(ANY, 8000, 1001, 1)
    proc.listen(LOOPBACK, 8000, ME, 2)
    held = proc.holder(8000)
    assert held is not None
    assert (held.uid, held.listens_wide) == (ME, True)
    proc.listen(LAN, 8001, ME, 3)
    proc.listen(ANY6, 8002, ME, 4)
    proc.listen(MAPPED6, 8003, ME, 5)
    proc.listen(LOOPBACK6, 8004, ME, 6)
    found = holders(range(8000, 8010), proc=proc.root, me=ME)
    assert {port: one.listens_wide for port, one in found.items()} == {8000: True, 8001: True, 8002: True, 8003: False, 8004: False}


def test_ipv6_and_ipv4_holders_are_told_apart(proc: Proc) -> None:
    proc.listen(LOOPBACK, 8000, ME, 1)
    proc.listen(LOOPBACK6, 8000, 1001, 2)
    four, six = proc.holder(8000), proc.holder(8000, "::1")
    assert four is not None
    assert six is not None
    assert (four.uid, six.uid) == (ME, 1001)


def test_the_parent_is_named(proc: Proc) -> None:
    proc.listen(LOOPBACK, 5800, ME, 1)
    proc.process(50, "llama-server", "llama-server --port 5800", (1,), parent=49)
    proc.process(49, "llama-swap", "/usr/bin/llama-swap --config c.yaml")
    held = proc.holder(5800)
    assert held is not None
    assert held.parent == "/usr/bin/llama-swap --config c.yaml"


def test_connections_and_junk_are_no_listeners(proc: Proc) -> None:
    proc.listen(LOOPBACK, 8080, ME, 1, state="01")
    (proc.root / "net" / "tcp6").write_text(HEAD + "x\n" + "   0: zz:1F90 0:0 0A a b c x 0 0 0 0\n" + "\n")
    assert proc.holder(8080) is None


def test_X01_a_command_line_cannot_carry_control_characters(proc: Proc) -> None:
    proc.listen(LOOPBACK, 8080, ME, 1)
    proc.process(50, "x\x1b[2J", "a\x1b]0;t\x07 b", (1,))
    held = proc.holder(8080)
    assert held is not None
    assert "\x1b" not in held.command + held.process_name
    assert held.command == "a␛]0;t␇ b"


def test_a_real_socket_of_ours_is_found() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        held = holder(sock.getsockname()[1])
    assert held is not None
    assert (held.pid, held.uid, held.other_person, held.listens_wide) == (os.getpid(), os.getuid(), False, False)


def test_without_proc_psutil_finds_our_own(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        held = holder(sock.getsockname()[1], proc=tmp_path)
    assert held is not None
    assert (held.pid, held.listens_wide) == (os.getpid(), False)


def test_an_account_without_a_name_is_a_number() -> None:
    assert ports.user_name(3_999_999_999) == "uid 3999999999"


def test_the_ollama_program_and_unit_are_file_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert ollama_program({"PATH": str(tmp_path)}, ()) is None
    assert not systemd_unit_exists("ollama", (str(tmp_path),))
    program = tmp_path / "ollama"
    program.write_text("#!/bin/sh\n")
    assert ollama_program({"PATH": str(tmp_path)}, ()) is None
    program.chmod(0o755)
    assert ollama_program({"PATH": str(tmp_path)}, ()) == program
    assert ollama_program({"PATH": ""}, (str(program),)) == program
    (tmp_path / "ollama.service").write_text("")
    assert systemd_unit_exists("ollama", (str(tmp_path),))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_X17_a_real_port_of_another_account_is_seen() -> None:
    script = (
        "import os, socket; os.setuid(65534); s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        held = holder(int(process.stdout.readline()))
        process.communicate("\n")
    assert held is not None
    assert (held.uid, held.other_person) == (65534, True)
