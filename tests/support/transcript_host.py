"""The conversation alone, for its tests and benchmarks."""

from textual.app import App, ComposeResult

from tui.core.clock import SYSTEM, Clock
from tui.ui.widgets.transcript import Transcript


class Host(App[None]):
    """One part. Where time stands still, nothing is only sketched or put off to the next frame, however busy the machine is."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        super().__init__()
        self._clock = clock

    def compose(self) -> ComposeResult:
        yield Transcript(clock=self._clock)

    @property
    def chat(self) -> Transcript:
        return self.query_one(Transcript)
