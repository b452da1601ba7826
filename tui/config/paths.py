"""Where Paddock keeps its files (design/settings.md, "Where things live")."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tui.config import netfs
from tui.core.errors import FailureKind, PaddockError
from tui.core.record import record
from tui.text import clean_name

NAME = "paddock"


@record(frozen=True)
class Paths:
    """The folders of one home.

    Attributes:
        config_file: The configuration file; it need not exist.
        data: Database, backups, exports.
        state: Logs, crash reports, locks; outlives a logout.
        cache: What can be fetched again.
        demo: The home of the demo server, never mixed with the user's own.
        home: The one folder that holds all four, where there is one.
        network: The data folder is shared over a network: each machine has its own database and locks in it.
    """

    config_file: Path
    data: Path
    state: Path
    cache: Path
    demo: bool = False
    home: Path | None = None
    network: bool = False

    @property
    def host(self) -> Path:
        """Where files stand that only this machine may use."""
        return self.data / "hosts" / netfs.machine_id()

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return (self.host if self.network else self.data) / "paddock.db"

    @property
    def logs(self) -> Path:
        """Logs and crash reports."""
        return self.state / "logs"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.host / "locks" if self.network else self.state / "locks"

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to find the same home and file."""
        found = {} if self.home is None else {"PADDOCK_HOME": str(self.home)}
        return {**found, "PADDOCK_CONFIG": str(self.config_file)}


def _user_home(environ: Mapping[str, str]) -> Path:
    given = environ.get("HOME", "")
    if given.startswith("/"):
        return Path(given)
    import pwd

    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir or "/nonexistent")
    except KeyError:
        return Path("/nonexistent")


def _xdg(environ: Mapping[str, str], variable: str, fallback: Path) -> Path:
    given = environ.get(variable, "")
    return Path(given) / NAME if given.startswith("/") else fallback / NAME  # relative ones are ignored, as the standard says


def _in_one_folder(home: Path, config: Path | None, demo: bool) -> Paths:
    data = home / "data"
    return Paths(config or home / "config.toml", data, home / "state", home / "cache", demo, home, netfs.is_network(data))


def find_paths(*, config: Path | None = None, demo: bool = False, environ: Mapping[str, str] | None = None) -> Paths:
    """Find the files of this user; creates nothing.

    Args:
        config: The file of `--config`; it wins over `PADDOCK_CONFIG`.
        demo: Use the demo's own home under the data folder.
        environ: `os.environ` where not given.
    """
    environ = os.environ if environ is None else environ
    given_home = environ.get("PADDOCK_HOME", "")
    if config is None and environ.get("PADDOCK_CONFIG") and not demo:
        config = Path(environ["PADDOCK_CONFIG"])
    if config is not None:
        config = Path(os.path.abspath(config.expanduser()))  # noqa: PTH100 - resolve() would follow the link we must keep
    if given_home:
        home = Path(os.path.abspath(given_home))  # noqa: PTH100 - same
        return _in_one_folder(home / "data" / "demo", config, True) if demo else _in_one_folder(home, config, False)
    if sys.platform == "darwin":
        import platformdirs  # 15 ms, and on Linux the standard's variables are all there is to it

        folders = platformdirs.PlatformDirs(NAME, appauthor=False)
        found = Paths(
            config or folders.user_config_path / "config.toml",
            folders.user_data_path,
            folders.user_state_path / "state",
            folders.user_cache_path,
        )
    else:
        user = _user_home(environ)
        found = Paths(
            config or _xdg(environ, "XDG_CONFIG_HOME", user / ".config") / "config.toml",
            _xdg(environ, "XDG_DATA_HOME", user / ".local/share"),
            _xdg(environ, "XDG_STATE_HOME", user / ".local/state"),
            _xdg(environ, "XDG_CACHE_HOME", user / ".cache"),
        )
    return _in_one_folder(found.data / "demo", config, True) if demo else replace(found, network=netfs.is_network(found.data))


def make_private(folder: Path) -> None:
    """Create a folder and its missing parents, 0700 whatever the umask.

    Raises:
        OSError: It cannot be created, or something else has its name.
    """
    missing = []
    place = folder
    while not place.exists():
        if place.is_symlink():
            raise NotADirectoryError(20, "a link that leads nowhere", str(place))
        missing.append(place)
        place = place.parent
    for new in reversed(missing):
        try:
            new.mkdir(mode=0o700)
        except FileExistsError:
            continue
        new.chmod(0o700)
    if not folder.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(folder))


def ensure_dirs(paths: Paths) -> None:
    """Create the folders that are missing; tries all of them before it complains.

    Raises:
        PaddockError: One cannot be created or written; the program can still run without saving.
    """
    refused: list[tuple[Path, str]] = []
    for folder in (paths.config_file.parent, paths.data, paths.state, paths.logs, paths.locks, paths.cache):
        try:
            make_private(folder)
        except OSError as error:
            refused.append((folder, error.strerror or "not possible"))
            continue
        if not os.access(folder, os.W_OK | os.X_OK):
            refused.append((folder, "not writable"))
    if refused:
        folder, why = refused[0]
        raise PaddockError.of(
            f"Nothing can be saved: {why.lower()}",
            clean_name(str(folder)),
            "Make the folder writable, or set PADDOCK_HOME to one that is",
            FailureKind.DISK,
        )
