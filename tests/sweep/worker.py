"""The real worker with a tenth of the pauses, so that a sample of the sweep takes seconds: `python -m tests.sweep.worker`."""

from __future__ import annotations

import sys

from tui.worker import ends, process

if __name__ == "__main__":
    ends.DELAYS = tuple(pause / 10 for pause in ends.DELAYS)  # type: ignore[misc,assignment]
    ends.DOWN_DELAYS = tuple(pause / 10 for pause in ends.DOWN_DELAYS)  # type: ignore[misc,assignment]
    sys.exit(process.run(sys.argv[1:]))
