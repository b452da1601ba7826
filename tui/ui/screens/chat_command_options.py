"""Commands that set something for a conversation, and how their arguments go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tui.config import schema
from tui.config.kinds import KeepAlive
from tui.core.capabilities import Ability
from tui.core.errors import PaddockError
from tui.text import clean_label, clean_name, nearest
from tui.ui.widgets.completion import Choice
from tui.ui.widgets.confirm import ChoiceDialog, InputDialog, MarkDialog

if TYPE_CHECKING:
    from tui.core.models import ModelKey
    from tui.ui.screens.chat_commands import CommandHost

THINK: Final = {
    "auto": "as the model does by itself",
    "on": "think first",
    "off": "answer at once",
    "low": "a little",
    "medium": "some",
    "high": "long",
}
"""Levels of thinking, and what they mean."""
FORMS: Final = {"md": "Markdown, to read", "json": "all of it, to import again", "html": "one page, to show"}
"""What a conversation can be exported as."""
_KEEP: Final = {
    "5m": "5 minutes",
    "30m": "half an hour",
    "1h": "an hour",
    "forever": "until it is unloaded",
    "0": "not at all",
    "off": "the server's own choice",
}
_TAG: Final = re.compile(r"#?([^\s#,]{1,40})")


def with_settings(host: CommandHost, **changes: Any) -> None:
    """Change what is set for this conversation."""
    chat = host.services.chat
    chat.configure(replace(chat.view.value.settings, **changes))


def _words(choices: dict[str, str]) -> Callable[[CommandHost, str], Sequence[Choice]]:
    def complete(_host: CommandHost, text: str) -> Sequence[Choice]:
        return [] if " " in text else [Choice(word, note=note) for word, note in choices.items()]

    return complete


levels = _words(THINK)
export_forms = _words(FORMS)
keep_times = _words(_KEEP)


# --- models ------------------------------------------------------------------------------------------------------------


def find_model(host: CommandHost, word: str) -> ModelKey | None:
    """The installed model of this name (`provider/name` where several servers have it); the conversation's server wins."""
    here = host.services.chat.view.value.provider
    found = [
        (model.provider, model.key)
        for model in host.services.registry.models.value
        if word and word in (model.name, model.key, f"{model.provider}/{model.name}", f"{model.provider}/{model.key}")
    ]
    return next((key for key in found if key[0] == here), found[0] if found else None)


def unknown_model(host: CommandHost, word: str) -> str:
    """The sentence for a model that is not there."""
    near = nearest(word, [model.name for model in host.services.registry.models.value])
    remedy = f"Did you mean {clean_name(near, 60)}?" if near else "a on the Library screen pulls it"
    return f"{clean_name(word, 60)} is not installed. {remedy}"


def can_see(host: CommandHost) -> bool | None:
    """Whether the conversation's model takes images; None where that is not known."""
    view, registry = host.services.chat.view.value, host.services.registry
    detail = registry.details.value.get((view.provider, view.model))
    listed = next((model for model in registry.models.value if (model.provider, model.key) == (view.provider, view.model)), None)
    abilities = getattr(detail, "abilities", None) or (listed.abilities if listed is not None else None)
    return Ability.VISION in abilities if abilities else None


def models(host: CommandHost, text: str) -> Sequence[Choice]:
    """Every installed model; those of another server than the conversation's, or of several, by `provider/name`."""
    here = host.services.chat.view.value.provider
    installed = host.services.registry.models.value
    names = [model.name for model in installed]
    choices = []
    for model in sorted(installed, key=lambda model: model.provider != here):
        name = model.name if names.count(model.name) == 1 or model.provider == here else f"{model.provider}/{model.name}"
        if not any(char.isspace() for char in name):
            choices.append(Choice(name, clean_name(name, 60), clean_name(model.provider, 30)))
    return choices


def model(host: CommandHost, text: str) -> None:
    """Go on with another model."""
    key = find_model(host, text)
    if key is not None:
        host.services.chat.use_model(*key)
    elif text:
        host.say(unknown_model(host, text), error=True)
    else:
        host.choose_model()


def new(*, incognito: bool) -> Callable[[CommandHost, str], None]:
    """Start an empty conversation."""

    def run(host: CommandHost, text: str) -> None:
        view = host.services.chat.view.value
        key = find_model(host, text) if text else (view.provider, view.model)
        if key is None:
            host.say(unknown_model(host, text), error=True)
        else:
            host.services.chat.new(*key, incognito=incognito)

    return run


