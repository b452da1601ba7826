"""What screens, commands and the worker have in common."""
