"""What pulls would mean, in the words of the dialog: size, what is there, room on the disk, fit, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui.config.settings import Settings
from tui.core.jobs import Ask
from tui.core.names import normal, same
from tui.providers.library import CatalogueTag, Library
from tui.services.api import Preview, PreviewKey
from tui.services.asks import asks_before, reasons
from tui.services.library.fits_recommend import subject_of_tag
from tui.services.wishes import Wanted
from tui.text import clean_name, size
from tui.ui.frame import Part
from tui.ui.screens.fits import Fits, words
from tui.ui.screens.pull_detail import fit_words
from tui.ui.screens.pull_words import there

if TYPE_CHECKING:
    from tui.core.models import Model

_GAP = "   "
CLOUD = "runs in a cloud: nothing to fetch, and what you write leaves this machine"


@dataclass(slots=True)
class About:
    """What the words are made of; the dialog fills it before each drawing."""

    library: Library
    fits: Fits
    settings: Settings
    models: Sequence[Model] = ()
    previews: Mapping[PreviewKey, Preview] = field(default_factory=dict)
    asked: frozenset[PreviewKey] = frozenset()
    binary: bool = False

    def preview(self, name: str, provider: str) -> Preview | None:
        """What is known of a pull."""
        return self.previews.get((provider, normal(name)))

    def size_of(self, name: str, provider: str) -> int | None:
        """Bytes to fetch as far as known: of the plan, else of the catalogue."""
        preview = self.preview(name, provider)
        if preview is not None and preview.plan is not None and preview.plan.missing is not None:
            return preview.plan.missing
        return self.library.size_of(name)

    # --- lines --------------------------------------------------------------------------------------------------------

    def lines(self, wanted: Wanted, providers: Sequence[str], *, brief: bool) -> list[list[Part]]:
        """The lines about one name; `brief` where several names share the room."""
        head: list[Part] = [(clean_name(wanted.name, 48), "bold $foreground")]
        if wanted.insecure:
            head.append((f"{_GAP}without TLS", "$text-warning"))
        tag = self.library.tag_of(wanted.name)
        if tag is not None and tag.cloud:
            return [[*head, (_GAP + CLOUD, "$text-warning")]]
        alone = len(providers) == 1
        if alone and brief:
            out = [[*head, (_GAP, ""), *_joined(self._figures(wanted, tag, providers[0], brief=True))]]
        else:
            if alone and any(same(model.name, wanted.name) for model in self.models if model.provider == providers[0]):
                head.append((f"{_GAP}is there already; pulling updates it", "$text-muted"))
            elif not brief:
                head += self._kind(wanted, providers)
            out = [head]
            for provider in providers:
                figures = self._figures(wanted, tag, provider, brief=not alone)
                if alone and len(figures) > 2:
                    out += [figures[:1], _joined(figures[1:])]
                else:
                    server: list[Part] = [] if alone else [(f"  {provider}  ", "$text-accent")]
                    out.append([*server, *_joined(figures)])
        for line in dict.fromkeys(line for provider in providers for line in self._why_not(wanted, provider, brief=brief)):
            out.append([line])
        return out

    def _kind(self, wanted: Wanted, providers: Sequence[str]) -> list[Part]:
        """`8.2B Q4_K_M, needs 0.20.1 or newer`, from the first plan that says so."""
        for provider in providers:
            preview = self.preview(wanted.name, provider)
            plan = preview.plan if preview is not None else None
            if plan is not None and (plan.parameters or plan.quantization or plan.requires):
                facts = [" ".join(part for part in (plan.parameters, plan.quantization) if part)]
                facts.append(f"needs {plan.requires} or newer" if plan.requires else "")
                return [(_GAP + ", ".join(part for part in facts if part), "$text-muted")]
        return []

    def _figures(self, wanted: Wanted, tag: CatalogueTag | None, provider: str, *, brief: bool) -> list[Part]:
        preview = self.preview(wanted.name, provider)
        plan = preview.plan if preview is not None else None
        if preview is not None and preview.failure is not None:
            return [("cannot be pulled", "$text-error")]
        if plan is None or plan.total is None:
            return self._guessed(wanted, tag, provider, waiting=plan is None and (provider, normal(wanted.name)) in self.asked)
        parts: list[Part] = [(there(plan, brief=brief, binary=self.binary), "$foreground")]
        fit = fit_words(plan, self.fits, provider, binary=self.binary)
        if fit:
            parts.append((fit, "$foreground"))
        return [*parts, *self._room(preview)]

    def _guessed(self, wanted: Wanted, tag: CatalogueTag | None, provider: str, *, waiting: bool) -> list[Part]:
        """From the catalogue, while the registry has not answered or cannot be asked."""
        asking: list[Part] = [("asking the registry …", "$text-muted")] if waiting else []
        if tag is None:
            known = self.library.model(wanted.name)
            said = f"the catalogue knows no such tag of {known.name}" if known is not None else "not in the catalogue: size not known yet"
            return asking or [(said, "$text-muted")]
        parts: list[Part] = [(size(tag.bytes, binary=self.binary), "$foreground")]
        listed = self.library.model(wanted.name)
        subject = subject_of_tag(listed, tag) if listed is not None and self.fits.knows(provider) else None
        fit = self.fits.of_subject(subject, provider) if subject is not None else None
        if fit is not None:
            parts.append((f"fits: {words(fit, binary=self.binary)}", "$foreground"))
        return [*parts, *asking]

    def _room(self, preview: Preview | None) -> list[Part]:
        if preview is None or preview.free is None or preview.plan is None or preview.plan.missing is None:
            return []
        if preview.needed is not None and preview.needed > preview.free:
            return [(f"lacks {size(preview.needed - preview.free, binary=self.binary)}: it will wait", "$text-warning")]
        left = max(0, preview.free - preview.queued - preview.plan.missing)
        return [(f"disk: {size(left, binary=self.binary)} free after", "$foreground")]

    def _why_not(self, wanted: Wanted, provider: str, *, brief: bool) -> list[Part]:
        """Lines of their own: a refusal, what must be asked, what could not be found out."""
        preview = self.preview(wanted.name, provider)
        if preview is None:
            return []
        out: list[Part] = []
        if preview.failure is not None:
            failure = preview.failure
            out.append((f"{failure.sentence()}. {failure.remedy}".rstrip(), "$text-error"))
        if preview.asks:
            total = preview.plan.total if preview.plan is not None else None
            out.append((f"asks first: {reasons(self.settings, total, preview.asks)}", "$text-warning"))
        if preview.plan is not None and preview.plan.note and not brief:
            out.append((preview.plan.note, "$text-muted"))
        return out

    # --- all of them --------------------------------------------------------------------------------------------------

    def total(self, wanted: Sequence[Wanted], providers: Sequence[str]) -> list[Part]:
        """What all of them come to, where there is more than one pull."""
        pairs = [(one.name, provider) for one in wanted for provider in providers]
        sizes = [self.size_of(name, provider) for name, provider in pairs if not self._failed(name, provider)]
        if len(sizes) < 2:
            return []
        known = sum(value for value in sizes if value)
        missing = "" if all(value is not None for value in sizes) else ", and what is not known yet"
        on = f" on {len(providers)} servers" if len(providers) > 1 else ""
        parts: list[Part] = [(f"{len(sizes)} pulls{on}: {size(known, binary=self.binary)} to fetch{missing}", "$foreground")]
        lacks = [provider for provider in providers if self._lacks(wanted, provider)]
        if lacks:
            where = lacks[0] if len(lacks) == 1 else f"{len(lacks)} of them"
            parts.append((f"; no room for all on {where}", "$text-warning"))
        return parts

    def _failed(self, name: str, provider: str) -> bool:
        preview = self.preview(name, provider)
        return preview is not None and preview.failure is not None

    def _lacks(self, wanted: Sequence[Wanted], provider: str) -> bool:
        """Whether together they need more than there is, a layer that several share counted once."""
        previews = [preview for one in wanted if (preview := self.preview(one.name, provider)) is not None and preview.plan is not None]
        free = [preview.free for preview in previews if preview.free is not None]
        layers: dict[str, int] = {}
        for preview in previews:
            plan = preview.plan
            if plan is not None:
                there_already = plan.present or frozenset()
                layers |= {digest: count for digest, count in plan.sizes().items() if digest not in there_already}
        queued = max((preview.queued for preview in previews), default=0)
        return bool(free) and sum(layers.values()) + queued + self.settings.pulls.keep_free > min(free)

    def refused(self, wanted: Sequence[Wanted], providers: Sequence[str]) -> str:
        """Which of them cannot be pulled, in words; empty where all may be queued."""
        for one in wanted:
            for provider in providers:
                if self._failed(one.name, provider):
                    return f"{clean_name(one.name, 60)} cannot be pulled on {provider}: correct it, or take it out."
        return ""

    def asks(self, wanted: Sequence[Wanted], providers: Sequence[str]) -> dict[PreviewKey, frozenset[Ask]]:
        """What needs a yes, by pull."""
        found = {}
        for one in wanted:
            for provider in providers:
                preview = self.preview(one.name, provider)
                asks = preview.asks if preview is not None else asks_before(self.settings, one.name, None)
                if asks:
                    found[(provider, normal(one.name))] = asks
        return found


def _joined(parts: Sequence[Part]) -> list[Part]:
    out: list[Part] = []
    for number, part in enumerate(parts):
        if number:
            out.append((_GAP, ""))
        out.append(part)
    return out
