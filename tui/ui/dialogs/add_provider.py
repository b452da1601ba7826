"""Adding a provider: its address first; kind and version are found by asking it."""

from __future__ import annotations

from tui.core.errors import PaddockError
from tui.providers.address import parse
from tui.ui.dialogs.form import Field, FormDialog


def address_problem(text: str) -> str | None:
    """What is wrong with an address, in words; None where it can be tried."""
    try:
        parse(text)
    except PaddockError as error:
        failure = error.failure
        return f"{failure.what}. {failure.remedy}" if failure.remedy else failure.what
    return None


def add_provider_dialog(address: str = "") -> FormDialog:
    """The dialog; its result has `address`, `name` and `key`."""
    return FormDialog(
        "Add a provider",
        (
            Field("address", "Address", address, "gpu2, gpu2:8000, http://…", address_problem),
            Field("name", "Name", "", "made from what answers"),
            Field("key", "Key", "", "env:NAME or file:PATH, where it needs one"),
        ),
        hint="enter connects: scheme, port and kind are found by asking. tab next field, esc back",
    )
