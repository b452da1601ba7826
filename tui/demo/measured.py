"""What the demo's models answer to the fixed prompts of a benchmark: the coarser the quantization, the earlier a word is another."""

from __future__ import annotations

from typing import Final

_ANSWERS: Final = (
    (
        "what did the keeper burn",
        "The keeper burned the floor of the upper room so that the lamp stayed alight while no boat could land for seven weeks.",
        {"Q4_K_M": ("seven", "many"), "Q4_K_S": ("lamp", "light"), "Q2_K": ("floor", "stairs")},
    ),
    ("first eight prime numbers", "2, 3, 5, 7, 11, 13, 17, 19", {"Q2_K": ("11,", "9,")}),
    ("into French", "Le bateau part à neuf heures du matin.", {"Q4_K_S": ("du matin", "le matin"), "Q2_K": ("bateau", "train")}),
    (
        "why the sky is blue",
        "Air scatters short waves of light far more than long ones, so blue reaches us from every side of the sky. Near sunset the way "
        "through the air is longer, and what is left of the light is red and orange to our eyes.",
        {"Q8_0": ("orange", "yellow"), "Q4_K_M": ("every side", "all sides"), "Q4_K_S": ("far more", "more"), "Q2_K": ("short", "small")},
    ),
)


def measured_answer(prompt: str, quantization: str) -> str:
    """The answer to a prompt of a benchmark; empty for every other prompt."""
    for sign, text, changes in _ANSWERS:
        if sign in prompt:
            old, new = changes.get(quantization, ("", ""))
            return text.replace(old, new, 1) if old else text
    return ""
