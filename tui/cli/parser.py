"""The commands and their arguments."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final, NoReturn

from tui.cli.parser_library import library
from tui.text import clean_block, strip_line

PULL_VERBS: Final = (
    "pause", "resume", "cancel", "retry", "first", "up", "down", "limit", "at", "after", "allow", "remove", "history", "apply", "forget",
)  # fmt: skip
CHAT_VERBS: Final = ("list", "search", "export", "import", "rename", "tag", "pin", "unpin", "delete", "undelete")
PROVIDER_VERBS: Final = ("add", "remove", "test", "default", "start", "stop", "logs")
_MODEL: Final = "as paddock ls shows it"


class Parser(argparse.ArgumentParser):
    """A parser that repeats nothing of what was typed without cleaning it.

    Attributes:
        late: An optional positional argument that may also stand behind options, which argparse alone does not take.
    """

    late = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, and see `late`."""
        found, rest = super().parse_known_args(args, namespace)
        if self.late and getattr(found, self.late, "") is None and len(rest) == 1 and (rest[0] == "-" or not rest[0].startswith("-")):
            setattr(found, self.late, rest.pop())
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is; exits with 2."""
        self.exit(2, f"{message[:1].upper()}{message[1:]}. See {self.prog} --help.\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            stream = file or sys.stderr
            text = "\n".join(strip_line(line) for line in clean_block(message).split("\n"))
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(text.encode(encoding, "replace").decode(encoding))


def build() -> argparse.ArgumentParser:
    """The parser of everything after the global options; completions are made from it too."""
    parser = Parser(prog="paddock", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, words: str, *, on: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
        command.add_argument("--json", action="store_true", help="print JSON")
        if on:
            command.add_argument("--on", default="", metavar="PROVIDER", help="use this provider")
        return command

    _models(add)
    _pulls(add)
    library(add)
    _chat(add)
    _providers(add)
    _machine(add)
    return parser


def _models(add: Any) -> None:
    add("ps", "list models in memory", on=True)
    command = add("load", "load a model into memory", on=True)
    command.add_argument("model", help=_MODEL)
    command.add_argument("--for", dest="for_", default="", metavar="TIME", help="how long it stays after its last use: 10m, -1 for ever")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
    add("unload", "take a model out of memory, and wait until it is gone", on=True).add_argument("model", help=_MODEL)


def _pulls(add: Any) -> None:
    _pull(add)
    command = add("pulls", "the queue: list it, change it, look into its history")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.description = _PULLS
    command.add_argument("verb", nargs="?", choices=PULL_VERBS, metavar="VERB", help="nothing: list the queue")
    command.add_argument("what", nargs="*", metavar="ID", help="numbers that the list shows, names of models, or all")
    command.add_argument("--on", default="", metavar="PROVIDER", help="only those of this provider")
    command.add_argument("--watch", action="store_true", help="show the list until interrupted")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = add("push", "upload a model to its registry", on=True)
    command.add_argument("model", help=_MODEL)
    command.add_argument("--insecure", action="store_true", help="accept a registry without TLS")
    command.add_argument("--wait", action="store_true", help="stay until it is done")
    command = add("create", "make a model from another one, or from a file", on=True)
    command.add_argument("name", metavar="NAME", help="of the new model")
    command.add_argument(
        "--from", dest="from_", required=True, metavar="MODEL|FILE", help="a model, a GGUF file, a folder with safetensors, or a Modelfile"
    )
    _making(command)
    command = add("import", "make a model from a GGUF file, a folder with safetensors or a Modelfile of this machine", on=True)
    command.add_argument("path", metavar="PATH", help="the file or folder; pickles (.bin, .pt) are refused, as they may run code")
    command.add_argument("name", metavar="NAME", help="of the new model")
    _making(command)


_PULLS: Final = """\
The queue: list it, change it, look into its history.

  pause resume cancel retry remove ID...   remove drops ended ones from the list; the history keeps them
  first up down ID...                      change the order
  limit ID... 20MB|none                    of one; limit all 20MB is that of the whole queue (pulls.bandwidth)
  at ID... 23:00|+2h|none                  start then
  after ID... OTHER|none                   start when another has ended
  allow ID...                              say yes to what it asks
  apply forget ID...                       what an update replaced: apply it again, or do not offer it any more
  history [TEXT...]                        what ended, with how long it took and how fast it was
