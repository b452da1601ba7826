"""Where files are that are needed before anything heavy is imported; `tui.config.paths` decides the same, for the rest of the program.

Standard library only, and of that what an interpreter has loaded anyway.
"""

from __future__ import annotations

import os
import sys
import zlib

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping

LAST_VERSION = 1
"""Of the last sample's file."""
LAST_LIMIT = 65_536
"""Bytes it may have."""


def _user_home(environ: Mapping[str, str]) -> str:
    given = environ.get("HOME", "")
    if given.startswith("/"):
        return given
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir or "/nonexistent"
    except KeyError:
        return "/nonexistent"


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> str:
    given = environ.get(variable, "")
    return os.path.join(given if given.startswith("/") else fallback, "paddock")  # noqa: PTH118 - pathlib is dear


def folders(environ: Mapping[str, str], *, demo: bool = False, config: str = "") -> tuple[str, str, str]:
    """The folder of the data, that of the state, and the configuration file.

    Args:
        environ: Of the process.
        demo: Those of the demo home.
        config: What `--config` said.
    """
    join = os.path.join
    given = config or ("" if demo else environ.get("PADDOCK_CONFIG", ""))
    home = environ.get("PADDOCK_HOME", "")
    if home:
        home = os.path.abspath(home)  # noqa: PTH100 - as above
        state, default, data = join(home, "state"), join(home, "config.toml"), join(home, "data")
    else:
        user = _user_home(environ)
        if sys.platform == "darwin":
            data = join(user, "Library", "Application Support", "paddock")
            state, default = join(data, "state"), join(data, "config.toml")
        else:
            data = _xdg(environ, "XDG_DATA_HOME", join(user, ".local", "share"))
            state = _xdg(environ, "XDG_STATE_HOME", join(user, ".local", "state"))
            default = join(_xdg(environ, "XDG_CONFIG_HOME", join(user, ".config")), "config.toml")
    if demo:
        home = join(data, "demo")
        state, default, data = join(home, "state"), join(home, "config.toml"), join(home, "data")
    return data, state, os.path.abspath(os.path.expanduser(given)) if given else default  # noqa: PTH100, PTH111 - as above


def last_file(environ: Mapping[str, str], *, demo: bool = False, config: str = "", run: str = "/run/user") -> str:
    """Where the last sample is kept for `paddock status --line`: in the account's folder in memory, where there is one, else the state's.

    Writer and reader both ask each time: that folder comes and goes with logins. Its name tells homes and configurations apart.
    """
    _data, state, file = folders(environ, demo=demo, config=config)
    name = f"last-{zlib.crc32(os.fsencode(state) + bytes(1) + os.fsencode(file)):08x}.json"
    if not environ.get("PADDOCK_HOME") and not demo and sys.platform == "linux":
        folder = f"{run}/{os.getuid()}"
        try:
            found = os.lstat(folder)
        except OSError:
            pass
        else:
            if found.st_mode & 0o170022 == 0o040000 and found.st_uid == os.getuid():
                return f"{folder}/paddock/{name}"
    return f"{state}/{name}"
