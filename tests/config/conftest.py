from __future__ import annotations

from pathlib import Path

import pytest

from tui.config.paths import Paths, find_paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return find_paths(environ={"PADDOCK_HOME": str(home)})


@pytest.fixture
def write(paths: Paths):
    def write_file(content: str | bytes) -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        paths.config_file.write_bytes(data)
        paths.config_file.chmod(0o600)
        return paths.config_file

    return write_file
