"""Tests of the edge to the terminal."""
