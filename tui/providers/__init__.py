"""The wire protocols of model servers; the only package that knows the HTTP client."""

import sys

# httpx imports its command line where click is installed, and with it rich and pygments: 70 ms of every start.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
