"""A list of models as JSON (docs/catalogue-json.md): read strictly and within bounds, and written for our own copy of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tui.core.capabilities import Ability
from tui.core.errors import FailureKind, PaddockError
from tui.core.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, parse
from tui.core.record import record
from tui.providers.library import DAY, CatalogueModel, CatalogueTag, Library, abilities_of, date_of, day_start, library_of
from tui.providers.streams import decode_json, int_of, list_of, map_of, text_of
from tui.text import clean_label, clean_name, size

FORMAT: Final = "paddock-catalogue"
VERSION: Final = 1
MAX_BYTES: Final = 8 * 1024 * 1024
MAX_MODELS: Final = 10_000
MAX_TAGS: Final = 60_000
"""Of all models together; an object costs some 300 bytes."""
MAX_SIZE: Final = 10**15
MAX_CONTEXT: Final = 10**9

_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{12})[0-9a-f]{0,52}\Z")
_REMEDY: Final = "Ask who keeps that list; docs/catalogue-json.md says what it must hold"


@record(frozen=True)
class Read:
    """What a list held, and how many of its entries made no sense."""

    library: Library
    left_out: int = 0


def read_json(body: bytes, where: str, now: float, *, source: str = "") -> Read:
    """Read a list.

    Args:
        body: Its bytes.
        where: Where it came from, for the sentences.
        now: Epoch seconds; a list from the future is refused.
        source: What the list says of itself, where `body` does not.

    Raises:
        PaddockError: It is none: too large, not JSON, another format or version, without a date, without one sound model.
    """
    if len(body) > MAX_BYTES:
        raise _refused(f"The list of models has {size(len(body))}, more than the {size(MAX_BYTES)} we read", where)
    try:
        value = decode_json(body)
    except ValueError:
        raise _refused("The list of models is not JSON", where) from None
    if not isinstance(value, Mapping) or value.get("format") != FORMAT or not isinstance(value.get("models"), list):
        raise _refused("What is there is no list of models", where)
    if value.get("version") != VERSION:
        raise _refused(f"The list of models has another version ({clean_name(str(value.get('version')), 20)}) than {VERSION}", where)
    date = date_of(value.get("date"))
    if not date:
        raise _refused("The list of models does not say of which day it is", where)
    if day_start(date) > now + 2 * DAY:
        raise _refused(f"The list of models is from the future: of {date}", where)
    if len(value["models"]) > MAX_MODELS:
        raise _refused(f"The list has more than {MAX_MODELS:,} models", where)
    return _models(value["models"], date, clean_label(text_of(value.get("source")), 120) or source, where)


def _models(items: list[Any], date: str, source: str, where: str) -> Read:
    found: dict[str, CatalogueModel] = {}
    left_out, room = 0, MAX_TAGS
    for item in items:
        model = _model(map_of(item), date)
        if model is None or model.name.lower() in found:
            left_out += 1
            continue
        room -= len(model.tags)
        if room < 0:
            raise _refused(f"The list has more than {MAX_TAGS:,} tags", where)
        left_out += len(list_of(map_of(item).get("tags"))) - len(model.tags)
        found[model.name.lower()] = model
    if not found:
        raise _refused("The list of models holds none that makes sense", where)
    return Read(library_of(found.values(), date, source), left_out)


def _model(item: Mapping[str, Any], date: str) -> CatalogueModel | None:
    """One model; None where its name is none that can be pulled."""
    name = _name(item.get("name"))
    if not name:
        return None
    tags: dict[str, CatalogueTag] = {}
    for each in list_of(item.get("tags"))[: MAX_TAGS + 1]:
        tag = _tag(map_of(each), date)
        if tag is not None:
            tags.setdefault(tag.tag.lower(), tag)
    first = tags.pop(DEFAULT_TAG, None)
    chips = [word for word in list_of(item.get("capabilities"))[:20] if isinstance(word, str)]
    return CatalogueModel(
        name,
        (*((first,) if first is not None else ()), *tags.values()),
        abilities_of(name, chips),
        clean_label(text_of(item.get("licence")) or text_of(item.get("license")), 80),
        _whole(item.get("pulls"), MAX_SIZE),
        clean_name(text_of(item.get("family")), 40),
        clean_name(text_of(item.get("parameters")), 20),
        clean_name(text_of(item.get("quantization")), 20),
    )


def _name(value: Any) -> str:
    """A name by the grammar, without a tag, in its shortest form."""
    if not isinstance(value, str) or len(value) > 400:
        return ""
    try:
        parsed = parse(value)
    except PaddockError:
        return ""
    if parsed.tag != DEFAULT_TAG or "://" in value:
        return ""
    parts = [parsed.model]
    if parsed.namespace.lower() != DEFAULT_NAMESPACE or parsed.host.lower() != DEFAULT_HOST:
        parts.insert(0, parsed.namespace)
    if parsed.host.lower() != DEFAULT_HOST:
        parts.insert(0, parsed.host)
    return "/".join(parts)


def _tag(item: Mapping[str, Any], date: str) -> CatalogueTag | None:
    name = item.get("tag")
    if not isinstance(name, str) or len(name) > 80:
        return None
    try:
        if "/" in name or ":" in name or parse(f"m:{name}").tag != name:
            return None
    except PaddockError:
        return None
    digest = _DIGEST.match(text_of(item.get("digest")))
    dated = date_of(item.get("date"))
    return CatalogueTag(
        name,
        _whole(item.get("size"), MAX_SIZE),
        _whole(item.get("context"), MAX_CONTEXT),
        digest[1] if digest is not None else "",
        item.get("cloud") is True,
        clean_name(text_of(item.get("quantization")), 20),
        item.get("estimated") is True,
        "" if dated == date else dated,
    )


def _whole(value: Any, most: int) -> int | None:
    number = int_of(value) if not isinstance(value, bool) else None
    return number if number is not None and 0 <= number <= most else None


def write_json(library: Library) -> bytes:
    """The list as `read_json` reads it."""
    models = [_plain(model) for model in library.models]
    value = {"format": FORMAT, "version": VERSION, "date": library.snapshot, "source": library.source, "models": models}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(model: CatalogueModel) -> dict[str, Any]:
    abilities = sorted(str(ability) for ability in model.capabilities if ability is not Ability.COMPLETION)
    found = {
        "name": model.name,
        "capabilities": abilities,
        "licence": model.licence,
        "pulls": model.pulls,
        "family": model.family,
        "parameters": model.parameters,
        "quantization": model.quant,
        "tags": [_plain_tag(tag) for tag in model.tags],
    }
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _plain_tag(tag: CatalogueTag) -> dict[str, Any]:
    found = {
        "tag": tag.tag,
        "size": tag.bytes,
        "context": tag.context,
        "digest": tag.digest12,
        "quantization": tag.quant,
        "cloud": tag.cloud,
        "estimated": tag.estimated,
        "date": tag.dated,
    }
    return {key: value for key, value in found.items() if value not in (None, "", False)}


def _refused(what: str, where: str) -> PaddockError:
    return PaddockError.of(what, where, _REMEDY, FailureKind.PROTOCOL)
