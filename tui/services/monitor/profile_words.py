"""A model's profile in words, the same for screens and commands."""

from __future__ import annotations

from tui.core.monitor import Profile
from tui.text import count, duration, size, tokens

_DASH = "\u2013"


def speed(profile: Profile) -> str:
    """`22 tok/s, first token 0.6s, prompt 410 tok/s, 11 answers`; empty for a model that was never used."""
    if not profile.answers:
        return ""
    answers = f"{count(profile.answers)} {'answer' if profile.answers == 1 else 'answers'}"
    return f"{rate(profile.rate)} tok/s, first token {duration(profile.first_token)}, prompt {rate(profile.prompt_rate)} tok/s, {answers}"


def cost(profile: Profile, *, binary: bool = False) -> str:
    """`loads in 4.2s, 6.8 GB at 8k, 210 J an answer, 0.9 J a token`, of which what is known; empty for a model that was never used."""
    if not profile.answers:
        return ""
    at = f" at {tokens(profile.context)}" if profile.context else ""
    parts = [
        f"loads in {duration(profile.load_seconds)}" if profile.load_seconds is not None else "",
        f"{size(profile.memory, binary=binary)}{at}" if profile.memory else "",
        energy(profile),
    ]
    return ", ".join(part for part in parts if part)


def usual(profile: Profile) -> str:
    """`45 tok/s, first token 2.1s, 210 J, 0.9 J a token (11 answers)`; empty for a model that was never used."""
    if not profile.answers:
        return ""
    parts = [f"{rate(profile.rate)} tok/s", f"first token {duration(profile.first_token)}"]
    if profile.joules is not None:
        parts.append(joules(profile.joules))
    if profile.joules_per_token is not None:
        parts.append(f"{joules(profile.joules_per_token)} a token")
    return f"{', '.join(parts)} ({count(profile.answers)} {'answer' if profile.answers == 1 else 'answers'})"


def energy(profile: Profile) -> str:
    """`210 J an answer, 0.9 J a token`, of which what is known."""
    answer = f"{joules(profile.joules)} an answer" if profile.joules is not None else ""
    token = f"{joules(profile.joules_per_token)} a token" if profile.joules_per_token is not None else ""
    return ", ".join(part for part in (answer, token) if part)


def rate(per_second: float | None) -> str:
    """Tokens a second: `48`, `4.2`; a dash where not known."""
    if not per_second:
        return _DASH
    return f"{per_second:,.0f}" if per_second >= 9.95 else f"{per_second:.1f}"


def joules(energy: float | None) -> str:
    """`210 J`, `4.2 J`, `0.85 J`, `3.4 kJ`; a dash where not known."""
    if energy is None:
        return f"{_DASH} J"
    if energy >= 999.5:
        return f"{energy / 1000:,.0f} kJ" if energy >= 99_500 else f"{energy / 1000:.1f} kJ"
    return f"{energy:.0f} J" if energy >= 9.95 else f"{energy:.1f} J" if energy >= 0.995 else f"{energy:.2f} J"
