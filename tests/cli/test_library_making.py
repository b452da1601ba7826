"""configure, export, backup, restore-backup, and Modelfiles for create and import."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Background, Run, Typed, controls, start_ollama
from tests.cli.test_changes import audit
from tests.cli.test_make import gguf, queued
from tests.support.screen import until
from tui.cli import library_making
from tui.cli.context import Context
from tui.core.errors import PaddockError
from tui.core.kept import kept_of
from tui.core.options import AppOptions

NAME = "qwen3:8b"


def carried(run: Run, model: str = NAME) -> dict[str, Any]:
    found: dict[str, Any] = run("configure", model, "--json").json
    return found


def names(run: Run) -> list[str]:
    return [model["name"] for model in run("ls", "--json").json["models"]]


# --- configure -----------------------------------------------------------------------------------------------------------


def test_options_go_into_the_configuration_after_a_diff_and_a_yes(
    ollama: str, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["configure", NAME, "--option", "num_ctx=8192", "--stop", "<a>", "--stop", "<b>", "--keep-alive", "10m"]
    said = run(*words)
    assert said.code == 3 and "nobody was there to say yes" in said.err
    assert said.out == "+ num_ctx  8192\n+ stop  <a>, <b>\n+ keep_alive  10m\n"
    assert run(*words, "--dry-run").code == 0 and not (home / "config.toml").exists()
    with monkeypatch.context() as here:
        here.setattr(sys, "stderr", typed := Typed())
        here.setattr(sys, "stdin", Typed("y\n"))
        assert run(*words).code == 0 and "Do that? [y/N]" in typed.getvalue()
    assert carried(run)["configuration"] == {"options": {"num_ctx": 8192, "stop": ["<a>", "<b>"]}, "keep_alive": "10m"}
    assert run("configure", NAME, "--option", "num_ctx=", "--stop", "", "--keep-alive", "", "--yes", "--json").code == 0
    assert carried(run)["configuration"] == {"options": {}, "keep_alive": ""}
    assert audit(home)[-1][:2] == ("configure", NAME)
    said = run("configure", NAME, "--option", "num_ctx=", "--yes")
    assert said.code == 0 and "Nothing would be different." in said.err
    said = run("configure", NAME, "--option", "num_ctx=", "--json")  # with nothing to do nobody must say yes
    assert said.code == 0 and said.json["diff"] == []


def test_a_system_prompt_becomes_part_of_a_model(ollama: str, run: Run, tmp_path: Path) -> None:
    text = tmp_path / "system.txt"
    text.write_text("Be brief.\nAnd kind.\n")
    said = run("configure", NAME, "--system", f"@{text}", "--option", "temperature=", "--bake", "mine", "--yes")
    assert said.code == 0 and "mine:latest is configured." in said.err
    assert "- temperature  0.6" in said.lines and "+ And kind." in said.lines
    assert carried(run, "mine")["carries"] == {"stop": ["<|im_end|>"], "system": "Be brief.\nAnd kind."}
    assert carried(run)["carries"]["system"] == ""
    said = run("configure", NAME, "--system", "New.", "--bake", "--yes", "--json")
    assert said.code == 0 and kept_of(said.json["kept"]) is not None and said.json["model"] == NAME
    assert not any(kept_of(name) for name in names(run))
    assert run("configure", NAME, "--system", "New.", "--bake", "--yes").err == f"{NAME} carries that already: nothing was made.\n"
    assert run("configure", NAME, "--system", "New.", "--bake", "--json").json["diff"] == []
    said = run("configure", NAME, "--system", "Other.", "--bake", "mine", "--yes")
    assert said.code == 3 and "a model named mine:latest already" in said.err
    assert "system:\nNew." in run("configure", NAME).out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--system", "x"], 2, "Add --bake"),
        (["--edit", "template"], 2, "Add --bake"),
        (["--keep-alive", "5m", "--bake"], 2, "cannot carry keep_alive"),
        (["--option", "num_ctx=many", "--yes"], 2, "num_ctx"),
        (["--option", "temperature=9", "--yes"], 2, "temperature"),
        (["--option", "heat=9", "--yes"], 2, "no option of a model"),
        (["--option", "heat", "--yes"], 2, "written K=V"),
        (["--option", "mirostat=1", "--bake", "--yes"], 2, "know it no more"),
        (["--edit", "system", "--bake", "--yes"], 2, "No editor is set, or nobody is there"),
        (["--bake", "../x", "--option", "seed=1", "--yes"], 1, "valid name"),
    ],
)
def test_X13_what_cannot_be_configured_is_refused(ollama: str, run: Run, home: Path, words: list[str], code: int, said: str) -> None:
    found = run("configure", NAME, *words)
    assert found.code == code and said in found.err, found
    assert not (home / "config.toml").exists()


def test_looking_is_all_that_readonly_does(ollama: str, run: Run, home: Path) -> None:
    assert run("configure", NAME, readonly=True).code == 0
    for words in (["--option", "seed=1", "--yes"], ["--system", "x", "--bake", "--yes"]):
        said = run("configure", NAME, *words, readonly=True)
        assert said.code == 3 and "refused" in said.err
    assert not (home / "config.toml").exists()


async def test_the_editor_writes_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\necho " and more" >> "$1"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "stdin", Typed())
    monkeypatch.setenv("VISUAL", str(script))
    assert await library_making._edited("Begin") == "Begin\n and more"
    script.write_text("#!/bin/sh\nexit 1\n")
    assert await library_making._edited("Begin") == "Begin"
    monkeypatch.setenv("VISUAL", str(tmp_path / "nothere"))
    with pytest.raises(PaddockError, match="not started"):
        await library_making._edited("Begin")


# --- export and Modelfiles -----------------------------------------------------------------------------------------------


def test_an_exported_modelfile_makes_the_model_again(ollama: str, run: Run, tmp_path: Path) -> None:
    shown = run("export", NAME)
    assert shown.code == 0 and f"FROM {NAME}" in shown.lines and not controls(shown.out)
    file = tmp_path / "Modelfile"
    said = run("export", NAME, "--modelfile", str(file))
    assert said.code == 0 and said.err == f"The Modelfile of {NAME} is in {file}.\n" and file.read_text() == shown.out
    said = run("export", NAME, "--modelfile", str(file))
    assert said.code == 3 and "already" in said.err
    assert run("export", NAME, "--modelfile", str(file), "--yes", "--json").json == {"modelfile": str(file)}
    assert run("export", NAME, "--json").json == {"modelfile": shown.out}
    said = run("create", "again", "--from", str(file), "--option", "seed=7")
    assert said.code == 0 and f"again:latest: made from {NAME}." in said.err
    (job,) = queued(run)
    assert job["kind"] == "create" and job["arguments"]["from"] == NAME and job["arguments"]["parameters"]["seed"] == 7
    file.write_text("FROM nothere:1b")
    said = run("create", "other", "--from", str(file))
    assert said.code == 1 and "Fetch it first: paddock pull nothere:1b" in said.err and len(queued(run)) == 1
    said = run("export", NAME, "--gguf")
    assert said.code == 1 and "may not be read by you" in said.err


def test_import_takes_a_modelfile_with_its_files(ollama: str, run: Run, tmp_path: Path) -> None:
    gguf(tmp_path / "w.gguf")
    (tmp_path / "x.Modelfile").write_text("FROM ./w.gguf\nPARAMETER tfs_z 1\nSYSTEM Hi")
    said = run("import", str(tmp_path / "x.Modelfile"), "mine")
    assert said.code == 0 and "tfs_z (line 2) is left out" in said.err
    (job,) = queued(run)
    assert job["kind"] == "upload" and job["arguments"] == {"files": {"w.gguf": str(tmp_path / "w.gguf")}, "system": "Hi"}
    (tmp_path / "x.Modelfile").write_text("FROM a\nWHAT")
    said = run("import", str(tmp_path / "x.Modelfile"), "other")
    assert said.code == 1 and "x.Modelfile:2" in said.err and len(queued(run)) == 1


# --- backups -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["b", "b.tar"])
def test_a_backup_is_checked_listed_and_restored(
    ollama: str, run: Run, home: Path, tmp_path: Path, configure: Callable[[str], None], form: str
) -> None:
    configure('[general]\nlog_level = "debug"\n')
    path = str(tmp_path / form)
    run("configure", NAME, "--system", "Hi.", "--bake", "mine", "--yes")
    said = run("backup", path, "mine")
    assert said.code == 0 and "1 model without weights" in said.err and "the configuration" in said.err
    said = run("restore-backup", path)
    assert said.code == 0 and "The backup is whole: 2 files, the configuration" in said.err and "mine:latest" in said.out
    said = run("restore-backup", path, "mine")
    assert said.code == 3 and "left as it is. --yes replaces it." in said.err
    run("rm", "mine", "--yes")
    configure("[general]\n")
    said = run("restore-backup", path, "--all", "--config", "--json")
    assert said.code == 0 and said.json == {"restored": ["mine:latest", str(home / "config.toml")]}
    assert carried(run, "mine")["carries"]["system"] == "Hi." and "debug" in (home / "config.toml").read_text()
    assert [event[0] for event in audit(home)][-2:] == ["restore", "restore configuration"]
    said = run("restore-backup", path, "nothere")
    assert said.code == 1 and "no model nothere" in said.err
    assert run("backup", path, "mine").code == 3
    assert run("restore-backup", path, "mine", readonly=True).code == 3


def test_a_backup_of_two_servers_with_one_name_is_restored_where_each_is_from(
    ollama: str, run: Run, background: Background, tmp_path: Path, configure: Callable[[str], None]
) -> None:
    (tmp_path / "other").mkdir()
    other, end = start_ollama(background, tmp_path / "other")
    configure(f'[providers.a]\nkind = "ollama"\nurl = "{ollama}"\n\n[providers.b]\nkind = "ollama"\nurl = "{other}"\n')
    try:
        for name in "ab":
            assert run("configure", NAME, "--bake", "mine", "--system", f"I am {name}.", "--on", name, "--yes").code == 0
        path = str(tmp_path / "both")
        assert run("backup", path, "--all").code == 0
        for name in "ab":
            assert run("rm", "mine", "--now", "--on", name, "--yes").code == 0
        said = run("restore-backup", path, "mine")
        assert said.code == 0 and "mine:latest is restored on a." in said.err and "mine:latest is restored on b." in said.err
        for name in "ab":
            found = run("configure", "mine", "--on", name, "--json").json
            assert found["carries"]["system"] == f"I am {name}."
            assert run("rm", "mine", "--now", "--on", name, "--yes").code == 0
        said = run("restore-backup", path, "mine", "--on", "b")
        assert said.code == 0 and said.err.count("is restored on b.") == 1
        assert "mine:latest of a is left out: b gets the one of b." in said.err
        assert run("configure", "mine", "--on", "b", "--json").json["carries"]["system"] == "I am b."
    finally:
        end()


def test_a_backup_of_the_configuration_alone_and_of_everything(
    ollama: str, run: Run, tmp_path: Path, configure: Callable[[str], None]
) -> None:
    configure('[providers.p]\nkind = "openai"\nurl = "http://127.0.0.1:9"\nenabled = false\napi_key = "sk-literal"\n')
    said = run("backup", str(tmp_path / "c.tar"))
    assert said.code == 0 and "holds a key" in said.err and "sk-literal" not in said.err
    assert run("restore-backup", str(tmp_path / "c.tar"), "--json").json["models"] == []
    found = run("backup", str(tmp_path / "all"), "--all", "--json").json
    assert len(found["models"]) == len(names(run)) and not any(model["whole"] for model in found["models"])
    index = json.loads((tmp_path / "all" / "paddock-backup.json").read_text())
    assert index["paddock_backup"] == 1 and index["models"][0]["why"]
    assert run("backup", str(tmp_path / "x"), "--all", "mine").code == 2
    (tmp_path / "all" / "config" / "config.toml").write_text("changed")
    said = run("restore-backup", str(tmp_path / "all"), "--config")
    assert said.code == 1 and "another length" in said.err


async def test_S02_a_backup_that_is_interrupted_tidies_up_before_the_command_ends(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(AppOptions(), Namespace(json=False))
    told = library_making._Told(context)
    begun, tidied = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert told.stop.wait(10)
        tidied.set()

    task = asyncio.ensure_future(library_making._in_background(told, work))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tidied.is_set()
    await context.aclose()
