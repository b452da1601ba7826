"""The guard and the start of the program, on a real terminal."""
