"""Where files are: environment, private folders, homes that cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tui.config.paths import ensure_dirs, find_paths
from tui.config.store import ConfigStore
from tui.core.errors import FailureKind, PaddockError

linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="XDG is Linux")


def test_one_folder_holds_everything_and_children_find_it():
    found = find_paths(environ={"PADDOCK_HOME": "/srv/p"})
    assert found.config_file == Path("/srv/p/config.toml")
    assert all(
        folder.is_relative_to("/srv/p") for folder in (found.data, found.state, found.cache, found.database, found.logs, found.locks)
    )
    assert find_paths(environ=found.environment()) == found


@linux
def test_C11_relative_and_empty_xdg_are_ignored_odd_names_are_not():
    environ = {"HOME": "/home/u", "XDG_CONFIG_HOME": "relative", "XDG_DATA_HOME": "", "XDG_STATE_HOME": "/a b\nc"}
    found = find_paths(environ=environ)
    assert found.config_file == Path("/home/u/.config/paddock/config.toml")
    assert found.data == Path("/home/u/.local/share/paddock")
    assert found.state == Path("/a b\nc/paddock")


@linux
def test_C11_without_home_it_still_finds_a_place():
    assert find_paths(environ={}).data.is_absolute()


def test_C11_a_home_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PaddockError) as caught:
        ensure_dirs(find_paths(environ={"PADDOCK_HOME": str(tmp_path / "file" / "home")}))
    assert caught.value.failure.kind is FailureKind.DISK
    assert "file/home" in caught.value.failure.where


def test_the_flag_wins_over_the_variable_and_the_demo_over_both():
    environ = {"PADDOCK_CONFIG": "/e.toml", "PADDOCK_HOME": "/h"}
    assert find_paths(environ=environ).config_file == Path("/e.toml")
    assert find_paths(config=Path("/f.toml"), environ=environ).config_file == Path("/f.toml")
    demo = find_paths(demo=True, environ=environ)
    assert demo.demo
    assert demo.config_file == Path("/h/data/demo/config.toml")
    assert find_paths(environ=demo.environment()).database == demo.database


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_C13_folders_are_private_whatever_the_umask(tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        found = find_paths(environ={"PADDOCK_HOME": str(tmp_path / "new" / "home")})
        ensure_dirs(found)
    finally:
        os.umask(before)
    for folder in (tmp_path / "new", found.data, found.state, found.logs, found.locks, found.cache):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_X14_nothing_of_the_current_folder_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Somebody else's project may hold a file of our name; it is never read."""
    project = tmp_path / "project"
    for name in ("config.toml", ".paddock.toml", "paddock.toml", ".paddock/config.toml", ".config/paddock/config.toml"):
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("[pulls]\nat_once = 5\n[providers.evil]\nurl = 'http://evil.example:1'\n")
    monkeypatch.chdir(project)
    home = tmp_path / "home"
    for environ in ({"HOME": str(home)}, {"HOME": str(home), "XDG_CONFIG_HOME": ".config"}, {"PADDOCK_HOME": str(home), "HOME": str(home)}):
        paths = find_paths(environ=environ)
        assert project not in paths.config_file.parents
        settings = ConfigStore(paths, environ).current.value
        assert (settings.pulls.at_once, settings.providers) == (2, {})