# --- options -----------------------------------------------------------------------------------------------------------


def option_names(_host: CommandHost, text: str) -> Sequence[Choice]:
    """Names of options with what they do; behind one its values, where they can be listed."""
    found = [field for field in schema.fields() if field.section == "chat.options"]
    words = re.split(r"[ =]+", text)
    if len(words) == 1:
        return [Choice(field.key, note=clean_label(f"{field.range_text}  {field.doc}", 90), more=False) for field in found]
    choices = next((field.choices for field in found if field.key == words[0]), ())
    return [Choice(choice) for choice in choices] if len(words) == 2 else []


def checked_option(name: str, value: str) -> Any:
    """The value of a sampling option as it is sent.

    Raises:
        PaddockError: There is no such option, or the value is not allowed.
    """
    known = [field.key for field in schema.fields() if field.section == "chat.options"]
    if name not in known:
        near = nearest(name, known)
        raise PaddockError.of(f"There is no option {clean_label(name, 30)}", "", f"Did you mean {near}?" if near else "/set lists them")
    return schema.raw_value(("chat", "options", name), value)


def set_option(host: CommandHost, text: str) -> None:
    """Set an option, take it back (no value), or show what is set (nothing)."""
    name, value = ([*re.split(r"[ =]+", text, maxsplit=1), ""])[:2]
    value = value.strip()
    if not name:
        host.choose_options()
        return
    found = dict(host.services.chat.view.value.settings.options)
    try:
        if value:
            found[name] = checked_option(name, value)
        elif name not in found:
            checked_option(name, "")
    except PaddockError as error:
        if value or error.failure.remedy.startswith(("Did", "/set")):
            host.fail(error.failure)
            return
    if not value:
        found.pop(name, None)
    with_settings(host, options=found)
    host.say(f"{name} = {clean_label(value, 60)}" if value else f"{name} is the model's own")


def think(host: CommandHost, text: str) -> None:
    """Whether the model thinks."""
    if text in THINK:
        with_settings(host, think=text)
    elif text:
        host.say(f"/think takes one of {', '.join(THINK)}", error=True)
    else:
        _choose(
            host,
            "Thinking",
            list(THINK.items()),
            host.services.chat.view.value.settings.think,
            lambda word: with_settings(host, think=word),
        )


def presets(host: CommandHost, text: str) -> Sequence[Choice]:
    """The presets, with what they send."""
    chat = host.services.config.current.value.chat
    return [] if " " in text else [Choice(name, note=_sends(chat.preset_options(name))) for name in chat.preset_names()]


def _sends(found: dict[str, Any]) -> str:
    return clean_label(" ".join(f"{name}={value}" for name, value in found.items()), 80) or "the model's own options"


def preset(host: CommandHost, text: str) -> None:
    """Use a preset in this conversation."""
    chat = host.services.config.current.value.chat
    names = chat.preset_names()
    if text in names:
        with_settings(host, preset=text)
    elif text:
        near = nearest(text, names)
        host.say(f"There is no preset {clean_label(text, 30)}. {f'Did you mean {near}?' if near else ', '.join(names)}", error=True)
    else:
        notes = [(name, _sends(chat.preset_options(name))) for name in names]
        _choose(host, "Preset", notes, host.services.chat.view.value.settings.preset, lambda name: with_settings(host, preset=name))


def system(host: CommandHost, text: str) -> None:
    """Set the system prompt; `off` takes it back."""
    if text:
        with_settings(host, system="" if text == "off" else text)
        host.say("No system prompt of this conversation's own" if text == "off" else "System prompt set")
        return

    def done(given: str | None) -> None:
        if given is not None:
            with_settings(host, system=given)

    now = host.services.chat.view.value.settings.system
    if "\n" in now:
        host.composer.fill(f"/system {now}", typed=True)
    else:
        host.app.push_screen(InputDialog("System prompt", now, hint="empty: none of this conversation's own"), done)


