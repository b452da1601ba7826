"""References to keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tui.config.secrets import resolve_secret
from tui.config.settings import build
from tui.core.errors import FailureKind, PaddockError


def test_the_three_places_of_a_key(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text("from-file\n")
    settings = build({"providers": {"x": {"url": "http://h:1", "api_key": "literal"}}})
    assert resolve_secret("") == ""
    assert resolve_secret("env:K", environ={"K": "from-env"}) == "from-env"
    assert resolve_secret(f"file:{file}") == "from-file"
    assert resolve_secret("config:x", settings=settings) == "literal"


@pytest.mark.parametrize("reference", ["env:NOT_SET", "file:/nonexistent/key", "file:/dev/zero", "file:/", "config:nobody", "sk-hunter2"])
def test_what_is_missing_is_said_without_the_key(reference: str):
    with pytest.raises(PaddockError) as caught:
        resolve_secret(reference, environ={})
    failure = caught.value.failure
    assert failure.kind is FailureKind.AUTH
    assert failure.what and failure.where and failure.remedy
    assert "hunter2" not in str(failure)


def test_C10_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PaddockError, match="not a regular file"):
        resolve_secret(f"file:{tmp_path / 'pipe'}")


@pytest.mark.parametrize("key", ["two\nlines", "\x1b[31m", "schlüssel", "  "])
def test_X_a_key_that_could_add_a_header_is_refused(key: str):
    with pytest.raises(PaddockError, match="cannot be sent"):
        resolve_secret("env:K", environ={"K": key})
