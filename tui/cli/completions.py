"""Completion scripts, made from the parser."""

from __future__ import annotations

import argparse

from tui.cli.parser import build


def _words() -> dict[str, tuple[str, ...]]:
    """The words that each command offers: its options and fixed choices."""
    found: dict[str, tuple[str, ...]] = {}
    for action in build()._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for name, command in action.choices.items():
            words: list[str] = []
            for part in command._actions:
                words += [option for option in part.option_strings if option.startswith("--")]
                words += [str(choice) for choice in part.choices or ()]
            found[name] = tuple(words)
    return found


def script(shell: str) -> str:
    """The completion script of bash, zsh or fish."""
    words = _words()
    names = " ".join(words)
    if shell == "fish":
        lines = [f"complete -c paddock -f -n __fish_use_subcommand -a '{names}'"]
        lines += [
            f"complete -c paddock -n '__fish_seen_subcommand_from {name}' -a '{' '.join(offered)}'" for name, offered in words.items()
        ]
        return "\n".join(lines) + "\n"
    cases = "\n".join(f"    {name}) words='{' '.join(offered)}' ;;" for name, offered in words.items())
    bash = (
        "_paddock() {\n"
        "  local words='' word\n"
        '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n'
        '    case "$word" in\n'
        f"{cases}\n"
        "    *) continue ;;\n    esac\n    break\n  done\n"
        f"  [ -n \"$words\" ] || words='{names}'\n"
        '  COMPREPLY=($(compgen -o default -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))\n'
        "}\ncomplete -o default -F _paddock paddock\n"
    )
    return bash if shell == "bash" else f"#compdef paddock\nautoload -U +X bashcompinit && bashcompinit\n{bash}"
