"""ls, show, compare, pin, unpin: installed models in lists, in full, and side by side."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tui.cli.context import Context, Listed, wrong_usage
from tui.cli.details import details_of
from tui.cli.library_fits import verdicts
from tui.cli.library_origin import place_of
from tui.cli.models import loaded, when
from tui.cli.output import DASH, DONE, FAILED, block, emit, facts, line, message, plain, table, width
from tui.core.capabilities import ABILITY_WORDS, Ability, Capability
from tui.core.errors import Failure, PaddockError
from tui.core.filtering import Filter, Look, accepts, parameter_count, parse
from tui.core.library import ModelEvent, UpdateState
from tui.core.model_page import sections
from tui.core.models import Model, ModelDetail, ModelKey, RunningModel
from tui.core.monitor import Profile
from tui.core.names import same
from tui.core.record import record
from tui.services.asks import excluded
from tui.services.monitor.profile_words import cost, rate, speed
from tui.services.pins import pinned
from tui.text import clean_label, clean_name, duration, tokens

if TYPE_CHECKING:
    from tui.hardware.sample import Sample

_FITTING: Final = ("loaded", "good", "tight", "after unload")
_FIGURES: Final = ("size", "parameters", "context", "speed")
"""Columns that are figures."""
_LESS: Final = ("parameters", "changed", "quantization", "provider")
"""Columns that a narrow terminal does without, the first of them first."""


@record(frozen=True)
class Facts:
    """What is known beyond the servers' lists, by provider and exact name."""

    details: Mapping[ModelKey, ModelDetail]
    profiles: Mapping[ModelKey, Profile]
    updates: Mapping[ModelKey, UpdateState]
    running: frozenset[ModelKey]
    verdicts: Mapping[ModelKey, str]

    def detail(self, model: Model) -> ModelDetail | None:
        """What its server said of it."""
        return self.details.get((model.provider, model.key))

    def profile(self, model: Model) -> Profile | None:
        """How it did here."""
        return self.profiles.get((clean_name(model.provider), clean_name(model.key)))

    def abilities(self, model: Model) -> frozenset[Ability]:
        """What it can do."""
        known = self.detail(model)
        return model.abilities or (known.abilities if known is not None else frozenset())

    def context(self, model: Model) -> int | None:
        """Tokens it was trained for."""
        known = self.detail(model)
        return model.context or (known.context if known is not None else None)

    def fits(self, model: Model) -> str:
        """Its verdict; empty where none is known."""
        key = (model.provider, model.key)
        return self.verdicts.get(key) or ("loaded" if model.loaded or key in self.running else "")

    def update(self, model: Model) -> UpdateState | None:
        """What its registry had at the last look."""
        found = self.updates.get((model.provider, model.key))
        return found if found is not None and found.digest == model.digest else None


# --- ls --------------------------------------------------------------------------------------------------------------


async def ls(context: Context) -> int:
    """List installed models; 1 where a server that was asked did not answer."""
    args, settings = context.args, context.settings
    order = _order(args.sort)
    wanted = parse(settings.appearance.filters.get(args.filter, args.filter))
    async with _measured(context) as machine:
        everybody = await context.everybody(args.on)
        preferred = {name: rank for rank, name in reversed(list(enumerate(settings.models.preferred)))}
        models = [model for _, listed in everybody for model in listed if not excluded(model.name, settings)]
        models.sort(key=lambda model: preferred.get(model.name, len(preferred)))
        known = await _facts(context, everybody, models, wanted, order, machine)
    total = len(models)
    models = _sorted(list(filter(accepts(wanted, look(context, known)), models)), known, order, reverse=args.reverse)
    code = FAILED if context.failed else DONE
    if context.json:
        emit({"models": [_told(context, model, known) for model in models], "failures": context.failed})
        return code
    if not models:
        if total:
            message(f"None of {total} models is {clean_label(args.filter, 80)!r}.")
            return FAILED
        names = ", ".join(provider.endpoint.name for provider, _ in everybody)
        message(f"No models on {names}. Fetch one with paddock pull, as in qwen3:8b.")
        return code
    _table(context, models, known, order)
    return code


def _told(context: Context, model: Model, known: Facts) -> dict[str, Any]:
    """A model for JSON, with what is known of it beyond its server's list."""
    profile, state = known.profile(model), known.update(model)
    return {
        **plain(model),
        "context": known.context(model),
        "abilities": known.abilities(model),
        "fits": known.fits(model) or None,
        "pinned": pinned(context.settings, model.provider, model.name),
        "used": _used(known, model, time.time()),
        "speed": profile.rate if profile is not None else None,
        "update": state.status if state is not None else None,
    }


