"""What the keys of the Chat screen do with the whole conversation: others, its model, what is set for it, its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tui.core.chat import Role
from tui.core.models import ModelKey
from tui.text import clean_block, clean_label, clean_name, count
from tui.ui.screens import chat_words
from tui.ui.screens.chat_actions import ChatActions
from tui.ui.widgets.confirm import ChoiceDialog

if TYPE_CHECKING:
    from tui.ui.dialogs.chat_history import Chosen
    from tui.ui.dialogs.compare import Choice


class ChatTalks(ChatActions):
    """Verbs for the conversation; `ChatScreen` binds them to keys. With these it is the host of the `/` commands."""

    _wants_open = False

    if TYPE_CHECKING:

        def open_complete(self) -> None:
            """`ChatScreen` has it."""

    # --- which conversation -------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Start an empty conversation."""
        self.services.chat.new(self.view.provider, self.view.model)
        self.composer.focus()

    def _history_open(self, ready: bool) -> None:
        if ready and self._wants_open:
            self.action_open()

    def action_open(self) -> None:
        """Search and open conversations; asked for before the history is open, as soon as it is."""
        self._wants_open = not self.services.ready.value
        if self._wants_open:
            return
        from tui.ui.dialogs.chat_history import HistoryDialog

        def done(chosen: Chosen | None) -> None:
            if chosen is not None:
                self._wanted = chosen.message
                self.services.chat.open(chosen.conversation, chosen.message)
                if chosen.conversation == self.view.id:
                    self.go_to_wanted()

        self.app.push_screen(HistoryDialog(self.services.chat, current=self.view.id), done)

    def action_step(self, step: int) -> None:
        """The next older or newer conversation."""
        ids = [head.id for head in self.services.chat.heads.value]
        at = ids.index(self.view.id) + step if self.view.id in ids else 0
        if 0 <= at < len(ids):
            self.services.chat.open(ids[at])

    def action_export(self) -> None:
        """Write this conversation to a file."""
        if not self.view.id:
            self.say("Nothing was sent in this conversation yet")
            return
        forms = [("md", "Markdown", "to read"), ("json", "JSON", "all of it, to import again"), ("html", "HTML", "one page, to show")]

        def done(form: str | None) -> None:
            if form is not None:
                self.services.chat.export(self.view.id, form)

        self.app.push_screen(ChoiceDialog("Export this conversation as", forms), done)

    # --- model and options --------------------------------------------------------------------------------------------

    def choose_model(self) -> None:
        """The dialog that changes the model of this conversation."""
        models = list(self.services.registry.models.value)
        choices = [(f"{model.provider}\n{model.key}", model.name, model.provider) for model in models]
        if not choices:
            self.say("No model is installed. a on the Library screen pulls one.")
            return

        def done(choice: str | None) -> None:
            if choice:
                provider, key = choice.split("\n", 1)
                self.services.chat.use_model(provider, key)

        self.app.push_screen(ChoiceDialog("Go on with", choices, current=f"{self.view.provider}\n{self.view.model}"), done)

    def action_model(self) -> None:
        """Choose the model to go on with."""
        self.choose_model()

    def choose_options(self) -> None:
        """The dialog with all that is set for this conversation."""
        from tui.ui.dialogs.chat_options import OptionsDialog

        self.app.push_screen(OptionsDialog(self))

    def action_options(self) -> None:
        """What is set for this conversation, and changing it."""
        self.choose_options()

    def tool_names(self) -> Sequence[str]:
        """Tools that a model may be allowed to ask for: the built-in ones, then the user's."""
        from tui.services.chat import tools

        return tools.names(self.services.config.current.value)

    # --- context ------------------------------------------------------------------------------------------------------

    def action_context(self) -> None:
        """What can be done about a context that is too small."""
        self.offer_context("")

    def offer_context(self, text: str) -> None:
        """Offer a larger context, dropping the oldest or a summary of it; with a prompt that waits, also to send it anyway."""
        view = self.view
        check = view.check
        choices = [("send", "send anyway", "the server drops what does not fit")] if text else []
        if check is not None and check.larger:
            choices.append(
                ("larger", f"a context of {count(check.larger)} tokens", clean_label(check.costs, 60) or "loads the model again")
            )
        if sum(message.role is Role.USER for message in view.messages) > 1:  # a prompt and its answer are not taken apart
            choices.append(("drop", "drop the oldest messages", "a mark says so; the history keeps them"))
            choices.append(("summarise", "summarise the oldest", "the model writes it, it is sent instead"))
        if not choices:
            self.say("There is nothing older to drop. A shorter prompt or smaller files help, or a model with a larger context", error=True)
            return
        title = "The context is small for this"
        if check is not None:
            window = f", the context holds {count(check.window)}" if check.window else ""
            title = f"About {count(check.tokens)} tokens would be sent{window}"

        def done(choice: str | None) -> None:
            chat = self.services.chat
            if choice == "larger" and check is not None:
                chat.configure(replace(view.settings, options={**view.settings.options, "num_ctx": check.larger}))
            elif choice == "drop":
                chat.drop_oldest()
            elif choice == "summarise":
                chat.summarise()
            if text and choice is None:
                self.composer.fill(text)
            elif text:
                self.send(text)

        self.app.push_screen(ChoiceDialog(title, choices), done)

    def send(self, text: str) -> None:
        """Send a prompt."""
        self.services.chat.send(text)

    # --- queue --------------------------------------------------------------------------------------------------------

    def action_queued(self) -> None:
        """Change or take back a prompt that waits."""
        queued = self.view.queued
        if not queued:
            self.say("No prompt waits")
        elif len(queued) == 1:
            self._edit_queued(0)
        else:
            choices = [(str(at), clean_label(" ".join(text.split()), 70), "") for at, text in enumerate(queued)]
            self.app.push_screen(
                ChoiceDialog("Prompts that wait", choices), lambda choice: self._edit_queued(int(choice)) if choice else None
            )

    def _edit_queued(self, at: int) -> None:
        if at >= len(self.view.queued):
            return
        before = self.view.queued[at]
        from tui.ui.dialogs.chat_text import TextDialog

        def done(text: str | None) -> None:
            if text is None or at >= len(self.view.queued) or self.view.queued[at] != before:
                return  # it was sent meanwhile
            if text.strip():
                self.services.chat.unqueue(at, text)
            else:
                self.services.chat.unqueue(at)

        hint = "changes it; empty takes it back"
        self.app.push_screen(TextDialog("A prompt that waits for the answer before it", clean_block(before), hint=hint, empty=True), done)

    def action_prompts(self) -> None:
        """Choose a prompt sent before."""
        prompts = list(self.services.chat.history())[:200]
        if not prompts:
            self.say("Nothing was sent before")
            return

        def done(choice: str | None) -> None:
            if choice is not None:
                self.composer.fill(clean_block(prompts[int(choice)]))

        choices = [(str(at), clean_label(text, 70), "") for at, text in enumerate(prompts)]
        self.app.push_screen(ChoiceDialog("Prompts sent before", choices), done)

    # --- comparing and completing -------------------------------------------------------------------------------------

    def open_compare(self, models: Sequence[ModelKey] = (), *, blind: bool = False) -> None:
        """Compare: the dialog that asks for prompt and models, those given marked already."""
        from tui.ui.dialogs.compare import CompareDialog

        last = next((message.content for message in reversed(self.view.messages) if message.role is Role.USER), "")

        def done(choice: Choice | None) -> None:
            if choice is not None:
                self.services.chat.compare(choice.text, choice.models, blind=choice.blind)
                self.composer.fill("")

        marked = models or ([(self.view.provider, self.view.model)] if self.view.model else [])
        self.app.push_screen(CompareDialog(self.services, self.composer.text, again=last, marked=marked, blind=blind), done)

    def action_compare(self) -> None:
        """Ask two to four models the same; on an answer of a comparison: show that one side by side again."""
        here = next((message for message in self.view.messages if message.id == self.transcript.cursor), None)
        if here is not None and here.comparison and self.transcript.has_focus:
            self.services.chat.show_comparison(here.id)
        else:
            self.open_compare()

    def open_votes(self) -> None:
        """The table of past votes and speeds."""
        from tui.ui.dialogs.votes import VotesDialog

        self.app.push_screen(VotesDialog(self.services.chat))

    # --- words --------------------------------------------------------------------------------------------------------

    def heading_parts(self, width: int) -> tuple[str, str]:
        """The line above the transcript: left, and the right part with the space before it."""
        left, right = chat_words.heading(self.view)
        if len(left) + len(right) + 2 > width:
            left = clean_name(left, max(12, width - len(right) - 3))
        return left, " " * max(1, width - len(left) - len(right) - 2) + right
