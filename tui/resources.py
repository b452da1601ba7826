"""Files that come with the program: style sheets, the example configuration."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """Find a bundled file or folder: inside the package in a wheel, beside it in a checkout."""
    bundled = _PACKAGE / name
    return bundled if bundled.exists() else _PACKAGE.parent / name
