"""outdated, update: what the registries have that is newer, by the same radar as the Library's."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tui.cli.context import Context
from tui.cli.output import DASH, DONE, FAILED, REFUSED, USAGE, cut, emit, message, plain, report, table
from tui.cli.planning import look, read_queue
from tui.cli.pull import UPDATE, Order, allow, run, show_plans
from tui.cli.waiting import worse
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.library import UpdateState, UpdateStatus
from tui.core.models import Model, ModelKey
from tui.core.names import normal
from tui.providers.base import Provider
from tui.services.library.updates_look import Radar
from tui.services.library.updates_past import Past
from tui.services.pins import pinned
from tui.services.plan import Planner
from tui.services.wishes import Wanted
from tui.text import clean_name, duration

_HEAD: Final = ("MODEL", "PROVIDER", "UPDATE", "FETCH", "PUSHED", "CHANGES")
_RIGHT: Final = (3,)
Chosen = list[tuple[Provider, Model]]
Found = list[tuple[Provider, Model, UpdateState]]


async def outdated(context: Context) -> int:
    """Ask the registries now, and list what is newer; `--all` lists everything that was asked about."""
    _online(context)
    if context.settings.general.network == "metered" and not context.args.yes:
        where = "general.network = metered"
        raise PaddockError.of("The registries are not asked on a metered network", where, "Add --yes: some KB in all", FailureKind.REFUSED)
    chosen, code = await _chosen(context, context.args.models)
    found = await _radar(context, chosen)
    if any(state.status is UpdateStatus.UNKNOWN for _provider, _model, state in found):
        code = worse(code, FAILED)
    if context.json:
        emit({"updates": [_shown(*one) for one in found]})
        return code
    shown = [one for one in found if context.args.all or one[2].newer or one[2].status is UpdateStatus.UNKNOWN]
    for one in shown:
        if one[2].status is UpdateStatus.UNKNOWN and not context.args.all:
            _say_unknown(*one)
    rows = [_row(context, *one) for one in shown if context.args.all or one[2].newer]
    if rows:
        table(_HEAD, rows, _RIGHT)
    newer = sum(1 for one in found if one[2].newer)
    message(f"{newer} of {len(found)} models {'has' if newer == 1 else 'have'} something newer.")
    return code


async def update(context: Context) -> int:
    """Queue the pull of newer versions: of the models named, or of all that their registry has newer."""
    if not context.args.dry_run:
        allow(context)
    if bool(context.args.models) == context.args.all:
        message("Which one? paddock update MODEL…, or paddock update --all.")
        return USAGE
    _online(context)
    chosen, code = await _chosen(context, context.args.models)
    if not context.args.all:
        _refuse_pinned(context, chosen)
    else:
        chosen = _unpinned(context, chosen)
    newer: Chosen = []
    current: list[Model] = []
    for provider, model, state in await _radar(context, chosen):
        unreachable = state.status is UpdateStatus.UNKNOWN
        if state.newer or (unreachable and not context.args.all):  # the server may reach what we cannot
            newer.append((provider, model))
        elif state.status is UpdateStatus.CURRENT:
            current.append(model)
        elif unreachable:
            _say_unknown(provider, model, state)
            code = worse(code, FAILED)
        elif not context.args.all:
            code = worse(code, report(_own(provider, model)))
    return await _queue(context, newer, current, code)


def _online(context: Context) -> None:
    if context.offline and not context.options.demo:
        where = "general.network = offline"
        raise PaddockError.of("It cannot be asked what is newer", where, "Change general.network", FailureKind.REFUSED)


async def _chosen(context: Context, names: Sequence[str]) -> tuple[Chosen, int]:
    if names:
        found: Chosen = []
        for name in names:
            provider, model = await context.with_model(name, context.args.on, alone=True)
            if Capability.PULL not in provider.capabilities:
                what = f"{clean_name(provider.endpoint.name)} cannot fetch models"
                raise PaddockError.of(what, f"kind {provider.endpoint.kind}", "Choose another with --on", FailureKind.UNSUPPORTED)
            if model.remote:
                raise PaddockError.of(f"{model.name} runs in a cloud: there is nothing to update", provider.endpoint.name, "Name another")
            found.append((provider, model))
        return found, DONE
    everybody = await context.everybody(context.args.on)
    able = [listed for listed in everybody if Capability.PULL in listed.provider.capabilities]
    return [(one.provider, model) for one in able for model in one.models if not model.remote], FAILED if context.failed else DONE


def _pasts(context: Context, chosen: Chosen) -> Callable[[Model], Awaitable[Past]]:
    """What the database tells of models; nothing where there is none, or it cannot be read."""
    urls = {provider.endpoint.name: provider.endpoint.url for provider, _model in chosen}
    states: dict[ModelKey, UpdateState] | None = None

    async def past(model: Model) -> Past:
        nonlocal states
        if not context.paths.database.exists():
            return Past()
        from tui.services.library.events import history_of
        from tui.store.history import History
        from tui.store.model_events import ModelEvents
        from tui.store.update_states import UpdateStates

        try:
            database = context.database()
            states = UpdateStates(database).all() if states is None else states
            events = history_of(History(database), ModelEvents(database), model.provider, urls[model.provider], model.key)
        except PaddockError:
            return Past()
        return Past(states.get((model.provider, model.key)), events)

    return past


async def _radar(context: Context, chosen: Chosen) -> Found:
    """What the registries have, in the order asked for; kept for the app where there is a database."""
    planner = Planner(lambda: context.settings, os.environ, demo=context.options.demo)
    radar, found = Radar(planner, SYSTEM, _pasts(context, chosen), demo=context.options.demo), {}
    async for provider, model, state in radar.look(chosen):
        found[provider.endpoint.name, model.key] = (provider, model, state)
    if found and context.paths.database.exists():
        from tui.store.update_states import UpdateStates

        database = context.database()
        if not database.read_only:
            await UpdateStates(database).put({key: state for key, (_provider, _model, state) in found.items()})
    order = [(provider.endpoint.name, model.key) for provider, model in chosen]
    return [found[key] for key in order if key in found]


def _refuse_pinned(context: Context, chosen: Chosen) -> None:
    for provider, model in chosen:
        if pinned(context.settings, provider.endpoint.name, model.name):
            remedy = "Take it out of models.pinned, then update it"
            raise PaddockError.of(f"{model.name} is pinned: it is never updated", "models.pinned", remedy, FailureKind.REFUSED)


def _unpinned(context: Context, chosen: Chosen) -> Chosen:
    """Those that `models.pinned` does not name; the others are said."""
    kept = [model.name for provider, model in chosen if pinned(context.settings, provider.endpoint.name, model.name)]
    if kept:
        message(f"Not looked at, because models.pinned names {'it' if len(kept) == 1 else 'them'}: {', '.join(dict.fromkeys(kept))}.")
    return [(provider, model) for provider, model in chosen if not pinned(context.settings, provider.endpoint.name, model.name)]


def _own(provider: Provider, model: Model) -> Failure:
    what = f"Its registry has no {model.name}: it was made here, or withdrawn there"
    return Failure(what, clean_name(provider.endpoint.name), "Keep it as it is", FailureKind.NOT_FOUND)


def _say_unknown(provider: Provider, model: Model, state: UpdateState) -> None:
    why = f": {state.failure.sentence()}" if state.failure is not None else ""
    message(f"{model.name} on {clean_name(provider.endpoint.name)}: it is not known whether there is a newer one{why}.")


async def _queue(context: Context, newer: Chosen, current: list[Model], code: int) -> int:
    if not context.json:
        if context.args.models:
            for model in current:
                message(f"{model.name} is the newest already.")
        elif not newer:
            message(f"Nothing to update: {len(current)} model{'s are' if len(current) != 1 else ' is'} the newest already.")
    if not newer:
        if context.json:
            emit({"jobs": [], "refused": [], "plans": [], "current": [model.name for model in current]})
        return code
    pairs = [(Wanted(model.key, normal(model.key)), provider) for provider, model in newer]
    found = await look(context, pairs, read_queue(context, write=not context.args.dry_run))
    if context.args.dry_run:
        return show_plans(context, found, code)
    refused = [one for one in found if one.failure is not None]
    for one in refused:
        assert one.failure is not None
        code = worse(code, worse(REFUSED if one.failure.kind is FailureKind.REFUSED else FAILED, report(one.failure)))
    good = [one for one in found if one.failure is None]
    if not good:
        return code
    order = Order(asked_by=UPDATE, yes=context.args.yes, keep_changes=True)
    return await run(context, good, order, code, wait=context.args.wait)


def _row(context: Context, provider: Provider, model: Model, state: UpdateState) -> tuple[str, ...]:
    ago = max(0.0, time.time() - state.pushed_at) if state.pushed_at is not None else None
    fetch = context.size(state.fetch) if state.fetch is not None else DASH
    pushed = f"{duration(ago)} ago" if ago is not None else DASH
    return (model.name, clean_name(provider.endpoint.name), str(state.status), fetch, pushed, cut("; ".join(state.changes) or DASH, 60))


def _shown(provider: Provider, model: Model, state: UpdateState) -> dict[str, object]:
    return {"provider": clean_name(provider.endpoint.name), "model": model.name, **plain(state)}
