"""The verbs of the queue as screens call them: allowed or refused, asked where a yes is needed, and noted in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tui.config.settings import Settings
from tui.core.capabilities import Capability
from tui.core.errors import FailureKind, PaddockError
from tui.core.jobs import Ask, JobKind, PastJob, QueueView, Wait
from tui.core.models import ProviderState
from tui.core.names import parse
from tui.core.observe import Observable
from tui.services.api import Preview, PreviewKey
from tui.services.asks import OFFLINE, asks_before, question
from tui.services.audit import Audit
from tui.services.limits import FOR_PULL
from tui.services.notices import Notices
from tui.services.previews import Previews

if TYPE_CHECKING:
    from tui.config.store import ConfigStore
    from tui.services.jobs import Jobs
    from tui.services.limits import Limits
    from tui.services.registry import Registry


class VerbHost(Protocol):
    """What the verbs need of the hub."""

    audit: Audit
    said: Notices
    watching: Registry
    config: ConfigStore
    previewing: Previews
    limits: Limits

    def settings(self) -> Settings:
        """The running settings."""
        ...

    def queue(self) -> Jobs:
        """The queue; raises where the database is not open."""
        ...

    def post(self, made: Callable[..., Any], *args: Any) -> None:
        """Run a coroutine function on the engine."""


class JobVerbs:
    """`api.JobsApi` over the queue; callable from any thread."""

    def __init__(self, host: VerbHost) -> None:
        self.view: Observable[QueueView] = Observable(QueueView())
        self.past: Observable[tuple[PastJob, ...]] = Observable(())
        self.previews: Observable[Mapping[PreviewKey, Preview]] = host.previewing.found
        self._host = host

    # --- adding -------------------------------------------------------------------------------------------------------

    def add(
        self,
        model: str,
        provider: str = "",
        *,
        insecure: bool = False,
        asked_by: str = "",
        allowed: Iterable[Ask] = (),
        warm_up: bool = False,
        after: int = 0,
        not_before: float | None = None,
        limit: int | None = None,
        keep_changes: bool = False,
    ) -> None:
        """Queue a pull on a provider (empty: the default). What needs a yes and has none in `allowed` becomes a question first."""
        given = {"insecure": insecure, "warm_up": warm_up, "keep_changes": keep_changes}
        arguments = {name: True for name, on in given.items() if on}
        more = {"after": after, "not_before": not_before, "limit": limit}
        self._host.post(self._add, model, provider, arguments, asked_by, frozenset(allowed), more)

    async def _add(
        self,
        model: str,
        provider: str,
        arguments: dict[str, Any],
        asked_by: str,
        allowed: frozenset[Ask],
        more: Mapping[str, Any],
    ) -> None:
        host = self._host
        self._allow("Pulling")
        name = str(parse(model))
        state = self._server(provider, name, Capability.PULL)
        preview = host.previewing.fresh(name, state.name)
        if preview is not None and preview.failure is not None:
            raise PaddockError(preview.failure)
        plan = preview.plan if preview is not None else None
        asks = asks_before(host.settings(), name, plan.total if plan is not None else None) - allowed
        if asks:
            text = question(host.settings(), name, plan.total if plan is not None else None, asks)
            if await host.said.ask(text, (("keep", "Not now"), ("pull", "Pull"))) != "pull":
                return
            allowed |= asks
        ask, notice = host.said.ask, host.said.say
        refused = await host.limits.allow(state.name, 0, model=name, what="queued", only=FOR_PULL, ask=ask, notice=notice)
        if refused is not None:
            raise PaddockError(refused)
        if host.limits.said_yes(state.name, FOR_PULL):
            allowed |= {Ask.LIMITS}  # the worker would ask again
        with host.audit.noting("queue pull", f"{state.name}/{name}", asked_by=asked_by):
            await host.queue().add(name, state.endpoint, arguments=arguments, asked_by=asked_by, allowed=allowed, **more)
        host.said.say(f"{name} is queued on {state.name}{self._offline()}")

    def _offline(self) -> str:
        return f"; it waits: {OFFLINE}" if self._host.settings().general.network == "offline" else ""

    def push(self, model: str, provider: str, *, insecure: bool = False, asked_by: str = "") -> None:
        """Queue an upload of a model to its registry."""

        async def work() -> None:
            host = self._host
            self._allow("Pushing")
            name = str(parse(model))
            state = self._server(provider, name, Capability.PUSH)
            with host.audit.noting("queue push", f"{state.name}/{name}", asked_by=asked_by):
                await host.queue().add(name, state.endpoint, JobKind.PUSH, {"insecure": True} if insecure else {}, asked_by)
            host.said.say(f"The push of {name} is queued on {state.name}{self._offline()}")

        self._host.post(work)

    def _server(self, provider: str, name: str, capability: Capability) -> ProviderState:
        registry = self._host.watching
        state = registry.state(provider) if provider else registry.default()
        verb = "pulled" if capability is Capability.PULL else "pushed" if capability is Capability.PUSH else "changed"
        if state is None:
            raise PaddockError.of(f"{name} is not {verb}: there is no server", "providers", "Add one on Providers", FailureKind.NOT_FOUND)
        reason = registry.can(state.name, capability)
        if reason and reason != OFFLINE:
            remedy = "Choose another server, or change the setting"
            raise PaddockError.of(f"{name} is not {verb}: {reason}", state.name, remedy, FailureKind.REFUSED)
        return state

    def preview(self, model: str, provider: str, *, insecure: bool = False) -> None:
        """Find out what a pull would mean; the answer comes in `previews`, and is kept for a minute."""
        self._host.post(self._host.previewing.look, model, provider, insecure)

    # --- wishes -------------------------------------------------------------------------------------------------------

    def _allow(self, what: str) -> None:
        access = self._host.settings().security.access
        if access != "full":
            raise PaddockError.of(f"{what} is refused", f"security.access = {access}", "Change security.access", FailureKind.REFUSED)

    def _wish(self, verb: str, *args: Any) -> None:
        async def work() -> None:
            self._allow("Changing the queue")
            with self._host.audit.noting(f"{verb} pull", " ".join(str(word) for word in _flat(args))):
                await getattr(self._host.queue(), verb)(*args)

        self._host.post(work)

    def pause(self, ids: Sequence[int]) -> None:
        """Wish: paused; bytes are kept."""
        self._wish("pause", tuple(ids))

    def resume(self, ids: Sequence[int]) -> None:
        """Wish: run; a job that waits for a yes gets it."""
        asking = tuple(job.id for job in self.view.value.jobs if job.id in ids and job.wait is Wait.ANSWER)
        if asking:
            self._wish("allow", asking)
        self._wish("resume", tuple(ids))

    def cancel(self, ids: Sequence[int]) -> None:
        """Wish: cancelled."""
        self._wish("cancel", tuple(ids))

    def retry(self, ids: Sequence[int]) -> None:
        """Run failed or cancelled ones again, and at once those that wait for a retry."""
        self._wish("retry", tuple(ids))

    def move(self, ids: Sequence[int], where: str) -> None:
        """`up`, `down` or `first`."""
        self._wish("move", tuple(ids), where)

    def remove(self, ids: Sequence[int]) -> None:
        """Drop ended ones from the list; the history keeps them."""
        self._wish("remove", tuple(ids))

    def limit(self, ids: Sequence[int], bytes_a_second: int | None) -> None:
        """Limit these jobs, each for itself; None lifts it."""
        self._wish("limit", tuple(ids), bytes_a_second)

    def limit_queue(self, bytes_a_second: int | None) -> None:
        """Limit all of them together: sets `pulls.bandwidth`."""

        async def work() -> None:
            self._allow("Changing the queue")
            if bytes_a_second is None:
                self._host.config.unset("pulls.bandwidth")
            else:
                self._host.config.set("pulls.bandwidth", bytes_a_second)

        self._host.post(work)

    def start_at(self, ids: Sequence[int], at: float | None) -> None:
        """Have them wait until a time (epoch seconds); None for at once."""
        self._wish("start_at", tuple(ids), at)

    def chain(self, ids: Sequence[int], after: int) -> None:
        """Have them wait until another has ended; 0 for none."""
        self._wish("chain", tuple(ids), after)

    def warm_up(self, ids: Sequence[int], on: bool) -> None:
        """Have these models loaded once they are there, or not."""
        self._wish("warm_up", tuple(ids), on)

    def apply_changes(self, job: int) -> None:
        """Apply again what an update replaced: a create from `Job.changes`."""
        self._wish("apply_changes", job)

    def forget_changes(self, job: int) -> None:
        """Do not offer that any more."""
        self._wish("forget_changes", job)

    def search_past(self, text: str = "") -> None:
        """Look through the history; the answer comes in `past`."""

        async def work() -> None:
            self.past.set(self._host.queue().past(text))

        self._host.post(work)


def _flat(args: Iterable[Any]) -> Iterator[Any]:
    for one in args:
        if isinstance(one, tuple):
            yield from one
        else:
            yield one