def _table(context: Context, models: Sequence[Model], known: Facts, order: str) -> None:
    now = time.time()
    more: dict[str, tuple[str, Callable[[Model], str]]] = {
        "context": ("CONTEXT", lambda model: tokens(known.context(model))),
        "speed": ("TOK/S", lambda model: rate(profile.rate) if (profile := known.profile(model)) is not None else DASH),
        "used": ("USED", lambda model: when(used) if (used := _used(known, model, now)) is not None else DASH),
    }
    columns: dict[str, tuple[str, Callable[[Model], str]]] = {
        "name": ("MODEL", lambda model: model.name),
        "provider": ("PROVIDER", lambda model: model.provider),
        "size": ("SIZE", lambda model: "cloud" if model.remote else context.size(model.size)),
        "parameters": ("PARAMETERS", lambda model: model.parameters or DASH),
        "quantization": ("QUANTIZATION", lambda model: model.quantization or DASH),
        "fits": ("FITS", lambda model: known.fits(model) or DASH),
        **({order: more[order]} if order in more else {}),
        "changed": ("CHANGED", lambda model: when(model.modified_at)),
    }
    cells = {name: [title, *(tell(model) for model in models)] for name, (title, tell) in columns.items()}
    shown = _shown(cells, order)
    rows = list(zip(*(cells[name] for name in shown), strict=True))
    table(rows[0], rows[1:], right=[at for at, name in enumerate(shown) if name in _FIGURES])


def _shown(cells: Mapping[str, Sequence[str]], order: str) -> list[str]:
    """The columns that a terminal has room for; all of them where it is none."""
    shown = list(cells)
    if not sys.stdout.isatty():
        return shown
    widths = {name: max(map(width, column)) for name, column in cells.items()}
    for name in (name for name in _LESS if name in shown and name != order):
        if sum(widths[one] + 2 for one in shown) - 2 <= shutil.get_terminal_size().columns:
            break
        shown.remove(name)
    return shown


def _used(known: Facts, model: Model, now: float) -> float | None:
    if (model.provider, model.key) in known.running or model.loaded:
        return now
    profile = known.profile(model)
    return profile.last_used if profile is not None else None


_ORDERS: Final[dict[str, tuple[Callable[[Facts, Model], Any], bool]]] = {
    "name": (lambda _known, model: model.name.casefold(), False),
    "provider": (lambda _known, model: model.provider.casefold(), False),
    "size": (lambda _known, model: model.size, True),
    "parameters": (lambda _known, model: parameter_count(model.parameters), True),
    "quantization": (lambda _known, model: model.quantization or None, False),
    "context": (lambda known, model: known.context(model), True),
    "changed": (lambda _known, model: model.modified_at, True),
    "used": (lambda known, model: _used(known, model, time.time()), True),
    "speed": (lambda known, model: profile.rate if (profile := known.profile(model)) is not None else None, True),
}
"""What `--sort` takes: the value, and whether the largest comes first."""


def _order(text: str) -> str:
    if not text:
        return ""
    found = [name for name in _ORDERS if name.startswith(text.lower())]
    if len(found) != 1 and text.lower() not in _ORDERS:
        raise wrong_usage(PaddockError.of(f"There is no order {clean_name(text, 40)}", "--sort", f"Give one of {', '.join(_ORDERS)}"))
    return text.lower() if text.lower() in _ORDERS else found[0]


def _sorted(models: list[Model], known: Facts, order: str, *, reverse: bool) -> list[Model]:
    if not order:
        return models[::-1] if reverse else models
    pick, falling = _ORDERS[order]
    values = {id(model): pick(known, model) for model in models}
    there = sorted((model for model in models if values[id(model)] is not None), key=lambda m: values[id(m)], reverse=falling != reverse)
    return there + [model for model in models if values[id(model)] is None]


def look(context: Context, known: Facts) -> Look[Model]:
    """How the filter sees an installed model."""
    settings = context.settings

    def parameters(model: Model) -> tuple[float, ...]:
        count = parameter_count(model.parameters)
        return () if count is None else (count,)

    return Look(
        text=lambda model: f"{model.name} {model.provider} {model.quantization} {model.family} {model.parameters}",
        sizes=lambda model: () if model.size is None else (model.size,),
        parameters=parameters,
        contexts=lambda model: () if (tokens_ := known.context(model)) is None else (tokens_,),
        abilities=known.abilities,
        on=lambda model: model.provider,
        quants=lambda model: (model.quantization,),
        licence=lambda model: detail.licence if (detail := known.detail(model)) is not None else "",
        fits=lambda model: known.verdicts.get((model.provider, model.key), "") in _FITTING,
        loaded=lambda model: model.loaded or (model.provider, model.key) in known.running,
        pinned=lambda model: pinned(settings, model.provider, model.name),
        update=lambda model: (state := known.update(model)) is not None and state.newer,
    )


