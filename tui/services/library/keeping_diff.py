"""What is different between two models, or two versions of one, as lines that a diff shows; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tui.core.textdiff import LEFT_OUT, changed_lines
from tui.text import size

if TYPE_CHECKING:
    from tui.core.models import ModelDetail

CONTEXT: Final = 1
"""Equal lines shown around a change."""
MOST: Final = 2000
"""Lines of one text that are compared; longer ones are only said to differ."""


def differences(
    before: ModelDetail, after: ModelDetail, size_before: int | None = None, size_after: int | None = None, *, binary: bool = False
) -> tuple[str, ...]:
    """Lines: `- ` of the first, `+ ` of the second, `  ` of both; a line that ends in a colon heads what follows. Empty: no difference."""
    out: list[str] = []
    if size_before != size_after:
        out += ["size:", f"- {size(size_before, binary=binary)}", f"+ {size(size_after, binary=binary)}"]
    if before.weights_digest != after.weights_digest:
        out += ["weights:", f"- {before.weights_digest[:12] or 'not told'}", f"+ {after.weights_digest[:12] or 'not told'}"]
    for name, one, other in (
        ("parameters", before.parameters, after.parameters),
        ("quantization", before.quantization, after.quantization),
        ("context", str(before.context or ""), str(after.context or "")),
        ("can", _abilities(before), _abilities(after)),
    ):
        if one != other:
            out += [f"{name}:", *(f"{sign} {value}" for sign, value in (("-", one), ("+", other)) if value)]
    options = ("\n".join(f"{key} {value}" for key, value in detail.options) for detail in (before, after))
    texts = (
        ("options", *options),
        ("system", before.system, after.system),
        ("template", before.template, after.template),
        ("licence", before.licence, after.licence),
        ("messages", _messages(before), _messages(after)),
    )
    for name, one, other in texts:
        if lines := text_diff(one, other):
            out += [f"{name}:", *lines]
    return tuple(out)


def text_diff(before: str, after: str) -> list[str]:
    """The lines that differ, each with a line around it; `...` where lines in between are left out."""
    if before == after:
        return []
    one, other = before.splitlines(), after.splitlines()
    if len(one) > MOST or len(other) > MOST:
        return [f"- {len(one)} lines", f"+ {len(other)} lines, of which some are different"]
    out = ["..." if sign == LEFT_OUT else f"{sign} {line}" for sign, line in changed_lines(one, other, CONTEXT)]
    return out or ["  only white space at the end is different"]


def _abilities(detail: ModelDetail) -> str:
    return " ".join(sorted(ability.value for ability in detail.abilities))


def _messages(detail: ModelDetail) -> str:
    return "\n".join(f"{role}: {text}" for role, text in detail.messages)
