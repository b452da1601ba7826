"""A process that holds the locks of an app until it is killed: `python -m tests.services.holder FOLDER NAME…`."""

import sys
import time
from pathlib import Path

from tui.services.locks import take

if __name__ == "__main__":
    held = [take(Path(sys.argv[1]) / name) for name in sys.argv[2:]]
    print("held" if all(held) else "not held", flush=True)
    time.sleep(60)
