"""The whole program on a pseudo-terminal."""
