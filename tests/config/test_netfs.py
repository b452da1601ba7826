"""C16: homes on network filesystems, told by the kernel's table of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.config import netfs
from tui.config.paths import find_paths

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {base}/home rw,nosuid shared:3 - nfs4 server:/export/home rw,vers=4.2
31 30 0:41 / {base}/home/local\\040disk rw shared:4 - xfs /dev/sdb1 rw
32 22 0:42 / {base}/over rw - cifs //server/share rw
33 22 0:43 / {base}/over rw - ext4 /dev/sdc1 rw
34 22 0:44 / {base}/ssh rw master:1 propagate_from:2 - fuse.sshfs me@box:/ rw
nonsense
35 22 0:45 - nfs x
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(TABLE.format(base=tmp_path))
    return file


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        ("home", True),
        ("home/me/.local/share/paddock", True),  # it does not exist yet: the nearest above counts
        ("home/local disk/paddock", False),  # a disk of this machine inside of it
        ("over/x", False),  # the later mount hides the earlier one
        ("ssh", True),
        ("elsewhere", False),
    ],
)
def test_C16_the_nearest_mount_decides(tmp_path: Path, table: Path, folder: str, network: bool) -> None:
    assert netfs.is_network(tmp_path / folder, table) is network


def test_C16_a_link_into_a_network_home_counts(tmp_path: Path, table: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert netfs.is_network(tmp_path / "link" / "paddock", table)


def test_C16_without_a_table_nothing_is_known(tmp_path: Path) -> None:
    assert not netfs.is_network(tmp_path, tmp_path / "missing")


def test_C16_there_each_machine_has_its_own_database_and_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PADDOCK_HOME": str(tmp_path)}
    local = find_paths(environ=environ)
    monkeypatch.setattr(netfs, "is_network", lambda folder: True)
    shared = find_paths(environ=environ)
    assert (local.network, shared.network) == (False, True)
    assert local.database == tmp_path / "data" / "paddock.db"
    assert shared.database == tmp_path / "data" / "hosts" / netfs.machine_id() / "paddock.db"
    assert shared.locks.parent == shared.host
    assert shared.config_file == local.config_file  # settings are shared


def test_C16_the_name_of_this_machine_is_stable_and_not_its_id() -> None:
    name = netfs.machine_id()
    netfs.machine_id.cache_clear()
    assert netfs.machine_id() == name
    assert len(name) == 16
    for file in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if Path(file).exists() and (text := Path(file).read_text().strip()):
            assert name not in text