# --- what must be asked for ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _measured(context: Context) -> AsyncIterator[asyncio.Task[Sample | None]]:
    """This machine's memory, measured while the servers are asked."""
    from tui.cli.monitoring import glance

    task = asyncio.ensure_future(glance(context))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _facts(
    context: Context,
    everybody: Sequence[Listed],
    models: Sequence[Model],
    wanted: Filter,
    order: str,
    machine: asyncio.Task[Sample | None],
) -> Facts:
    """Ask for what filter and order need, and what is in memory: what fits is else told by size and number of weights alone."""
    states = {term.text for term in wanted.terms if term.kind == "state"}
    kinds = {term.kind for term in wanted.terms}
    details: dict[ModelKey, ModelDetail] = {}
    if kinds & {"ability", "can", "context", "licence"} or "fits" in states or order == "context":
        unknown = [m for m in models if "licence" in kinds or "fits" in states or not (m.abilities and m.context)]
        able = {one.provider.endpoint.name: one.provider for one in everybody if Capability.SHOW in one.provider.capabilities}
        details = await details_of((able[model.provider], model) for model in unknown if model.provider in able)
    running = await _running(everybody)
    profiles: Mapping[ModelKey, Profile] = {}
    updates: Mapping[ModelKey, UpdateState] = {}
    if (context.json or order in ("used", "speed") or "update" in states) and context.paths.database.exists():
        from tui.store.measurements import Measurements
        from tui.store.update_states import UpdateStates

        with contextlib.suppress(PaddockError):
            database = context.database(write=False)
            profiles, updates = await Measurements(database).profiles(), UpdateStates(database).all()
    sample, asked, found = await machine, "fits" in states, dict[ModelKey, str]()
    if sample is not None or asked:
        found = await verdicts(context, [listed.provider for listed in everybody], models, details, running, sample, say=asked)
    return Facts(details, profiles, updates, _keys(running), found)


async def _running(everybody: Sequence[Listed]) -> dict[str, Sequence[RunningModel]]:
    """What each server has in memory; nothing of one that does not say."""
    answers = await asyncio.gather(*(loaded(listed) for listed in everybody))
    pairs = zip(everybody, answers, strict=True)
    return {listed.provider.endpoint.name: () if isinstance(answer, Failure) else answer for listed, answer in pairs}


def _keys(running: Mapping[str, Sequence[RunningModel]]) -> frozenset[ModelKey]:
    return frozenset((one.provider, one.key) for there in running.values() for one in there)


# --- show ------------------------------------------------------------------------------------------------------------


async def show(context: Context) -> int:
    """Tell everything about one model."""
    provider, model = await context.with_model(context.args.model, context.args.on)
    detail = await provider.show(model.key)
    profile, events, update = _kept(context, model, provider.endpoint.url)
    place = await place_of(context, provider, model, detail, events, update)
    if context.json:
        told = {key: value for key, value in plain(detail).items() if value not in (None, "")}
        here = {"profile": profile if profile.answers else None, "history": events, "update": update, **place.told()}
        emit({**plain(model), **told, **here})
        return DONE
    binary = context.settings.appearance.units == "binary"
    is_pinned = pinned(context.settings, model.provider, model.name)
    rows = (
        *place.rows(events, binary=binary),
        ("here", speed(profile)), ("", cost(profile, binary=binary)),
        ("pinned", "never updated, never unloaded for room" if is_pinned else ""),
        ("update", _news(context, update)),
    )  # fmt: skip
    model_rows, *others = sections(model, detail, binary=binary)
    facts([*model_rows.rows, *rows])
    for section in others:
        if section.title == "Modelfile":
            continue  # all of it stands above; paddock export prints it
        line()
        line(f"{section.title}:")
        if section.rows:
            facts(section.rows)
        else:
            block(section.text)
    if events:
        line()
        line("history:")
        facts([(time.strftime("%Y-%m-%d %H:%M", time.localtime(event.at)), f"{event.kind.value} {event.text}".strip()) for event in events])
    return DONE


def _news(context: Context, update: UpdateState | None) -> str:
    if update is None:
        return ""
    looked = f", looked {duration(max(0.0, time.time() - update.checked_at))} ago"
    fetch = f", {context.size(update.fetch)} to fetch" if update.newer and update.fetch is not None else ""
    return f"{update.status.value}{fetch}{looked}"


