"""An answer again, with another model or other options for this once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tui.core.chat import Message
from tui.core.errors import PaddockError
from tui.core.models import ModelKey
from tui.services.chat.api import ConversationView
from tui.text import clean_label, clean_name, nearest
from tui.ui.dialogs.form import Field, FormDialog


def _named(models: Sequence[ModelKey]) -> dict[str, ModelKey]:
    """The models by what is typed: the name alone where only one server has it."""
    names = [key for _provider, key in models]
    return {key if names.count(key) == 1 else f"{provider}/{key}": (provider, key) for provider, key in models}


def _find(text: str, models: Sequence[ModelKey]) -> ModelKey | None:
    wanted = text.strip()
    return _named(models).get(wanted) or next((key for key in models if wanted in (key[1], f"{key[0]}/{key[1]}")), None)


def parse_options(text: str) -> dict[str, Any]:
    """`temperature=0.2 seed=1` as options.

    Raises:
        PaddockError: A name or value is not allowed.
    """
    from tui.config import schema

    found: dict[str, Any] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or not value:
            raise PaddockError.of(f"{clean_label(word, 40)} is not name=value", "", "Write it like temperature=0.2 seed=1")
        found[name] = schema.raw_value(("chat", "options", name), value)
    return found


def again_dialog(view: ConversationView, answered: Message | None, models: Sequence[ModelKey]) -> FormDialog:
    """The dialog; its result has `model` and `options`."""
    named = _named(models)

    def model_problem(text: str) -> str | None:
        if not text.strip() or _find(text, models) is not None:
            return None
        near = nearest(text.strip(), list(named))
        return f"{clean_name(text, 60)} is not installed. {f'Did you mean {near}?' if near else 'ctrl+o offers those there are.'}"

    def options_problem(text: str) -> str | None:
        try:
            parse_options(text)
        except PaddockError as error:
            return f"{error.failure.sentence()}. {error.failure.remedy}"
        return None

    before = answered.model if answered is not None else view.model
    own = answered.options if answered is not None else {}
    sent = " ".join(f"{name}={value}" for name, value in own.items() if isinstance(value, int | float) and not isinstance(value, bool))
    fields = [
        Field("model", "Model", "", clean_name(before, 60) or "the same", model_problem, ("", *named)),
        Field(
            "options", "Options", clean_label(sent, 200), "as this conversation has them", options_problem, ("", "seed=1", "temperature=0")
        ),
    ]
    hint = "For this answer only; it stands beside the first.\nctrl+o the models   tab next   enter asks again   esc back"
    return FormDialog("Answer again with", fields, hint=hint)


def read_again(values: Mapping[str, str], models: Sequence[ModelKey]) -> tuple[str, str, dict[str, Any] | None]:
    """Provider, model (both empty: the same) and options (None: those of the conversation) of the dialog's result."""
    provider, model = _find(values["model"], models) or ("", "")
    return provider, model, parse_options(values["options"]) or None
