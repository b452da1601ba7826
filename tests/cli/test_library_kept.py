"""rm, restore, mv, versions: the trash and earlier versions from the command line, and what a killed process leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Background, Run, Typed, provider
from tests.cli.test_changes import audit
from tests.support.fault_server import Exchange, FaultServer
from tui.cli.context import Context
from tui.core.errors import PaddockError
from tui.core.kept import KeptKind, kept_name
from tui.core.models import Endpoint
from tui.providers.factory import make_provider
from tui.store.model_moves import ModelMoves


def names(url: str, background: Background) -> list[str]:
    """Everything the server lists."""

    async def ask() -> list[str]:
        server = make_provider(Endpoint("x", "ollama", url), lambda _key: "")
        try:
            return [model.key for model in await server.models()]
        finally:
            await server.aclose()

    found: list[str] = background.run(ask())
    return found


def kept(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run("restore", "--list", "--json").json["kept"]
    return found


def test_rm_and_restore(ollama: str, run: Run, home: Path, background: Background) -> None:
    said = run("rm", "gemma3:4b", "--yes")
    assert said.code == 0 and "gemma3:4b is in the trash of ollama until" in said.err and "paddock restore gemma3:4b" in said.err
    assert "gemma3:4b" not in names(ollama, background)
    (one,) = kept(run)
    assert (one["original"], one["kind"]) == ("gemma3:4b", "trash") and one["key"] in names(ollama, background)
    assert round(one["goes_at"] - one["at"]) == 7 * 86_400
    assert run("show", one["key"]).code == 1 and run("cp", one["key"], "mine").code == 1  # hidden: no model like others
    assert "gemma3:4b" in run("restore").out
    assert run("restore", "nothing").code == 1
    said = run("restore", "gemma3:4b", "--json")
    assert said.json == {"ok": True, "command": "restore", "model": "gemma3:4b", "provider": "ollama"}
    assert "gemma3:4b" in names(ollama, background) and kept(run) == []
    assert [what for what, *_ in audit(home)] == ["delete", "restore"]


def test_rm_now_is_for_good_and_kept_ones_need_it(ollama: str, run: Run, background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("rm", "gemma3:4b").code == 3, "nobody to ask"
    monkeypatch.setattr(sys, "stdin", Typed("y\n"))
    said = run("rm", "gemma3:4b", "--now")
    assert said.code == 0 and "Delete gemma3:4b on ollama for good?" in said.err and "This cannot be undone." in said.err
    assert kept(run) == []
    run("rm", "llama3.2:3b", "--yes")
    (one,) = kept(run)
    said = run("rm", one["key"], "--yes")
    assert said.code == 1 and "kept by Paddock already" in said.err
    assert run("rm", one["key"], "--yes", "--now").code == 0
    assert kept(run) == [] and "llama3.2:3b" not in names(ollama, background)


def test_a_model_that_came_back_otherwise_needs_another_name(ollama: str, run: Run, background: Background) -> None:
    run("rm", "gemma3:4b", "--yes")
    run("cp", "qwen3:8b", "gemma3:4b")
    said = run("restore", "gemma3:4b")
    assert said.code == 1 and "There is another gemma3:4b now" in said.err
    assert run("restore", "gemma3:4b", "--as", "a b c").code == 2
    assert run("restore", "gemma3:4b", "--as", "gemma3:old").code == 0
    assert {"gemma3:old", "gemma3:4b"} <= set(names(ollama, background))


def test_mv(ollama: str, run: Run, home: Path, background: Background) -> None:
    assert run("load", "gemma3:4b").code == 0
    said = run("mv", "gemma3:4b", "me/mine:1")
    assert said.code == 0 and said.err == "gemma3:4b on ollama is now named me/mine:1.\n"
    there = names(ollama, background)
    assert "me/mine:1" in there and "gemma3:4b" not in there
    assert [what for what, *_ in audit(home)] == ["load", "unload", "rename"]
    assert run("mv", "me/mine:1", "qwen3:8b").code != 0
    assert run("mv", "me/mine:1", kept_name(KeptKind.TRASH, "x", 5)).code != 0


def test_mv_tells_the_new_name_as_json(ollama: str, run: Run) -> None:
    told = {"ok": True, "command": "mv", "model": "gemma3:4b", "provider": "ollama", "target": "mine:latest"}
    assert run("mv", "gemma3:4b", "mine", "--json").json == told


def test_rm_of_kept_ones_is_one_json_document(ollama: str, run: Run, background: Background) -> None:
    run("rm", "gemma3:4b", "llama3.2:3b", "--yes")
    keys = [one["key"] for one in kept(run)]
    said = run("rm", *keys, "qwen3:8b", "--now", "--yes", "--json")
    assert said.code == 0 and said.json["ok"] and said.json["failures"] == []
    assert {one["model"] for one in said.json["models"]} == {"gemma3:4b", "llama3.2:3b", "qwen3:8b"}
    assert set(names(ollama, background)) == {"qwen2.5-coder:1.5b", "nomic-embed-text:latest"}


@pytest.mark.parametrize("how", ["no database", "a full disk"])
def test_D_rm_promises_no_day_where_the_move_was_not_noted(
    ollama: str, run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def cannot(*_given: object) -> None:
        raise PaddockError.of("The disk is full", "paddock.db", "Make room")

    where, name = (Context, "writable") if how == "no database" else (ModelMoves, "begin")
    monkeypatch.setattr(where, name, cannot)
    said = run("rm", "gemma3:4b", "--yes")
    assert said.code == 0
    assert "gemma3:4b is in the trash of ollama and stays until you empty it: paddock restore gemma3:4b brings it back." in said.err
    (one,) = kept(run)
    assert one["goes_at"] is None
    assert " stays " in run("restore").out


# --- a server that does not answer ---------------------------------------------------------------------------------------


SILENT = provider("gone", "http://127.0.0.1:9")


def test_P12_restore_does_not_take_a_silent_server_for_one_that_keeps_nothing(ollama: str, run: Run, configure) -> None:
    configure(provider("here", ollama) + SILENT)
    said = run("restore")
    assert said.code == 1 and not said.out
    assert "gone: " in said.err and "Nothing is kept on here." in said.err and "empty" not in said.err
    said = run("restore", "--json")
    assert said.code == 1 and said.json["kept"] == []
    (failure,) = said.json["failures"]
    assert failure["what"].startswith("gone: ") and failure["kind"] == "unreachable"
    said = run("restore", "only-there:1b")
    assert said.code == 1 and "One provider did not answer: it is not known whether only-there:1b is in the trash." in said.err
    said = run("rm", kept_name(KeptKind.TRASH, "only-there:1b", 5), "--now", "--yes")
    assert said.code == 1 and "it is not known whether" in said.err
    said = run("restore", "--on", "here")
    assert said.code == 0 and "The trash is empty" in said.err
    assert run("restore", "--on", "here", "--json").json == {"kept": [], "failures": []}


def test_P12_what_is_kept_on_the_others_is_listed_and_brought_back(ollama: str, run: Run, configure, background: Background) -> None:
    configure(provider("here", ollama) + SILENT)
    assert run("rm", "gemma3:4b", "--yes", "--on", "here").code == 0
    said = run("restore")
    assert said.code == 1 and "gemma3:4b" in said.out and "gone: " in said.err
    said = run("restore", "gemma3:4b")
    assert said.code == 0 and "gemma3:4b" in names(ollama, background)


def test_P12_versions_of_a_silent_server_are_not_known(ollama: str, run: Run, configure, background: Background) -> None:
    configure(provider("here", ollama) + SILENT)
    said = run("versions", "only-there:1b")
    assert said.code == 1 and "gone: " in said.err and "No earlier version of only-there:1b is kept on here." in said.err
    said = run("versions", "only-there:1b", "--json")
    assert said.code == 1 and said.json["versions"] == [] and said.json["failures"][0]["what"].startswith("gone: ")
    background.run(_copy(ollama, "gemma3:4b", kept_name(KeptKind.VERSION, "qwen3:8b", 1_700_000_000)))
    said = run("versions", "qwen3:8b", "--json")
    assert said.code == 1 and len(said.json["versions"]) == 1 and len(said.json["failures"]) == 1
    said = run("versions", "qwen3:8b", "--json", "--on", "here")
    assert said.code == 0 and len(said.json["versions"]) == 1 and said.json["failures"] == []


@pytest.mark.parametrize("words", [["restore"], ["restore", "x"], ["versions", "x"]])
def test_where_no_server_answers_it_is_4(run: Run, configure, words: list[str]) -> None:
    configure(SILENT)
    said = run(*words)
    assert said.code == 4 and "gone: " in said.err and "empty" not in said.err and "No earlier" not in said.err


def test_versions_list_compare_go_back_and_drop(ollama: str, run: Run, background: Background) -> None:
    assert "No earlier version" in run("versions", "qwen3:8b").err
    version = kept_name(KeptKind.VERSION, "qwen3:8b", 1_700_000_000)
    background.run(_copy(ollama, "gemma3:4b", version))
    said = run("versions", "qwen3:8b")
    assert [row.split()[0] for row in said.lines] == ["VERSION", "now", "1"]
    assert "3.3 GB" in said.lines[2]
    said = run("versions", "qwen3:8b", "--diff", "1")
    assert "+ qwen3" in said.out or "size:" in said.out
    assert run("versions", "qwen3:8b", "--back", "2").code == 2
    assert run("versions", "qwen3:8b", "--back", "1").code == 3  # nobody to ask
    assert run("versions", "qwen3:8b", "--back", "1", "--yes").code == 0
    found = run("versions", "qwen3:8b", "--json").json["versions"]
    assert len(found) == 1 and found[0]["key"] != version  # what it was
    assert run("versions", "qwen3:8b", "--drop", "1", "--yes").code == 0
    assert run("versions", "qwen3:8b", "--json").json["versions"] == []


async def _copy(url: str, model: str, name: str) -> None:
    server = make_provider(Endpoint("x", "ollama", url), lambda _key: "")
    await server.copy(model, name)
    await server.aclose()


@pytest.mark.parametrize(
    "words", [["rm", "qwen3:8b", "--yes"], ["mv", "qwen3:8b", "x"], ["restore", "x"], ["versions", "x", "--back", "1"]]
)
def test_look_changes_nothing(ollama: str, run: Run, words: list[str]) -> None:
    said = run(*words, readonly=True)
    assert said.code == 3 and "security.access" in said.err


def test_look_lists_what_is_kept(ollama: str, run: Run) -> None:
    run("rm", "gemma3:4b", "--yes")
    said = run("restore", "--list", readonly=True)
    assert said.code == 0 and "gemma3:4b" in said.out and " on " in said.out
    assert run("versions", "gemma3:4b", readonly=True).code == 0


class Slow:
    """A server whose n-th change waits for ever once it was done or before; the others are done at once."""

    def __init__(self, server: FaultServer, stop: int, *, after: bool) -> None:
        self.names = {"tiny:latest": "aa" * 32}
        self.stop, self.after, self.count = stop, after, 0
        self.reached = threading.Event()
        server.routes = {"*": self.serve}

    async def serve(self, exchange: Exchange) -> None:
        path, body = exchange.request.path, exchange.request.json if exchange.request.body else {}
        if path == "/api/tags":
            found = [{"name": name, "model": name, "size": 9, "digest": digest, "details": {}} for name, digest in self.names.items()]
            await exchange.json({"models": found})
            return
        if path == "/api/ps":
            await exchange.json({"models": []})
            return
        if path not in ("/api/copy", "/api/delete"):
            await exchange.json({"version": "0.24.0"})
            return
        self.count += 1
        held = self.count == self.stop
        if not held or self.after:
            if path == "/api/copy":
                self.names[body["destination"]] = self.names[body["source"]]
            else:
                del self.names[body["model"]]
        if held:
            self.reached.set()
            await asyncio.sleep(60)
        await exchange.json({})


@pytest.mark.parametrize(("stop", "after", "both"), [(1, False, False), (1, True, True), (2, False, True), (2, True, False)])
def test_Q20_a_rename_whose_process_is_killed(server: FaultServer, run: Run, home: Path, stop: int, after: bool, both: bool) -> None:
    slow = Slow(server, stop, after=after)
    child = subprocess.Popen(
        [sys.executable, "-m", "tui", "mv", "tiny", "mine"], env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert slow.reached.wait(10)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    slow.stop = 0
    assert set(slow.names.values()) == {"aa" * 32}
    assert (len(slow.names) == 2) is both
    said = run("restore", "--list")
    words = "A rename was interrupted: tiny:latest and mine:latest are the same model under two names; delete the one you do not want."
    assert (words in said.err) is both
    assert "interrupted" not in run("restore", "--list").err  # once
    assert json.loads(run("ls", "--json").out)["models"][0]["name"] in slow.names
