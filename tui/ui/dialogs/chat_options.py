"""All that is set for one conversation, and where each value comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tui.config import schema
from tui.config.settings import Settings
from tui.core.chat import ConversationSettings
from tui.core.errors import PaddockError
from tui.core.record import record
from tui.services.chat.api import ConversationView
from tui.text import clean_block, clean_label
from tui.ui.dialogs.chat_text import TextDialog
from tui.ui.following import FollowingDialog
from tui.ui.screens import chat_command_files as files
from tui.ui.screens import chat_command_options as commands
from tui.ui.widgets.columns import Cell, Column
from tui.ui.widgets.confirm import ChoiceDialog, InputDialog
from tui.ui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.ui.screens.chat_commands import CommandHost

OWN: Final = "this chat"
_NOBODY: Final = "model's own"
_FIRST: Final = (
    ("system", "system prompt", "What the model is told before everything else."),
    ("preset", "preset", "A set of sampling options; what is set below wins over it."),
    ("think", "think", "Whether a model that can think before it answers does so."),
    ("keep_alive", "keep loaded", "How long the model stays in memory after an answer: 5m, 1h, forever, 0."),
    ("format", "format", "Answers as text, as any JSON, or as JSON after a schema."),
    ("tools", "tools", "What the model may ask for; each call asks you."),
)


@record(frozen=True)
class Setting:
    """One line of the dialog.

    Attributes:
        key: Of `ConversationSettings`, or `option NAME`.
        value: As it is now, cleaned.
        source: Where the value comes from.
        about: What it does.
        allowed: The values allowed.
    """

    key: str
    title: str
    value: str
    source: str
    about: str
    allowed: str = ""


def options_of(view: ConversationView, settings: Settings) -> list[Setting]:
    """Everything that can be set, with its value and whose it is."""
    own, chat = view.settings, settings.chat
    preset = own.preset or chat.preset
    first: dict[str, tuple[str, str]] = {
        "system": _first(own.system, chat.system),
        "preset": _first(own.preset, chat.preset if chat.preset != "model" else ""),
        "think": _first("" if own.think == "auto" else own.think, "" if chat.think == "auto" else chat.think),
        "keep_alive": _first(own.keep_alive, settings.models.keep_alive_of(view.model), "settings of the model"),
        "format": (
            "" if own.format is None else "JSON" if own.format == "json" else "JSON after a schema",
            "" if own.format is None else OWN,
        ),
        "tools": _first(", ".join(own.tools), ", ".join(chat.tools)),
    }
    found = [Setting(key, title, clean_label(first[key][0], 80), first[key][1] or _NOBODY, text) for key, title, text in _FIRST]
    layers: tuple[tuple[str, Mapping[str, Any]], ...] = (
        (OWN, own.options),
        ("settings", chat.options.sent()),
        ("settings of the model", settings.models.options_of(view.model)),
        (f"preset {clean_label(preset, 40)}", chat.preset_options(own.preset)),
    )
    for field in schema.fields():
        if field.section != "chat.options":
            continue
        source, value = next(((name, layer[field.key]) for name, layer in layers if field.key in layer), (_NOBODY, ""))
        allowed = field.range_text or ", ".join(field.choices)
        found.append(Setting(f"option {field.key}", field.key, clean_label(_words(value), 80), source, field.doc, allowed))
    return found


def _first(own: str, settings: str, where: str = "settings") -> tuple[str, str]:
    return (own, OWN) if own else (settings, where if settings else "")


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class OptionsDialog(FollowingDialog[None]):
    """A table; enter changes, d takes back. Each change holds at once, for this conversation.

    Args:
        host: The Chat screen, whose commands do the changing.
    """

    DEFAULT_CSS = """
    OptionsDialog {
        align: center middle;
        .dialog { width: 96; max-width: 98%; height: 90%; padding: 0 1; background: $panel; border: round $primary; }
        .dialog Static { width: 1fr; height: auto; }
        Rows { height: 1fr; }
        .about { height: 2; }
        .hint { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,o", "dismiss", "close", key_display="esc", id="options.close", tooltip="Close the options"),
        Binding("d", "take_back", "take back", id="options.take_back", tooltip="What this chat sets itself is set no more"),
    ]

    def __init__(self, host: CommandHost) -> None:
        super().__init__()
        self._host = host
        self._chat = host.services.chat

    def compose(self) -> ComposeResult:
        """Title, table, what the one under the cursor does, keys."""
        with Vertical(classes="dialog"):
            yield Static(Content.styled("This conversation: only what is set is sent", "bold"))
            yield Rows[Setting](
                [
                    Column("title", "OPTION", lambda one: one.title, width=18),
                    Column("value", "VALUE", lambda one: one.value or Cell("–", "dim"), flex=2),
                    Column("source", "FROM", lambda one: Cell(one.source, "accent" if one.source == OWN else "dim"), flex=1, min=10),
                ],
                key=lambda one: one.key,
                markable=False,
            )
            yield Static("", classes="about", markup=False)
            yield Static(Content("enter changes   d takes back   esc closes"), classes="hint")

    def on_mount(self) -> None:
        """Show what is set now."""
        self.follow(self._chat.view, self._fill)
        self.query_one(Rows).focus()

    def _fill(self, view: ConversationView) -> None:
        self.query_one(Rows).set_items(options_of(view, self._host.services.config.current.value))

    def on_rows_highlighted(self, event: Rows.Highlighted) -> None:
        """Say what it does."""
        event.stop()
        one: Setting | None = event.item
        words = "" if one is None else one.about + (f"\n{one.allowed}" if one.allowed else "")
        self.query_one(".about", Static).update(Content(words))

    # --- changing -----------------------------------------------------------------------------------------------------

    @property
    def own(self) -> ConversationSettings:
        """What this conversation sets itself."""
        return self._chat.view.value.settings

    def on_rows_selected(self, event: Rows.Selected) -> None:
        """Change it."""
        event.stop()
        one: Setting | None = event.item
        if one is None:
            return
        if one.key.startswith("option "):
            self._ask_option(one)
        elif one.key == "system":
            dialog = TextDialog("System prompt of this conversation", clean_block(self.own.system), hint="sets it", empty=True)
            self.app.push_screen(dialog, self._set_system)
        elif one.key == "format":
            self._ask_format()
        else:
            ask = {"preset": commands.preset, "think": commands.think, "keep_alive": commands.keep, "tools": commands.tools}
            ask[one.key](self._host, "")

    def _set_system(self, text: str | None) -> None:
        if text is not None:
            self._chat.configure(replace(self.own, system=text.strip("\n")))

    def _ask_format(self) -> None:
        choices = [("off", "text", "as the model likes"), ("json", "JSON", "any"), ("file", "JSON after a schema", "in a file")]

        def done(choice: str | None) -> None:
            if choice == "file":
                ask = InputDialog("File with a JSON schema", hint="an absolute path, ~, or one from here")
                self.app.push_screen(ask, lambda path: files.answer_format(self._host, path) if path else None)
            elif choice is not None:
                files.answer_format(self._host, choice)

        self.app.push_screen(ChoiceDialog("Answers as", choices), done)

    def _ask_option(self, one: Setting) -> None:
        name = one.key.removeprefix("option ")
        now = _words(self.own.options.get(name, ""))

        def problem(text: str) -> str | None:
            try:
                if text.strip():
                    commands.checked_option(name, text.strip())
            except PaddockError as error:
                return f"{error.failure.sentence()}. {error.failure.remedy}"
            return None

        def done(text: str | None) -> None:
            if text is not None and text.strip() != now:
                self._set_option(name, text.strip())

        hint = "   ".join(part for part in (one.allowed, "empty takes it back") if part)
        self.app.push_screen(InputDialog(f"{name}: {one.about}", now, hint=hint, check=problem), done)

    def _set_option(self, name: str, text: str) -> None:
        found = {key: value for key, value in self.own.options.items() if key != name}
        if text:
            found[name] = commands.checked_option(name, text)
        self._chat.configure(replace(self.own, options=found))

    def action_take_back(self) -> None:
        """Set it no more."""
        one: Setting | None = self.query_one(Rows).highlighted
        if one is None or one.source != OWN:
            return
        if one.key.startswith("option "):
            self._set_option(one.key.removeprefix("option "), "")
        else:
            default = ConversationSettings()
            self._chat.configure(replace(self.own, **{one.key: getattr(default, one.key)}))
