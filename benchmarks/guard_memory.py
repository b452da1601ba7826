"""Prints the memory of the guard process, which stays for the whole session; the aim is 12 MB at most.

Starts `paddock` as it is started, on a terminal of its own, with a stand-in for the interface that only waits.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
from pathlib import Path

AIM_MB = 12.0
_STANDIN = "import os, signal; os.write(1, b'ready'); signal.pause()"
_START = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
import tui.core.spawn
tui.core.spawn.own_command = lambda *words: [sys.executable, "-c", {_STANDIN!r}]
from tui.__main__ import main
sys.exit(main([]))
"""


def _megabytes(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def main() -> int:
    os.environ.setdefault("TERM", "xterm-256color")
    pid, master = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", _START])
    seen = b""
    while b"ready" not in seen:
        ready, _, _ = select.select([master], [], [], 10)
        if not ready:
            print("the guard did not start", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
            return 1
        seen += os.read(master, 4096)
    print(f"guard: RSS {_megabytes(pid, 'Rss'):.1f} MB (aim {AIM_MB:.0f}), of it unshared {_megabytes(pid, 'Private_Dirty'):.1f} MB")
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
