"""Measurements of this machine. Light: psutil, and the NVIDIA library on first use."""
