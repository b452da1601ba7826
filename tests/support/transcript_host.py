"""The conversation alone, for its tests and benchmarks."""

from textual.app import App, ComposeResult

from tui.ui.widgets.transcript import Transcript


class Host(App[None]):
    """One part."""

    def compose(self) -> ComposeResult:
        yield Transcript()

    @property
    def chat(self) -> Transcript:
        return self.query_one(Transcript)
