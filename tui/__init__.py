"""Paddock: the terminal cockpit for the language models you run yourself."""

__version__ = "0.1.0"
