"""The command `paddock`: reads the global options and starts the right process. Standard library only, imported lazily."""

from __future__ import annotations

import os
import sys

from tui import __version__

TYPE_CHECKING = False  # importing `typing` for it would cost as much as the rest
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tui.core.options import AppOptions

COMMANDS = (
    "ls", "ps", "show", "compare", "search", "pin", "unpin", "rm", "restore", "cp", "mv", "versions", "load", "unload",
    "pull", "pulls", "push", "create", "import", "update", "outdated",
    "fit", "optimise", "quantize", "levels", "verify", "clean", "configure", "export", "backup", "restore-backup",
    "chat", "complete", "chats", "providers", "monitor", "status", "doctor", "config", "completions",
)  # fmt: skip
_INTERNAL = ("worker", "sampler", "demo-server", "demo-sampler")
_FLAGS = ("--demo", "--readonly", "--ascii", "--no-mouse", "--version", "--help", "--inside-guard")
_VALUES = ("--provider", "--config", "--log-level")
_LEVELS = ("debug", "info", "warning", "error")

HELP = """\
Paddock: the terminal cockpit for the language models you run yourself.

usage: paddock [options]                  open the screens
       paddock [options] COMMAND ...      do one thing without them; monitor: its screen alone

options
  --demo            a simulated server with models, apart from your own data
  --provider URL    use this server for this run
  --config FILE     another configuration file
  --readonly        look, change nothing
  --ascii           draw without Unicode graphics
  --no-mouse        leave the mouse to the terminal
  --log-level L     debug, info, warning or error
  --version         print the version
  --help            print this text

models      ls   ps   show   compare   search   load   unload   pin   unpin
            cp   mv   rm   restore   versions
tuning      fit   optimise   quantize   levels
disk        verify   clean
making      configure   export   backup   restore-backup
pulls       pull   pulls   push   create   import   update   outdated
chat        chat   complete   chats
providers   providers
machine     monitor   status   doctor
settings    config   completions

paddock COMMAND --help tells about one command.
"""


class _UsageError(Exception):
    pass


def _read(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Split into the global options and the command with its own arguments."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "-h":
            word = "--help"
        name, equals, value = word.partition("=")
        if name in _VALUES:
            if not equals:
                if not rest:
                    raise _UsageError(f"{name} needs a value.")
                value = rest.pop(0)
            if not value:
                raise _UsageError(f"{name} needs a value.")
            options[name] = value
        elif word in _FLAGS:
            options[word] = ""
        else:
            raise _UsageError(f"There is no option {_shown(word)}.{_near(word, (*_FLAGS[:-1], *_VALUES))}")
    level = options.get("--log-level", "info")
    if level not in _LEVELS:
        raise _UsageError(f"--log-level is one of {', '.join(_LEVELS)}, not {_shown(level)}.")
    return options, rest


def _shown(word: str) -> str:
    from tui.text import clean_name

    return clean_name(word, 60)


def _near(word: str, known: Sequence[str]) -> str:
    from tui.text import nearest

    found = nearest(word, known)
    return f" Did you mean {found}?" if found else " See paddock --help."


def _app_options(options: Mapping[str, str], alone: str = "") -> AppOptions:
    from pathlib import Path

    from tui.core.options import AppOptions

    return AppOptions(
        demo="--demo" in options,
        provider=options.get("--provider", ""),
        config=Path(options["--config"]).expanduser() if "--config" in options else None,
        readonly="--readonly" in options,
        ascii="--ascii" in options,
        mouse="--no-mouse" not in options,
        log_level=options.get("--log-level", ""),
        alone=alone,
    )


def foreign_home(environ: Mapping[str, str]) -> str | None:
    """Say why root must not write here: the home belongs to someone else, as with sudo. None when it is fine."""
    if os.geteuid() != 0:
        return None
    home = environ.get("PADDOCK_HOME") or environ.get("HOME") or "/root"
    try:
        owner = os.stat(home).st_uid
    except OSError:
        return None
    if owner == 0:
        return None
    return f"Paddock runs as root, but {_shown(home)} belongs to another account. Run it without sudo."


def _log_folder(environ: Mapping[str, str], demo: bool = False) -> str:
    """Where the log is; `tui.config.paths` decides, and is too heavy for the guard."""
    from tui.core.places import folders

    return os.path.join(folders(environ, demo=demo)[1], "logs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `paddock`; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.platform == "win32":
        print("Paddock does not run on Windows itself. Use it in WSL.", file=sys.stderr)
        return 2
    import resource

    # A dump of any process of ours would hold prompts and keys (X25); children inherit this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if arguments and arguments[0] in _INTERNAL:
        return _internal(arguments[0], arguments[1:])
    try:
        options, rest = _read(arguments)
    except _UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if "--help" in options:
        print(HELP, end="")
        return 0
    if "--version" in options:
        print(f"paddock {__version__}")
        return 0
    refusal = foreign_home(os.environ)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    alone = rest == ["monitor"]
    if rest and not alone:
        return _command(rest, options)
    if "--inside-guard" in options:
        import gc

        gc.disable()  # until the services are there: nothing that start-up makes is garbage worth a search
        if alone:
            from tui.ui.alone import run_app as run_alone

            return int(run_alone(_app_options(options, "monitor"), _demo_server))
        from tui.ui.app import run_app

        return int(run_app(_app_options(options), _demo_server))
    from tui import guard

    if alone and guard.problem(os.environ):
        return _command(rest, options)  # no terminal to draw on: one measurement
    from tui.core.spawn import own_command

    return guard.run(own_command("--inside-guard", *arguments), log=_log_folder(os.environ, "--demo" in options))


def _demo_server(home: Path) -> str:
    """The address of the demo home's server; starts it where it does not run."""
    from tui.demo.launch import ensure_running

    return ensure_running(home)


def _internal(name: str, arguments: list[str]) -> int:
    from importlib import import_module

    module = import_module({"worker": "tui.worker", "sampler": "tui.sampler"}.get(name, "tui.demo"))
    return int((module.sampler if name == "demo-sampler" else module.main)(arguments))


def _command(rest: list[str], options: Mapping[str, str]) -> int:
    if rest[0] not in COMMANDS:
        print(f"There is no command {_shown(rest[0])}.{_near(rest[0], COMMANDS)}", file=sys.stderr)
        return 2
    if rest[0] == "status":
        code = _status(rest[1:], options)
        if code is not None:
            return code
    from importlib import import_module

    app = _app_options(options)
    demo_url = ""
    if app.demo and rest[0] not in ("config", "completions"):
        from tui.config.paths import find_paths

        demo_url = _demo_server(find_paths(demo=True).data.parent)
    return int(import_module("tui.cli").main(rest, app, demo_url))


def _status(words: list[str], options: Mapping[str, str]) -> int | None:
    """The status line without the rest of the program; None where that has to tell."""
    from tui.cli.line import answer

    code = answer(words, options)
    if code is None and not {"--demo", "--provider"} & options.keys():
        from tui.cli.quick import answer as ask

        code = ask(words, config=options.get("--config", ""))
        if code is None:
            from tui.cli.program import run

            code = run(["status", *words], _app_options(options))
    return code


if __name__ == "__main__":
    sys.exit(main())