def _kept(context: Context, model: Model, url: str) -> tuple[Profile, tuple[ModelEvent, ...], UpdateState | None]:
    """How it did here and what happened to it; nothing where nothing was noted, or the database cannot be read."""
    if not context.paths.database.exists():
        return Profile(), (), None
    from tui.services.library.events import history_of
    from tui.store.history import History
    from tui.store.measurements import Measurements
    from tui.store.model_events import ModelEvents
    from tui.store.update_states import UpdateStates

    with contextlib.suppress(PaddockError):
        database = context.database(write=False)
        events = history_of(History(database), ModelEvents(database), model.provider, url, model.key)
        update = UpdateStates(database).all().get((model.provider, model.key))
        current = update if update is not None and update.digest == model.digest else None
        return Measurements(database).profile(model.provider, model.key), events, current
    return Profile(), (), None


# --- compare ---------------------------------------------------------------------------------------------------------


async def compare(context: Context) -> int:
    """Tell two to four models side by side."""
    names = context.args.models
    if not 2 <= len(names) <= 4:
        raise wrong_usage(PaddockError.of("Two to four models are compared", "paddock compare", "Name them"))
    models, details, kept, servers = [], [], [], {}
    for name in names:
        provider, model = await context.with_model(name, context.args.on)
        servers[provider.endpoint.name] = Listed(provider, ())
        models.append(model)
        details.append(await provider.show(model.key) if Capability.SHOW in provider.capabilities else None)
        kept.append(_kept(context, model, provider.endpoint.url))
    running = await _running(tuple(servers.values()))
    known = {(model.provider, model.key): detail for model, detail in zip(models, details, strict=True) if detail is not None}
    fits = await verdicts(context, [listed.provider for listed in servers.values()], models, known, running)
    told = list(zip(models, details, kept, (fits.get((model.provider, model.key), "") for model in models), strict=True))
    if context.json:
        emit(
            [{"model": m, "detail": d, "profile": k[0] if k[0].answers else None, "update": k[2], "fits": f or None} for m, d, k, f in told]
        )
        return DONE
    sets = [{**_lines(context, m, d, k[0]), "fits at 8k": f or DASH, "update": _news(context, k[2]) or DASH} for m, d, k, f in told]
    rows = [(title, *(one[title] for one in sets)) for title in sets[0] if any(one[title] not in ("", DASH) for one in sets)]
    table(("", *(model.name for model in models), ""), [(*row, "" if len(set(row[1:])) == 1 else "differs") for row in rows])
    return DONE


def _lines(context: Context, model: Model, detail: ModelDetail | None, profile: Profile) -> dict[str, str]:
    known = detail or ModelDetail(model.provider, model.name)
    abilities = known.abilities or model.abilities
    licence = next((one.strip() for one in known.licence[:4000].splitlines() if one.strip()), DASH)
    return {
        "provider": model.provider,
        "size": context.size(model.size),
        "parameters": model.parameters or known.parameters or DASH,
        "quantization": model.quantization or known.quantization or DASH,
        "family": model.family or known.family or DASH,
        "context": tokens(model.context or known.context),
        "can": " ".join(word for ability, word in ABILITY_WORDS.items() if ability in abilities) or DASH,
        "licence": clean_label(licence, 30),
        "tok/s here": rate(profile.rate),
        "first token": duration(profile.first_token),
        "loads in": duration(profile.load_seconds),
        "answers": str(profile.answers) if profile.answers else DASH,
        "changed": when(model.modified_at),
        "digest": model.digest[:12] or DASH,
    }


# --- pins ------------------------------------------------------------------------------------------------------------


async def pin(context: Context) -> int:
    """Never update these models by themselves, and never unload them for room."""
    context.allow("Pinning")
    pins = list(context.settings.models.pinned)
    for name in context.args.models:
        provider, model = await context.with_model(name, context.args.on)
        if not pinned(context.settings, model.provider, model.name):
            pins.append(f"{provider.endpoint.name}/{model.key}" if context.args.on else model.key)
    _save(context, list(dict.fromkeys(pins)))
    return DONE


async def unpin(context: Context) -> int:
    """Take models, installed or not, out of `models.pinned`; 1 where none of them is in it."""
    context.allow("Unpinning")
    pins = list(context.settings.models.pinned)
    names = context.args.models
    left = [pin for pin in pins if not any(same(pin, name) or same(pin.partition("/")[2] or pin, name) for name in names)]
    if left == pins:
        message(f"{clean_name(', '.join(names), 80)} is not in models.pinned.")
        return FAILED
    _save(context, left)
    return DONE


def _save(context: Context, pins: list[str]) -> None:
    note = context.config.set("models.pinned", pins)
    context.audit.write("pinned", ", ".join(pins) or "none")
    if context.json:
        emit({"ok": True, "command": context.args.command, "pinned": pins})
    if note or not context.json:
        message(note or f"Pinned: {clean_label(', '.join(pins), 400) or 'nothing'}.")
