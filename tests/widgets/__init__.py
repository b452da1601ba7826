"""Tests of the widgets on the Line API."""
