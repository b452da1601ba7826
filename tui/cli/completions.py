"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse

from tui.cli.parser import build

GLOBAL = ("--demo", "--provider", "--config", "--readonly", "--ascii", "--no-mouse", "--log-level", "--version", "--help")


def words() -> dict[str, tuple[str, ...]]:
    """The words that each command offers: its options and fixed choices."""
    found: dict[str, tuple[str, ...]] = {}
    for action in build()._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, command in action.choices.items():
            offered: list[str] = []
            for part in command._actions:
                offered += [option for option in part.option_strings if option.startswith("--")]
                offered += [str(choice) for choice in part.choices or ()]
            found[name] = tuple(offered)
    return found


def script(shell: str) -> str:
    """The completion script of bash, zsh or fish."""
    offered = words()
    names = " ".join(offered)
    if shell == "fish":
        lines = [f"complete -c paddock -f -n __fish_use_subcommand -a '{names}'"]
        lines += [f"complete -c paddock -n __fish_use_subcommand -l {option[2:]}" for option in GLOBAL]
        lines += [f"complete -c paddock -n '__fish_seen_subcommand_from {name}' -a '{' '.join(some)}'" for name, some in offered.items()]
        return "\n".join(lines) + "\n"
    cases = "\n".join(f"    {name}) words='{' '.join(some)}' ;;" for name, some in offered.items())
    bash = (
        "_paddock() {\n"
        "  local words='' word\n"
        '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n'
        '    case "$word" in\n'
        f"{cases}\n"
        "    *) continue ;;\n    esac\n    break\n  done\n"
        f"  [ -n \"$words\" ] || words='{names} {' '.join(GLOBAL)}'\n"
        '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))\n'
        "}\ncomplete -o default -F _paddock paddock\n"
    )
    return bash if shell == "bash" else f"#compdef paddock\nautoload -U +X bashcompinit && bashcompinit\n{bash}"