"""


def _pull(add: Any) -> None:
    command = add("pull", "fetch models")
    command.add_argument("models", nargs="*", metavar="model", help="like qwen3:8b, user/model:tag or hf.co/org/repo:Q4_K_M")
    command.add_argument("--on", default="", metavar="PROVIDER[,PROVIDER...]", help="fetch on these providers")
    command.add_argument("--file", default="", metavar="LIST", help="names from a text file, one a line; - is standard input")
    command.add_argument("--wait", action="store_true", help="stay until they are done")
    command.add_argument("--then-load", action="store_true", help="load each into memory when it is there")
    command.add_argument("--insecure", action="store_true", help="accept a registry without TLS; so does http:// before a name")
    command.add_argument("--limit", default="", metavar="20MB", help="bytes a second, of each; kept in bursts")
    command.add_argument("--at", default="", metavar="23:00|+2h", help="start then")
    command.add_argument("--after", default="", metavar="ID", help="start when this one of the queue has ended")
    command.add_argument("--yes", action="store_true", help="allow what needs a yes: its size, models.excluded, a metered network")
    command.add_argument("--force", action="store_true", help="start although a limit of [limits] is passed")
    command.add_argument("--dry-run", action="store_true", help="show what would be fetched, and queue nothing")


def _making(command: argparse.ArgumentParser) -> None:
    command.add_argument("--system", default="", help="system prompt")
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="a parameter of the model")
    command.add_argument("-q", "--quantize", default="", metavar="Q4_K_M", help="make the weights smaller; they must be F16, BF16 or F32")
    command.add_argument("--wait", action="store_true", help="stay until it is done")
    command.add_argument("--yes", action="store_true", help="replace a model of that name")


def _chat(add: Any) -> None:
    command = add("chat", "ask a model; the answer goes to standard output", on=True)
    command.add_argument("model", help=_MODEL)
    command.late = "prompt"
    command.add_argument("prompt", nargs="?", help="text that is piped in is added to it; - is standard input")
    command.add_argument("--system", default="", help="system prompt")
    command.add_argument("--preset", default="", metavar="NAME", help="options to start with: balanced, precise, ... or one of yours")
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="an option of the model; wins over the preset")
    command.add_argument("--think", default="", choices=("auto", "on", "off", "low", "medium", "high"), help="whether it thinks first")
    command.add_argument(
        "--format", default="", metavar="json|FILE", help="the answer is to be JSON, or to keep to the JSON schema in a file"
    )
    command.add_argument("--attach", action="append", default=[], metavar="FILE", help="a text file or an image to send along")
    command.add_argument("--no-save", action="store_true", help="store nothing of it")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
    command = add("complete", "fill the gap in a text", on=True)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.description = _COMPLETE
    command.add_argument("model", help=_MODEL)
    command.add_argument("--prefix", required=True, metavar="FILE", help="what stands before the gap; - is standard input")
    command.add_argument("--suffix", default="", metavar="FILE", help="what stands behind it; - is standard input")
    command.add_argument("--cursor", default="", metavar="TEXT", help="instead of --suffix: where this stands in --prefix is the gap")
    command.add_argument("--raw", action="store_true", help="the server applies no template")
    command.add_argument("-n", dest="count", type=int, default=1, metavar="N", help="so many suggestions, each with another seed")
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="an option of the model")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
    command = add("chats", "stored conversations: list, search, export, import, change")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.description = _CHATS
    command.add_argument("verb", nargs="?", choices=CHAT_VERBS, metavar="VERB", help="nothing: list them")
    command.add_argument("what", nargs="*", metavar="ID|TEXT|FILE", help="numbers that the list shows, words, or files")
    command.add_argument("--form", default="", choices=("md", "json", "html"), help="of an export; json and html keep everything")
    command.add_argument("--output", default="", metavar="FILE", help="where an export is written; - is standard output")
    command.add_argument("--yes", action="store_true", help="do not ask")


_COMPLETE: Final = """\
Fill the gap in a text, for editors: the suggestion goes to standard output, nothing else does, and nothing is stored.

Several suggestions are separated by a NUL character; with --json each piece names its candidate. Without num_predict
a suggestion has at most 512 tokens. A model that cannot fill a gap goes on from what stands before it, and that is said.
"""
_CHATS: Final = """\
Stored conversations: list, search, export, import, change.

  search TEXT...             those that hold every word; #word is a tag
  export ID                  to standard output, as Markdown; --form json or html, --output FILE
  import FILE...|-           what export wrote in any form, or a JSON list of messages with role and content
  rename ID TITLE...         tag ID TAG...|none         pin unpin ID...
  delete ID...               undelete ID... brings them back for a week
"""


def _providers(add: Any) -> None:
    command = add("providers", "model servers")
    command.add_argument("verb", nargs="?", choices=PROVIDER_VERBS, help="nothing: list them; start, stop, logs are for Ollama here")
    command.add_argument("what", nargs="?", metavar="URL|NAME", help="an address to add (a bare host will do), else a name of the list")
    command.add_argument("--name", default="", help="name of the added provider")
    command.add_argument("--kind", default="", help="kind of the added provider, where it does not answer now")
    command.add_argument("--key", default="", metavar="env:NAME|file:PATH", help="where the key of the added provider is")


_MONITOR: Final = """\
This machine: processor, memory, disks, network, each GPU and whose memory it is, what is loaded where, and alerts.

Without an option it is the Monitor screen alone, or, where no terminal is there to draw on, as --once.
--once --json and --watch write the objects that docs/monitor-json.md describes. --prometheus answers at /metrics.
"""


def _machine(add: Any) -> None:
    command = add("monitor", "this machine, whose memory it is, and what is loaded; without an option, full screen")
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.description = _MONITOR
    group = command.add_mutually_exclusive_group()
    group.add_argument("--once", action="store_true", help="one measurement")
    group.add_argument("--watch", action="store_true", help="one JSON object a line, every monitor.interval, until interrupted")
    group.add_argument("--prometheus", nargs="?", const="", metavar="ADDR", help="an exporter, at 127.0.0.1:9345 where no other is named")
    group.add_argument("--export", choices=("csv", "jsonl"), help="the history, to standard output")
    command.add_argument("--span", default="", metavar="24h", help="of --export: how far back")
    command.add_argument("-o", "--output", default="", metavar="FILE", help="of --export: a file instead")
    command = add("status", "how things are, shortly")
    command.add_argument("--line", action="store_true", help="one line, of what a running Paddock measured last")
    command.add_argument(
        "--for", dest="for_", default="", choices=("tmux", "starship", "waybar"), help="write that line as this one reads it"
    )
    add("doctor", "check the installation")
    command = add("config", "the configuration")
    command.add_argument("verb", choices=("path", "init", "check", "show", "get", "set", "unset"))
    command.add_argument("key", nargs="?", help="like pulls.at_once; config show lists all")
    command.add_argument("value", nargs="?", help="as text: 3, on, 10 GB, 5m")
    add("completions", "completions of a shell").add_argument("shell", choices=("bash", "zsh", "fish"))
