"""search: what can be pulled, out of the dated list or from Hugging Face; and fetching a newer list."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from tui.cli.context import Context, wrong_usage
from tui.cli.output import DASH, DONE, FAILED, ask, emit, message, report, table
from tui.config.secrets import resolve_secret
from tui.core.capabilities import ABILITY_WORDS
from tui.core.clock import SYSTEM
from tui.core.errors import PaddockError
from tui.core.filtering import Term
from tui.core.filtering import parse as parse_filter
from tui.core.fit import Subject, Verdict, judge, need_of
from tui.core.hub import HubFile, HubRepo
from tui.core.names import normal
from tui.providers.library import CODE, CatalogueModel, CatalogueTag, Library
from tui.services.asks import excluded
from tui.services.library.catalogue_hub import open_hub
from tui.services.library.catalogue_list import newest, refreshed_from, refreshed_installed, write_copy
from tui.services.library.catalogue_search import Fitting, accepts, day_of, largest, meets, of_words, offered, weighty
from tui.services.library.fits_recommend import FITTING, subject_of_tag
from tui.text import clean_name, count, duration, size, tokens

MOST: Final = 400
"""Repositories that one search lists."""
_WORDS: Final = {word: word for word in (*ABILITY_WORDS.values(), CODE)} | {
    "embedding": "embed",
    "insert": "complete",
    "completion": "chat",
}


async def search(context: Context) -> int:
    """Search; 1 where nothing fits, as grep does."""
    args = context.args
    if args.hub:
        return await _hub(context)
    lists = bool(args.text or args.can or args.max or args.fits or args.licence or not args.refresh)
    code = await _refresh(context, alone=not lists) if args.refresh else DONE
    return await _list(context) or code if lists else code


# --- the list ---------------------------------------------------------------------------------------------------------


def _wanted(context: Context) -> str:
    """What the command asks for, in the language of the filters.

    Raises:
        PaddockError: An option makes no sense (kind CONFIG).
    """
    args, parts = context.args, list(context.args.text)
    for word in (word for text in args.can for word in text.lower().split(",") if word):
        if word not in _WORDS:
            raise _usage(f"{clean_name(word, 40)} is nothing a model can do", f"Choose of {', '.join(dict.fromkeys(_WORDS.values()))}")
        parts.append(_WORDS[word])
    if args.max:
        parts.append(_most(args.max).text)
    if args.licence:
        parts.append(f"licence:{args.licence}")
    return " ".join([*parts, *(["fits"] if args.fits else [])])


def _most(text: str) -> Term:
    """`--max` as a part of a filter."""
    terms = parse_filter(f"<={text.replace(' ', '')}").terms
    if len(terms) != 1 or terms[0].kind != "size":
        raise _usage(f"{clean_name(text, 40)} is no size", "Write it like 8GB or 500MB")
    return terms[0]


def _usage(what: str, remedy: str) -> PaddockError:
    return wrong_usage(PaddockError.of(what, "paddock search", remedy))


def _library(context: Context) -> Library:
    """The newest list there is; what is wrong with our copy is said."""
    library, problem = newest(context.paths.cache, SYSTEM.time())
    if problem is not None:
        report(problem.failure)
    settings = context.settings
    return offered(library, (lambda name: excluded(name, settings)) if settings.models.excluded else None)


async def _list(context: Context) -> int:
    args, library, wanted = context.args, _library(context), _wanted(context)
    asks_fit = any(term.kind == "state" and term.text == "fits" for term in parse_filter(wanted).terms)
    fits = await _fitting(context) if asks_fit else None
    installed = await _installed(context) if any(term.text == "loaded" for term in parse_filter(wanted).terms) else frozenset()
    words, holds = accepts(wanted, fits or _unknown, installed)
    found = [model for model in library.search(words) if holds is None or holds(model)]
    met = meets(wanted, fits or _unknown, installed)
    if context.json:
        if args.tags:
            found = [replace(model, tags=tuple(tag for tag in model.tags if met(model, tag))) for model in found]
        emit({"snapshot": library.snapshot, "source": library.source, "models": found})
        return DONE if found else FAILED
    if not found:
        message(
            f"Nothing in the catalogue {of_words(library.snapshot, SYSTEM.time())} fits. Other models can be pulled by their full name."
        )
        return FAILED
    if args.tags:
        _print_tags(context, found, met)
    else:
        _print(context, found, _both(fits, met) if fits is not None else None)
    when = ", ".join((library.snapshot, of_words(library.snapshot, SYSTEM.time()).partition(", ")[2]))
    where = f" ({library.source})" if library.source else ""
    message(f"{len(found)} model{'s' if len(found) > 1 else ''}; facts of {when}{where}.")
    return DONE


def _both(one: Fitting, other: Fitting) -> Fitting:
    return lambda model, tag: other(model, tag) and one(model, tag)


def _unknown(_model: CatalogueModel, _tag: CatalogueTag) -> bool:
    return False


async def _installed(context: Context) -> frozenset[str]:
    with contextlib.suppress(PaddockError):
        return frozenset(normal(model.name) for listed in await context.everybody() for model in listed.models)
    return frozenset()


async def _fitting(context: Context) -> Fitting:
    """What tells whether a tag fits on this machine; measures it."""
    from tui.cli.library_fit import known_here

    known = await known_here(context, None)

    def fits(model: CatalogueModel, tag: CatalogueTag) -> bool:
        subject = subject_of_tag(model, tag)
        return subject is not None and _verdict(known, subject) in FITTING

    return fits


def _verdict(known: Any, subject: Subject) -> Verdict:
    return judge(need_of(subject, 8192, known.served, known.lessons), known.machine, known.served, pace=known.pace).verdict


def _print(context: Context, found: list[CatalogueModel], fits: Fitting | None) -> None:
    """The models; with `fits`, of each the largest tag for which that holds."""

    def best(model: CatalogueModel) -> str:
        tag = largest(model, fits) if fits is not None else None
        return f"{tag.tag}, {context.size(tag.bytes)}" if tag is not None else DASH

    def sizes(model: CatalogueModel) -> str:
        return model.size_range or ("cloud" if model.tags and not weighty(model) else "")

    head = ("MODEL", "DEFAULT", "PULLS", *(("LARGEST THAT FITS",) if fits is not None else ()), "CAN", "LICENCE", "SIZES")
    rows = [
        (
            model.name,
            context.size(model.default.bytes) if model.default else "cloud",
            count(model.pulls),
            *((best(model),) if fits is not None else ()),
            f"{model.words} {CODE if model.code else ''}".strip(),
            model.licence or DASH,
            sizes(model),
        )
        for model in found
    ]
    table(head, rows, right=(1, 2))


def _print_tags(context: Context, found: list[CatalogueModel], met: Fitting) -> None:
    """Of each model the tags that were asked for."""
    rows = [
        (
            f"{model.name}:{tag.tag}",
            "cloud" if tag.cloud else f"{'~' if tag.estimated else ''}{context.size(tag.bytes)}",
            tag.quant or DASH,
            tokens(tag.context),
            day_of(tag.dated) if tag.dated else "",
        )
        for model in found
        for tag in model.tags
        if met(model, tag)
    ]
    table(("TAG", "SIZE", "QUANT", "CONTEXT", "FACTS OF"), rows, right=(1, 3))


# --- a newer list -----------------------------------------------------------------------------------------------------


async def _refresh(context: Context, *, alone: bool) -> int:
    """Fetch a newer list; where that fails the old one stays, and why is said. `alone`: nothing is listed after it."""
    settings, old = context.settings, newest(context.paths.cache, SYSTEM.time())[0]
    if settings.general.network == "metered" and not context.args.yes and not await ask("The network is metered. Fetch a newer list?"):
        return FAILED
    try:
        if settings.models.catalogue_url:
            found = await refreshed_from(settings.models.catalogue_url, old, settings)
        else:
            from tui.services.plan import Planner

            planner = Planner(lambda: settings, os.environ, demo=context.options.demo)
            pairs = [(listed.provider.endpoint, model) for listed in await context.everybody() for model in listed.models]
            found = await refreshed_installed(pairs, old, planner, settings)
        write_copy(context.paths.cache, found.library)
    except PaddockError as error:
        message(f"The list of {old.snapshot} stays.")
        return report(error.failure)
    if context.json and alone:
        emit({"ok": True, "command": "search", "snapshot": found.library.snapshot, "models": len(found.library.models)})
    message(f"{found.words[:1].upper()}{found.words[1:]}.")
    return DONE


# --- the hub ----------------------------------------------------------------------------------------------------------


async def _hub(context: Context) -> int:
    args = context.args
    if not args.text:
        raise _usage("What is to be searched for?", "Give some words, or org/repository for its files")
    if args.refresh or args.tags or args.can:
        raise _usage("--hub takes only --max, --fits and --limit", "Leave the others out")
    settings, demo = context.settings, ""
    if context.options.demo:
        demo = (await context.endpoints())[0].url
    hub = open_hub(settings, os.environ, lambda reference: resolve_secret(reference, settings=settings, environ=os.environ), demo=demo)
    try:
        words = " ".join(args.text)
        if len(args.text) == 1 and words.count("/") == 1 and not words.startswith("/") and not words.endswith("/"):
            return await _files(context, hub, words)
        return await _repos(context, hub, words)
    finally:
        await hub.aclose()


async def _repos(context: Context, hub: Any, words: str) -> int:
    most = max(1, min(MOST, context.args.limit))
    page = await hub.search(words)
    found: list[HubRepo] = list(page.repos)
    new = found
    while page.next and len(found) < most and new:
        page = await hub.search(words, page.next)
        known = {repo.key for repo in found}
        new = [repo for repo in page.repos if repo.key not in known]
        found = [*found, *new]
    more = bool(page.next) or len(found) > most
    found = found[:most]
    if context.json:
        emit({"host": hub.host, "more": more, "repositories": found})
        return DONE if found else FAILED
    if not found:
        message(f"{hub.host} has nothing with GGUF files that is named so.")
        return FAILED
    rows = [
        (
            repo.name,
            f"{repo.parameters / 1e9:.1f}B" if repo.parameters else DASH,
            count(repo.downloads),
            f"{duration(max(0.0, SYSTEM.time() - repo.updated_at))} ago" if repo.updated_at is not None else DASH,
            ", ".join(_marks(repo)) or "",
            repo.licence or DASH,
        )
        for repo in found
    ]
    table(("REPOSITORY", "PARAMS", "PULLS", "CHANGED", "ACCESS", "LICENCE"), rows, right=(1, 2))
    tail = "; --limit shows more" if more else ""
    message(f"{len(found)} on {hub.host}{tail}. paddock search --hub ORG/REPOSITORY lists the files of one.")
    return DONE


def _marks(repo: HubRepo) -> list[str]:
    return [word for word, there in (("private", repo.private), ("gated", repo.gated), ("unusual name", repo.unusual)) if there]


async def _files(context: Context, hub: Any, key: str) -> int:
    listing = await hub.files(key)
    files, repo = list(listing.files), listing.repo
    fits = await _file_verdicts(context, repo) if context.args.fits else None
    if fits is not None:
        files = [file for file in files if fits(file) in FITTING]
    if context.args.max:
        most = _most(context.args.max).value
        files = [file for file in files if file.size is not None and file.size <= most]
    if context.json:
        emit({"host": hub.host, "repository": repo, "files": files})
        return DONE if files else FAILED
    if not files:
        message(f"{repo.name} has no GGUF files that fit this.")
        return FAILED
    rows = [
        (
            file.quant or DASH,
            size(file.size, binary=context.settings.appearance.units == "binary"),
            str(file.parts) if file.parts > 1 else "",
            *((str(fits(file) or DASH),) if fits is not None else ()),
            file.pull or f"({file.why})",
        )
        for file in files
    ]
    table(("QUANT", "SIZE", "PARTS", *(("FITS",) if fits is not None else ()), "PULL AS"), rows, right=(1, 2))
    marks = _marks(repo)
    said = f"; {', '.join(marks)}: the server needs its own key there" if repo.private or repo.gated else ""
    message(f"{len(files)} of {clean_name(repo.name)} on {hub.host}, not scanned{said}.")
    return DONE


async def _file_verdicts(context: Context, repo: HubRepo) -> Callable[[HubFile], Verdict | None]:
    """What tells whether a file fits on this machine; measures it."""
    from tui.cli.library_fit import known_here

    known = await known_here(context, None)
    parameters = float(repo.parameters) if repo.parameters else None

    def verdict(file: HubFile) -> Verdict | None:
        if not file.size or file.projector:
            return None
        return _verdict(known, Subject(file.size, None, repo.context, parameters, repo.architecture))

    return verdict
