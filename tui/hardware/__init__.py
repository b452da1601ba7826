"""Readings of this machine."""
