"""push, create, import, update: each a job of the same queue."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

from tui.cli.chat import read_options
from tui.cli.context import Context, wrong_usage
from tui.cli.output import DONE, FAILED, ask, emit, message, report
from tui.cli.pull import ASKED_BY, allow
from tui.cli.waiting import wait_for
from tui.core.capabilities import Capability
from tui.core.clock import SYSTEM
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import JobKind
from tui.core.names import normal, parse, same
from tui.providers.base import Provider
from tui.services.asks import OFFLINE
from tui.services.library.importing import Source, installed_base, look_at, may_be_path
from tui.services.library.keep_now import keep_version
from tui.text import clean_name

_FULL: Final = ("F16", "F32", "BF16", "")
"""What a server can quantize; empty where it does not say."""


async def push(context: Context) -> int:
    """Queue the upload of a model to its registry."""
    allow(context, "Pushing")
    provider, model = await context.with_model(context.args.model, context.args.on, alone=True)
    _able(provider, Capability.PUSH, "push models")
    if model.remote:
        raise PaddockError.of(f"{model.name} runs in a cloud: there is nothing to push", provider.endpoint.name, "Choose another model")
    arguments = {"insecure": True} if context.args.insecure else {}
    if context.offline and not context.json:
        message(f"The push of {normal(model.key)} waits: {OFFLINE}.")
    return await _queue(context, provider, JobKind.PUSH, normal(model.key), arguments)


async def create(context: Context) -> int:
    """Queue the making of a model from another one, or from a file."""
    allow(context, "Making a model")
    name, fields = _name(context.args.name), _fields(context)
    source = context.args.from_
    if may_be_path(source):
        return await _from_source(context, name, await look_at(source), fields)
    provider, model = await context.with_model(source, context.args.on, alone=True)
    _able(provider, Capability.CREATE, "make models")
    if model.remote:
        raise PaddockError.of(f"{model.name} runs in a cloud: nothing can be made from it", provider.endpoint.name, "Choose another model")
    quantize = fields.get("quantize")
    if quantize and model.quantization.upper() not in _FULL:
        what = f"{model.name} is quantized already ({clean_name(model.quantization)}): servers quantize F16, BF16 and F32 only"
        raise PaddockError.of(what, provider.endpoint.name, "Name a model with full weights, like an -fp16 tag", FailureKind.BAD_REQUEST)
    if not quantize and not fields and not same(name, model.key):
        raise PaddockError.of("Nothing would be different", "create", "Add --system, --option or -q, or use paddock cp", FailureKind.CONFIG)
    if not await _free(context, provider, name):
        return FAILED
    kind = JobKind.QUANTIZE if quantize else JobKind.CREATE
    return await _queue(context, provider, kind, name, {"from": model.key, **fields})


async def import_(context: Context) -> int:
    """Queue the upload of weights of this machine, and the making of a model from them."""
    allow(context, "Making a model")
    name = _name(context.args.name)
    return await _from_source(context, name, await look_at(context.args.path), _fields(context))


async def _from_source(context: Context, name: str, source: Source, fields: Mapping[str, Any]) -> int:
    provider = await maker(context)
    if source.base:
        installed_base(source, await provider.models(), provider.endpoint.name)
    if not await _free(context, provider, name):
        return FAILED
    if not context.json:
        files = [file for group in source.groups.values() for file in group]
        several = f"{len(files)} files" if len(files) > 1 else clean_name(files[0]) if files else f"made from {clean_name(source.base)}"
        sent = f", {context.size(source.size)}, sent to {clean_name(provider.endpoint.name)}" if files else ""
        message(f"{name}: {several}{sent}.")
        for note in source.notes:
            message(f"{note}.")
    return await _queue(context, provider, source.job, name, source.arguments(fields))


def _name(text: str) -> str:
    try:
        return str(parse(text))
    except PaddockError as error:
        raise wrong_usage(error) from None


def _fields(context: Context) -> dict[str, Any]:
    """What a create is given beside its source."""
    fields: dict[str, Any] = {}
    if context.args.system:
        fields["system"] = context.args.system
    if context.args.option:
        fields["parameters"] = read_options(context.args.option)
    if context.args.quantize:
        fields["quantize"] = context.args.quantize
    return fields


def _able(provider: Provider, capability: Capability, what: str) -> None:
    if capability not in provider.capabilities:
        name, kind = provider.endpoint.name, provider.endpoint.kind
        raise PaddockError.of(f"{name} cannot {what}", f"kind {kind}", "Choose another with --on", FailureKind.UNSUPPORTED)


async def maker(context: Context) -> Provider:
    """The server a new model goes to: the one named or the default, else the first that answers and can."""
    only, first = bool(context.args.on or context.settings.general.default_provider), None
    async with aclosing(context.answers(context.args.on)) as answers:
        async for provider, _ in answers:
            first = first or provider
            if Capability.CREATE in provider.capabilities:
                for failure in context.failed:
                    report(failure)
                return provider
            if only:
                break
    assert first is not None
    _able(first, Capability.CREATE, "make models")
    return first


async def _free(context: Context, provider: Provider, name: str) -> bool:
    """Whether a name may be used: one that is taken only after a yes; the model behind it is kept as an earlier version."""
    taken = next((model for model in await provider.models() if same(model.key, name)), None)
    if taken is None:
        return True
    keeps, server = Capability.COPY in provider.capabilities, clean_name(provider.endpoint.name)
    if not context.args.yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            what = f"There is a model named {name} already"
            raise PaddockError.of(what, server, "Choose another name, or add --yes", FailureKind.REFUSED)
        kept = " It is kept as an earlier version." if keeps else ""
        if not await ask(f"{name} on {server} is there already. Replace it?{kept}"):
            message("Nothing was made.")
            return False
    if keeps:
        await keep_version(provider, taken.key, SYSTEM)
    return True


async def _queue(context: Context, provider: Provider, kind: JobKind, name: str, arguments: Mapping[str, Any]) -> int:
    endpoint, jobs = context.endpoint_of(provider), context.jobs()
    with context.audit.noting(f"queue {kind.value}", f"{endpoint.name}/{name}", asked_by=ASKED_BY):
        job = await jobs.add(name, endpoint, kind, dict(arguments), ASKED_BY)
    if context.args.wait:
        return await wait_for(context, [job.id])
    if context.json:
        emit({"jobs": [job]})
    else:
        what = {JobKind.PUSH: "The push of ", JobKind.PULL: ""}.get(kind, "The making of ")
        message(f"{what}{job.model} is queued as {job.id} for {clean_name(endpoint.name)}; see paddock pulls.")
    return DONE
