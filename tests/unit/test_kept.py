"""Names of models that are kept: all that is needed to bring one back stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.errors import PaddockError
from tui.core.kept import Kept, KeptKind, kept_name, kept_of
from tui.core.names import parse

_PART = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\Z")


@pytest.mark.parametrize("name", ["qwen3:8b", "me/mine:latest", "hf.co/org/repo:Q4_K_M", "localhost:5000/ns/m:tag"])
def test_there_and_back(name: str) -> None:
    kept = kept_name(KeptKind.TRASH, name, 1_763_769_600.9)
    assert parse(kept)
    assert kept_of(kept) == Kept(KeptKind.TRASH, name, 1_763_769_600)


@given(model=_PART, tag=_PART, at=st.integers(0, 10**11))
def test_any_name_comes_back(model: str, tag: str, at: int) -> None:
    kept = kept_of(kept_name(KeptKind.VERSION, f"{model}:{tag}", at))
    assert kept == Kept(KeptKind.VERSION, f"{model}:{tag}", at)


@pytest.mark.parametrize("name", ["qwen3:8b", "paddock/m:1", "a.paddock/b/c:d", "trash-x.paddock/b/c:d", "trash-1.paddock/b", "../x", ""])
def test_other_names_are_nobodys(name: str) -> None:
    assert kept_of(name) is None


def test_X13_what_is_no_name_is_not_kept() -> None:
    with pytest.raises(PaddockError):
        kept_name(KeptKind.TRASH, "../../x", 1)
