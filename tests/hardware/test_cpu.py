"""The processor's figures: rates, missing ones, odd ones."""

from __future__ import annotations

from tui.hardware.machine import machine_facts


def test_facts_are_clean():
    facts = machine_facts()
    assert facts.hostname.isprintable() and facts.hostname
    assert facts.cores >= 1
