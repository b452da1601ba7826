"""`@file` and `@folder/*`: what counts, and which files it means."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui.services.chat import references
from tui.services.chat.references import Folder, dropped, expand, find, may_be_dropped, quoted, split


def patterns(text: str, typed: str | None = None) -> list[str]:
    return [one.pattern for one in find(text, typed or "t" * len(text))]


def tree(top: Path, *names: str, text: str = "x\n") -> None:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(found: references.Expanded, top: Path) -> list[str]:
    return [str(path.relative_to(top)) for path in found.paths]


def test_what_is_a_reference():
    assert patterns("see @a.md and (@b/c.py), @~/x @../y") == ["a.md", "b/c.py),", "~/x", "../y"]
    assert patterns('@"two words.md" then') == ["two words.md"]
    assert patterns("mail ann@example.org or a@b") == []
    assert patterns("@ alone") == []


def test_X21_only_a_typed_at_counts():
    assert patterns("@a @b", "p" * 3 + "t" * 2) == ["b"]
    assert patterns("@a @b", "t" * 3 + "p" * 2) == ["a"]


@given(st.lists(st.tuples(st.booleans(), st.text("@ab/. \n", max_size=8)), max_size=8))
@settings(max_examples=300)
def test_X21_no_pasted_at_ever_counts(runs):
    text = "".join(run for _typed, run in runs)
    marks = "".join(("t" if typed else "p") * len(run) for typed, run in runs)
    for one in find(text, marks):
        assert text[one.start] == "@"
        assert marks[one.start] == "t"


def test_the_end_of_a_sentence_is_no_part_of_a_path(tmp_path):
    tree(tmp_path, "a.md", "b.")
    found = expand(["a.md,", "a.md).", "b."], tmp_path, home=tmp_path)
    assert names(found, tmp_path) == ["a.md", "b."]
    assert not found.failures


def test_globs_take_text_files_that_are_not_hidden_each_once(tmp_path):
    tree(tmp_path, "a.py", "b.py", ".c.py", "d/e.py", "d/.f/g.py", "d/h/i.py")
    (tmp_path / "j.py").write_bytes(b"\0\0")
    (tmp_path / "k.py").symlink_to(tmp_path / "a.py")
    os.mkfifo(tmp_path / "l.py")
    found = expand(["*.py", "a.py"], tmp_path, home=tmp_path)
    assert names(found, tmp_path) == ["a.py", "b.py"]
    assert found.left_out == 1
    assert names(expand(["**/*.py"], tmp_path, home=tmp_path), tmp_path) == ["a.py", "b.py", "d/e.py", "d/h/i.py"]
    assert names(expand([".*.py", "d/.f/*"], tmp_path, home=tmp_path), tmp_path) == [".c.py", "d/.f/g.py"]
    assert names(expand(["[ab].py", "d/?.py"], tmp_path, home=tmp_path), tmp_path) == ["a.py", "b.py", "d/e.py"]


def test_links_in_a_circle_end(tmp_path):
    tree(tmp_path, "a/b/c.txt")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert names(expand(["**/*.txt"], tmp_path, home=tmp_path), tmp_path) == ["a/b/c.txt"]
    assert "cannot be read" in expand(["a/self"], tmp_path, home=tmp_path).failures[0].what


def test_what_names_nothing_is_text_or_a_failure(tmp_path):
    found = expand(["ann", "notes.md", "./gone.md", "x/*.zip"], tmp_path, home=tmp_path)
    assert found.unknown == ("notes.md",)
    assert [failure.what for failure in found.failures] == ["gone.md does not exist", "No text file is x/*.zip"]
    assert len(expand(["ann"], tmp_path, home=tmp_path, strict=True).failures) == 1


def test_folders_and_other_things_are_refused_in_words(tmp_path):
    tree(tmp_path, "src/a.py")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "late").write_bytes(b"x" * 10_000 + b"\0")
    (tmp_path / "cat").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = expand(["src", "pipe", "late", "cat"], tmp_path, home=tmp_path)
    assert [failure.what.partition(":")[0] for failure in found.failures] == [
        "src is a folder",
        "pipe is a pipe",
        "late is not text",
        "cat is a damaged image",
    ]


def test_many_files_large_ones_and_those_elsewhere_are_asked_about(tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "etc"
    tree(home, *(f"{number}.txt" for number in range(21)))
    tree(elsewhere, "passwd")
    (home / "link").symlink_to(elsewhere / "passwd")
    assert not expand(["1.txt"], home, home=home).asks
    assert expand(["*.txt"], home, home=home).asks
    for path in ("../etc/passwd", "link", str(elsewhere / "passwd")):
        found = expand([path], home, home=home)
        assert found.asks
        assert found.outside == found.paths
    tree(home, "big", text="x" * 1_000_001)
    assert expand(["big"], home, home=home).asks


def test_a_walk_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "FILES_LIMIT", 5)
    tree(tmp_path, *(f"{number}.txt" for number in range(9)))
    found = expand(["*.txt"], tmp_path, home=tmp_path)
    assert len(found.paths) == 5
    assert found.more
    monkeypatch.setattr(references, "VISITS_LIMIT", 3)
    assert len(expand(["*.txt"], tmp_path, home=tmp_path).paths) <= 3


def test_names_that_go_on_folders_first(tmp_path):
    tree(tmp_path, "Alpha.md", "alps/x", "beta", ".hidden", 'quote"d', "line\nbreak")
    folder = Folder(tmp_path)
    assert folder.going_on("al") == ([("alps", True), ("Alpha.md", False)], 2)
    assert [name for name, _folder in folder.going_on("")[0]] == ["alps", "Alpha.md", "beta"]
    assert folder.going_on(".") == ([(".hidden", False)], 1)
    assert Folder(tmp_path / "gone").problem


def test_what_is_typed_is_split(tmp_path):
    home = tmp_path / "h"
    assert split("src/ma", tmp_path) == (tmp_path / "src", "src/", "ma")
    assert split("ma", tmp_path) == (tmp_path, "", "ma")
    assert split("~/x", tmp_path, home=home) == (home, "~/", "x")
    assert split("~", tmp_path, home=home) == (home, "~/", "")
    assert split("/et", tmp_path) == (Path("/"), "/", "et")
    assert quoted("two words") == '"two words"'
    assert quoted("end.") == '"end."'


def test_a_folder_of_many_names_is_read_whole_and_counted(tmp_path):
    for number in range(20_000):
        os.close(os.open(tmp_path / f"file{number:06}", os.O_CREAT | os.O_WRONLY))
    folder = Folder(tmp_path)
    assert folder.going_on("file0199")[1] == 100
    assert folder.going_on("")[1] == 20_000


@pytest.mark.sweep
def test_H_a_folder_of_100_000_names_holds_no_other_thread_up(tmp_path):
    for number in range(100_000):
        os.close(os.open(tmp_path / f"file{number:06}", os.O_CREAT | os.O_WRONLY))
    gaps: list[float] = []
    counts: list[int] = []
    stop = threading.Event()

    def work() -> None:
        try:
            folder = Folder(tmp_path)
            counts.extend((folder.going_on("file0999")[1], folder.going_on("")[1]))
        finally:
            stop.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    before = time.perf_counter()
    while not stop.wait(0.001):
        now = time.perf_counter()
        gaps.append(now - before)
        before = now
    thread.join()
    assert counts == [100, 100_000]
    assert sorted(gaps)[-3] < 0.1, "one or two are other programs' doing"


@pytest.mark.parametrize(
    "how", ["{0}", "'{0}'", "{escaped} ", "{uri}\n", "{0} {other}", "{0}\n{other}", "'{0}' '{other}'", "{uri}\r\n{uri}"]
)
def test_dropped_files_in_the_ways_of_terminals(tmp_path, how):
    tree(tmp_path, "two words.md" if how.count("{0}") < 2 and "other" not in how else "one.md", "other.md")
    first = next(path for path in tmp_path.iterdir() if path.name != "other.md")
    text = how.format(first, escaped=str(first).replace(" ", "\\ "), uri=first.as_uri(), other=tmp_path / "other.md")
    assert may_be_dropped(text)
    assert dropped(text)[0] == first


def test_X21_a_paste_with_anything_but_files_is_text(tmp_path):
    tree(tmp_path, "a.md")
    for text in (
        f"read {tmp_path}/a.md",
        f"{tmp_path}/a.md and more",
        f"@{tmp_path}/a.md",
        "a.md",
        str(tmp_path),
        "/etc/nothing-like-this",
        "file://elsewhere/etc/passwd",
        "/",
        "/dev/null",
        "/a\0b",
        "'open",
    ):
        assert not (may_be_dropped(text) and dropped(text)), text
    assert not may_be_dropped("/" + "x" * 40_000)
