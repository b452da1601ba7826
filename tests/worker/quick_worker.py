"""The real worker whose stalls are named after seconds: `python -m tests.worker.quick_worker`."""

from __future__ import annotations

import sys

from tui.core import pulls
from tui.worker import process

if __name__ == "__main__":
    pulls.NOTICE, pulls.RECONNECT, pulls._GAP = 1.6, 2.0, 0.7  # type: ignore[misc]
    sys.exit(process.run(sys.argv[1:]))
