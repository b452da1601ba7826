"""How code models are asked to fill a gap where the server has no call for it: each family's own tokens.

A row holds for models whose name has one of its words; the first row that fits is taken, so narrower words stand first.
Base models know these tokens, and of some families the instructed ones too. Where the tokens come from is said with each row.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, cast

from tui.core.events import Delta, Done, StreamEvent
from tui.core.record import record

_PLACES: Final = re.compile(r"(\{prefix\}|\{suffix\})")


@record(frozen=True)
class Fim:
    """A family's tokens.

    Attributes:
        words: Parts of model names, lower case, without separators.
        shape: The prompt, `{prefix}` and `{suffix}` where they belong.
        stops: What ends the answer, and is no part of it.
        source: Who says so.
    """

    words: tuple[str, ...]
    shape: str
    stops: tuple[str, ...]
    source: str

    def prompt(self, prefix: str, suffix: str) -> str:
        """The prompt for a gap; tokens that the text itself holds stay text as far as the server's tokenizer allows."""
        given = {"{prefix}": prefix, "{suffix}": suffix}
        return "".join(given.get(part, part) for part in _PLACES.split(self.shape))


_QWEN: Final = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
                "<|im_start|>", "<|im_end|>")  # fmt: skip
_STAR: Final = ("<|endoftext|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<fim_pad>", "<file_sep>", "<repo_name>")
_DEEPSEEK: Final = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>", "<|EOT|>")
_PIPES: Final = "<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"
_ANGLES: Final = "<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>"

FAMILIES: Final = (
    Fim(
        ("codellama",),
        "<PRE> {prefix} <SUF>{suffix} <MID>",
        ("<EOT>", "<PRE>", "<SUF>", "<MID>"),
        "Code Llama paper, and its template in Ollama's library",
    ),
    Fim(("codeqwen",), _ANGLES, _STAR, "CodeQwen1.5 README"),
    Fim(("qwen2.5coder", "qwen3coder", "qwencoder"), _PIPES, _QWEN, "Qwen2.5-Coder README, file-level fill in the middle"),
    Fim(("starcoder", "stablecode", "granitecode"), _ANGLES, _STAR, "StarCoder model card"),
    Fim(("deepseekcoder",), "<｜fim▁begin｜>{prefix}<｜fim▁hole｜>{suffix}<｜fim▁end｜>", _DEEPSEEK, "DeepSeek-Coder README"),
    Fim(
        ("codegemma",),
        _PIPES,
        ("<|file_separator|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<end_of_turn>", "<eos>"),
        "CodeGemma model card",
    ),
    Fim(("codestral",), "[SUFFIX]{suffix}[PREFIX]{prefix}", ("[PREFIX]", "[SUFFIX]", "[MIDDLE]"), "mistral-common, its tokenizer"),
    Fim(
        ("granite3.3", "granite4"),
        _PIPES,
        ("<|end_of_text|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"),
        "Granite 3.3 model card",
    ),
    Fim(
        ("seedcoder",),
        "<[fim-suffix]>{suffix}<[fim-prefix]>{prefix}<[fim-middle]>",
        ("<[fim-suffix]>", "<[fim-prefix]>", "<[fim-middle]>", "<[end▁of▁sentence]>"),
        "Seed-Coder README",
    ),
)
"""The families we know."""

AFTER: Final = 32
"""Pieces behind a stop token that are read for the figures at the end; a model that goes on longer is left."""
_SEPARATORS: Final = re.compile(r"[^a-z0-9.]")


def fim_of(model: str) -> Fim | None:
    """The tokens of a model by its name (`qwen2.5-coder:7b`, `Qwen/Qwen2.5-Coder-7B`, a file's name), None where we know none."""
    name = _SEPARATORS.sub("", model.lower())
    return next((family for family in FAMILIES if any(word in name for word in family.words)), None)


class Trimmer:
    """Ends a text at the first stop token in it, however it is cut into pieces; what may be a token's beginning waits."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.ended = False

    def feed(self, piece: str) -> str:
        """What of this piece (and of what was held) belongs to the text."""
        if self.ended:
            return ""
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.ended, self._held = True, ""
            return text[: min(found)]
        keep = next(
            (size for size in range(min(len(text), max(map(len, self._stops), default=1) - 1), 0, -1) if self._begins(text[-size:])), 0
        )
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """What was held back at the end."""
        held, self._held = self._held, ""
        return held

    def _begins(self, text: str) -> bool:
        return any(stop.startswith(text) for stop in self._stops)


async def trimmed(events: AsyncIterator[StreamEvent], stops: Sequence[str]) -> AsyncIterator[StreamEvent]:
    """The events of a completion without stop tokens and what comes behind one; the stream is closed at the end."""
    trimmer, after = Trimmer(stops), 0
    async with aclosing(cast(AsyncGenerator[StreamEvent, None], events)) as stream:
        try:
            async for event in stream:
                if isinstance(event, Delta):
                    if text := trimmer.feed(event.text):
                        yield Delta(text)
                    after += trimmer.ended
                    if after > AFTER:
                        yield Done("stop")
                        return
                    continue
                if isinstance(event, Done) and (held := trimmer.close()):
                    yield Delta(held)
                yield event
        except Exception:
            if held := trimmer.close():
                yield Delta(held)
            raise
