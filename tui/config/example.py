"""The example configuration and the README's table, made from the schema.

`python -m tui.config.example > config.example.toml` writes the file that comes with the program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tui.config import schema
from tui.config.settings import BUILT_IN_PRESETS, Settings

_HEAD = """\
# Settings of Paddock. Every line that begins with a bare # shows a default: take the # away to change it.
# Sizes: "20 GB", "512 MiB" or bytes. Durations: "5s", "10m" or seconds. Changes count within 2 seconds.
# The environment wins over this file (PADDOCK_SECTION__KEY), the command line wins over both.
"""


def _wrapped(text: str, width: int = 100) -> Iterator[str]:
    import textwrap

    for line in textwrap.wrap(text, width):
        yield f"# {line}"


def _field(field: schema.FieldInfo) -> Iterator[str]:
    allowed = f" ({field.range_text})" if field.range_text else ""
    yield from _wrapped(f"{field.doc}{allowed}")
    yield f"#{field.key} = {field.default}" if field.default else f"#{field.key} ="


def _preset(name: str) -> Iterator[str]:
    yield f"#[chat.presets.{name}]"
    yield from (f"#{option} = {value}" for option, value in BUILT_IN_PRESETS[name].items())


def _model_options() -> Iterator[str]:
    yield from _wrapped("Options of one model: those of [chat.options], which win over them, and these.")
    yield '#[models.options."qwen3:8b"]'
    for field in schema.named_fields("models.options"):
        yield from _field(field)
    yield "#num_ctx ="


def _command() -> Iterator[str]:
    yield from _wrapped("A tool of your own: a program that models may ask to run. It counts once [chat] tools names it.")
    yield "#[chat.commands.weather]"
    shown = {
        "description": '"The weather in a city"',
        "command": '["weather", "--city={city}"]',
        "parameters": '{ city = "The name of the city" }',
    }
    for field in schema.named_fields("chat.commands"):
        yield from _wrapped(field.doc)
        yield f"#{field.key} = {shown.get(field.key, field.default)}"


def render_example() -> str:
    """Return the commented file: every key with its default and description, and nothing set."""
    lines = [_HEAD.rstrip("\n")]
    section = ""
    for field in schema.fields():
        if field.section != section:
            section = field.section
            lines.append("")
            if section == "providers.NAME":
                lines += [
                    *_wrapped("One table a server; its name is yours. Without any, the known ports of this machine are looked at."),
                    "#[providers.ollama]",
                ]
            elif section == "chat.options":
                lines += [*_wrapped("Options of every chat; only what is set is sent. They win over the preset."), f"[{section}]"]
            else:
                top = Settings.model_fields.get(section)
                model = schema.table_of(top) if top else None
                lines += [*(_wrapped((model.__doc__ or "").strip()) if model else ()), f"[{section}]"]
        if section == "keys":
            lines += [*_wrapped(field.doc), '#"binding.id" = "key,key"']
        else:
            lines += _field(field)
        if section == "chat.options" and field.key == "num_keep":
            lines += ["", *_wrapped("A preset of your own; one with the name of a built-in preset replaces it."), *_preset("balanced")]
            lines += ["", *_command()]
        if section == "models" and field.key == "hf_token":
            lines += ["", *_model_options()]
    return "\n".join(lines) + "\n"


def render_table() -> str:
    """Return the settings as the Markdown table of the README."""
    rows = ["| setting | default | values | what it does |", "|---|---|---|---|"]
    for field in (*schema.fields(), *schema.named_fields("models.options"), *schema.named_fields("chat.commands")):
        default = f"`{field.default}`" if field.default else "the model's"
        values = (field.range_text or field.type_text).replace("|", "\\|")
        rows.append(f"| `{field.dotted}` | {default} | {values} | {field.doc} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_table() if "--table" in sys.argv[1:] else render_example())
