"""What this machine is called."""

from __future__ import annotations

from tui.text import clean_name


def machine_name() -> str:
    """The short name of this machine, cleaned; "this machine" where it has none."""
    import platform  # 5 ms; not every process wants it

    return clean_name(platform.node().split(".")[0], 24) or "this machine"
