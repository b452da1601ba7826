"""Tests of Paddock."""
