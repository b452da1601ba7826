"""The rows of the table of what fits: other tags and levels of an installed model, or the tags of one of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tui.core.errors import Failure, PaddockError
from tui.core.fit import Source, Subject, Variant, computed, parameters_of, relative, subject_of
from tui.core.models import Model, ModelDetail, ModelKey
from tui.core.names import parse, same
from tui.services.library.fits_recommend import subject_of_tag

if TYPE_CHECKING:
    from tui.providers.library import CatalogueModel, CatalogueTag, Library

OTHERS: Final = 12
"""Other sizes that are shown below those of the same size."""
NEAR: Final = 0.03
"""Share by which the numbers of weights of one size may differ."""
NOTHING: Final[Mapping[ModelKey, ModelDetail | Failure]] = MappingProxyType({})


def tag_of(name: str) -> str:
    """`8b-q8_0` of `qwen3:8b-q8_0`; the whole name where it is none."""
    try:
        return parse(name).tag
    except PaddockError:
        return name


def of_installed(
    model: Model, details: Mapping[ModelKey, ModelDetail | Failure], models: Iterable[Model], library: Library
) -> tuple[Variant, ...]:
    """The rows of an installed model: itself, its other tags here, those of the catalogue, and levels by bits a weight."""
    own = _subject(model, details)
    if own is None:
        return ()
    rows = [Variant(tag_of(model.name), own, Source.INSTALLED, model.name)]
    for other in models:
        if other.provider == model.provider and other.key != model.key and _related(other, model) and _as_large(other, model):
            subject = _subject(other, details)
            if subject is not None:
                rows.append(Variant(tag_of(other.name), subject, Source.INSTALLED, other.name))
    listed = library.model(model.name)
    if listed is not None:
        rows += _of_catalogue(listed, model, own, {one.name for one in rows})
    return (*rows, *computed(own, [row.subject.quantization for row in rows if not row.other]))


def _subject(model: Model, details: Mapping[ModelKey, ModelDetail | Failure]) -> Subject | None:
    detail = details.get((model.provider, model.key))
    return subject_of(model, detail if isinstance(detail, ModelDetail) else None)


def _related(one: Model, other: Model) -> bool:
    try:
        first, second = parse(one.name), parse(other.name)
    except PaddockError:
        return False
    return (first.host, first.namespace, first.model) == (second.host, second.namespace, second.model)


def _as_large(one: Model, other: Model) -> bool:
    first, second = parameters_of(one.parameters), parameters_of(other.parameters)
    return first is not None and second is not None and abs(first - second) <= NEAR * second


def _of_catalogue(listed: CatalogueModel, model: Model, own: Subject, there: set[str]) -> list[Variant]:
    size = _size_tag(listed, model)
    same_size, others, digests = [], [], {model.digest[:12]}
    for tag in sorted(listed.tags, key=lambda tag: tag.tag == "latest"):
        name = f"{listed.name}:{tag.tag}"
        subject = subject_of_tag(listed, tag)
        if subject is None or (tag.digest12 and tag.digest12 in digests) or any(same(name, known) for known in there):
            continue
        digests.add(tag.digest12)
        quantization = _quantization(listed, tag)
        if size and tag.tag.split("-")[0] == size:
            same_size.append(Variant(tag.tag, relative(own, subject.weights, quantization), Source.CATALOGUE, name))
        elif tag.tag in listed.sizes:
            others.append(Variant(tag.tag, subject, Source.CATALOGUE, name, other=True))
    return [*same_size, *others[:OTHERS]]


def _size_tag(listed: CatalogueModel, model: Model) -> str:
    """`8b`: which of the sizes of the catalogue an installed model has; empty where none can be told."""
    first = tag_of(model.name).split("-")[0]
    if first in listed.sizes:
        return first
    alike = next((tag.tag for tag in listed.tags if tag.tag in listed.sizes and tag.digest12 and model.digest.startswith(tag.digest12)), "")
    return alike or next((tag.tag for tag in listed.tags if tag.tag in listed.sizes and tag.bytes == model.size), "")


def _quantization(listed: CatalogueModel, tag: CatalogueTag) -> str:
    default = listed.default
    return tag.quant or (listed.quant if default is not None and default.bytes == tag.bytes else "")


def of_catalogue(
    listed: CatalogueModel, installed: Sequence[Model] = (), details: Mapping[ModelKey, ModelDetail | Failure] = NOTHING
) -> tuple[Variant, ...]:
    """The rows of a model of the catalogue: its tags; those that are one, once; of what is installed what its server tells."""
    rows, digests = [], set[str]()
    for tag in sorted(listed.tags, key=lambda tag: tag.tag == "latest"):
        subject = subject_of_tag(listed, tag)
        if subject is None or (tag.digest12 and tag.digest12 in digests):
            continue
        digests.add(tag.digest12)
        name = f"{listed.name}:{tag.tag}"
        have = next((model for model in installed if same(model.name, name)), None)
        own = _subject(have, details) if have is not None else None
        rows.append(Variant(tag.tag, own or subject, Source.INSTALLED if have is not None else Source.CATALOGUE, name))
    return tuple(rows)


def row_of(listed: CatalogueModel, tag: str, rows: Iterable[Variant]) -> Variant | None:
    """The row of a tag of the catalogue, or of another tag that is the same; None where there is none."""
    found = listed.tag(tag)
    if found is None:
        return None
    alike = {one.tag for one in listed.tags if found.digest12 and one.digest12 == found.digest12} | {found.tag}
    return next((row for row in rows if row.label in alike), None)


def near_rows(tag: str, rows: Iterable[Variant]) -> list[Variant]:
    """Rows by how near their number of weights is to that of a tag which is none of them: of `9b` the `8b` first."""
    wanted = parameters_of(tag.split("-")[0])
    if wanted is None:
        return list(rows)
    return sorted(rows, key=lambda row: abs((row.subject.parameters or 0.0) - wanted))


def longest(rows: Iterable[Variant]) -> int | None:
    """The longest context that those of its own size were trained for."""
    return max((row.subject.context for row in rows if row.subject.context and not row.other), default=None)
