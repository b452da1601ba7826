"""Breaking long lines anew after an edit gives what breaking all of them gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from textual._wrap import compute_wrap_offsets

from tui.ui.widgets import long_lines
from tui.ui.widgets.long_lines import break_again

TEXT = st.text(st.sampled_from("aab  模😀-"), max_size=300)


@given(TEXT, TEXT, TEXT, st.text(st.sampled_from("ab 模"), max_size=40), st.integers(4, 30))
@settings(max_examples=400)
def test_an_edit_anywhere(head: str, gone: str, tail: str, put: str, width: int) -> None:
    before_window = long_lines._WINDOW
    long_lines._WINDOW = 40  # type: ignore[misc]
    try:
        before = compute_wrap_offsets(head + gone + tail, width, 4)
        line = head + put + tail
        found = break_again(line, width, before, len(head), len(head) + len(gone), len(head) + len(put))
    finally:
        long_lines._WINDOW = before_window  # type: ignore[misc]
    assert found == compute_wrap_offsets(line, width, 4)
