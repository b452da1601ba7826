"""The commands and their arguments."""

from __future__ import annotations

import argparse
from typing import Any


def build() -> argparse.ArgumentParser:
    """The parser of everything after the global options; completions are made from it too."""
    parser = argparse.ArgumentParser(prog="paddock", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, words: str, *, on: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words, description=words, allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="print JSON")
        if on:
            command.add_argument("--on", default="", metavar="PROVIDER", help="use this provider")
        return command

    add("ls", "list installed models", on=True)
    add("ps", "list models in memory", on=True)
    add("show", "tell about a model", on=True).add_argument("model")
    add("search", "search the built-in catalogue").add_argument("text", nargs="+")
    command = add("cp", "give a model a second name", on=True)
    command.add_argument("model")
    command.add_argument("new")
    command = add("rm", "delete models", on=True)
    command.add_argument("models", nargs="+")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = add("load", "load a model into memory", on=True)
    command.add_argument("model")
    command.add_argument("--for", dest="for_", default="", metavar="TIME", help="how long it stays: 10m, -1 for ever")
    add("unload", "take a model out of memory", on=True).add_argument("model")
    _pulls(add)
    _chat(add)
    _machine(add)
    return parser


def _pulls(add: Any) -> None:
    command = add("pull", "fetch models", on=True)
    command.add_argument("models", nargs="+")
    command.add_argument("--wait", action="store_true", help="stay until they are done")
    command.add_argument("--insecure", action="store_true", help="accept a registry without TLS")
    command = add("pulls", "the queue of pulls")
    command.add_argument("verb", nargs="?", choices=("pause", "resume", "cancel", "retry", "first"))
    command.add_argument("ids", nargs="*", type=int, metavar="ID")


def _chat(add: Any) -> None:
    command = add("chat", "ask a model; the answer goes to standard output", on=True)
    command.add_argument("model")
    command.add_argument("prompt", nargs="?")
    command.add_argument("--system", default="", help="system prompt")
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="an option of the model")
    command.add_argument("--attach", action="append", default=[], metavar="FILE", help="a text file to add to the prompt")
    command = add("complete", "fill the gap between two files", on=True)
    command.add_argument("model")
    command.add_argument("--prefix", required=True, metavar="FILE")
    command.add_argument("--suffix", default="", metavar="FILE")
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="an option of the model")
    command = add("chats", "stored conversations")
    command.add_argument("verb", nargs="?", choices=("search", "export"))
    command.add_argument("what", nargs="?", metavar="TEXT|ID")


def _machine(add: Any) -> None:
    command = add("providers", "model servers")
    command.add_argument("verb", nargs="?", choices=("add", "remove", "test", "start", "stop", "logs"))
    command.add_argument("what", nargs="?", metavar="URL|NAME")
    command.add_argument("--name", default="", help="name of the added provider")
    command = add("monitor", "measure this machine")
    group = command.add_mutually_exclusive_group()
    group.add_argument("--once", action="store_true", help="one measurement")
    group.add_argument("--watch", action="store_true", help="go on until interrupted")
    add("status", "how things are, shortly").add_argument("--line", action="store_true", help="one line, for tmux")
    add("doctor", "check the installation")
    command = add("config", "the configuration")
    command.add_argument("verb", choices=("path", "init", "check", "show", "get", "set"))
    command.add_argument("key", nargs="?")
    command.add_argument("value", nargs="?")
    add("completions", "completions of a shell").add_argument("shell", choices=("bash", "zsh", "fish"))