def keep(host: CommandHost, text: str) -> None:
    """How long the model stays loaded after an answer."""
    if not text:
        view = host.services.chat.view.value
        _choose(
            host, "Keep the model loaded after an answer for", list(_KEEP.items()), view.settings.keep_alive, lambda word: keep(host, word)
        )
        return
    try:
        value = "" if text == "off" else KeepAlive().check("-1" if text == "forever" else text)
    except ValueError as error:
        host.say(f"/keep {clean_label(text, 30)}: {clean_label(str(error))}", error=True)
        return
    with_settings(host, keep_alive=value)
    host.say(f"The model stays loaded after an answer: {_KEEP.get(text, clean_label(text, 30))}")


def tool_choices(host: CommandHost, text: str) -> Sequence[Choice]:
    """The tools, and `off`."""
    given = text.split(" ")[:-1]
    return [
        *([] if given else [Choice("off", note="none")]),
        *(Choice(clean_name(name)) for name in host.tool_names() if name not in given),
    ]


def tools(host: CommandHost, text: str) -> None:
    """Which tools the model may ask for; each call asks the user."""
    known = host.tool_names()
    words = [] if text == "off" else text.replace(",", " ").split()
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        near = nearest(unknown, list(known))
        host.say(
            f"There is no tool {clean_label(unknown, 40)}. {f'Did you mean {near}?' if near else ', '.join(map(clean_name, known))}",
            error=True,
        )
    elif text:
        with_settings(host, tools=tuple(dict.fromkeys(words)))
        host.say(f"The model may ask for: {', '.join(map(clean_name, words))}; each call asks you" if words else "The model has no tools")
    elif not known:
        host.say("There are no tools")
    else:

        def done(chosen: list[str] | None) -> None:
            if chosen is not None:
                with_settings(host, tools=tuple(chosen))

        now = host.services.chat.view.value.settings.tools
        host.app.push_screen(MarkDialog("Tools; each call asks you", [(name, clean_name(name), "") for name in known], marked=now), done)


# --- the conversation --------------------------------------------------------------------------------------------------


def _is_stored(host: CommandHost) -> bool:
    if not host.services.chat.view.value.id:
        host.say("Nothing was sent in this conversation yet", error=True)
    return bool(host.services.chat.view.value.id)


def export(host: CommandHost, text: str) -> None:
    """Write it to a file."""
    if text and text not in FORMS:
        host.say(f"/export takes one of {', '.join(FORMS)}", error=True)
    elif _is_stored(host):
        host.services.chat.export(host.services.chat.view.value.id, text or "md")


def title(host: CommandHost, text: str) -> None:
    """Name it; the model does where no text is given."""
    if _is_stored(host):
        host.services.chat.rename(host.services.chat.view.value.id, clean_label(text, 200))


def tags(host: CommandHost, text: str) -> Sequence[Choice]:
    """Tags that other conversations have, and (with a minus) those of this one."""
    mine = host.services.chat.view.value.tags
    if text.rpartition(" ")[2].startswith("-"):
        return [Choice(f"-{tag}") for tag in mine]
    known = dict.fromkeys(tag for head in host.services.chat.heads.value for tag in head.tags)
    return [Choice(tag) for tag in known if tag not in mine]


def tag(host: CommandHost, text: str) -> None:
    """Add tags, and take off those with a minus; without any: change all of them."""
    if not _is_stored(host):
        return
    view = host.services.chat.view.value

    def change(given: str, start: Sequence[str]) -> None:
        found = list(start)
        for word in given.replace(",", " ").split():
            name = _TAG.fullmatch(clean_name(word.removeprefix("-")))
            if name is None:
                host.say(f"{clean_label(word, 50)} cannot be a tag: at most 40 characters, no #", error=True)
                return
            if word.startswith("-"):
                found = [tag for tag in found if tag != name[1]]
            elif name[1] not in found:
                found.append(name[1])
        host.services.chat.tag(view.id, found)

    if text:
        change(text, view.tags)
    else:
        ask = InputDialog("Tags of this conversation", " ".join(view.tags), hint="separated by spaces")
        host.app.push_screen(ask, lambda given: change(given, ()) if given is not None else None)


def _choose(host: CommandHost, ask: str, words: Sequence[tuple[str, str]], current: str, then: Callable[[str], None]) -> None:
    choices = [(word, word, note) for word, note in words]
    host.app.push_screen(ChoiceDialog(ask, choices, current=current), lambda word: then(word) if word is not None else None)
