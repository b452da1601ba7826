"""The process that reads this machine, one JSON line a sample."""
