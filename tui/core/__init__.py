"""Plain values and pure functions; no I/O."""
