"""Configuring, exporting, backing up and importing models."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui.core.capabilities import Capability
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.library import EventKind
from tui.core.models import ModelKey
from tui.core.observe import Observable
from tui.core.record import record
from tui.services.library.host import LibraryHost
from tui.services.library.part import Part

if TYPE_CHECKING:
    from tui.core.modelfile import Modelfile
    from tui.core.models import Model
    from tui.core.recipe import Recipe
    from tui.services.library.backup_form import Index
    from tui.services.library.events import Events
    from tui.services.library.importing import Source
    from tui.services.library.keeping import Keeping


@record(frozen=True)
class Progress:
    """A backup that is written or read: bytes of bytes in all, and what is done now, in words."""

    title: str
    done: int
    total: int
    what: str


@record(frozen=True)
class Opened:
    """A backup that was looked at; nothing of it was compared yet."""

    path: str
    index: Index


class Making(Part):
    """Makes models out of models and files, and files out of models.

    Attributes:
        made: What models are made of, or why that is not known; asked for by `look_into`.
        progress: The backup that is being written or restored; one at a time.
        ended: How many of them have ended, however they did.
        opened: The backup that was looked at last, or why it is none; None while it is read.
        source: What was found at the path that was looked at last, or why nothing; None while it is looked at.
        exported: Where the last export went.
    """

    def __init__(self, host: LibraryHost, keeping: Keeping, events: Events) -> None:
        super().__init__(host)
        self.made: Observable[Mapping[ModelKey, Modelfile | Failure]] = Observable({})
        self.progress: Observable[Progress | None] = Observable(None)
        self.ended: Observable[int] = Observable(0)
        self.opened: Observable[Opened | Failure | None] = Observable(None)
        self.source: Observable[Source | Failure | None] = Observable(None)
        self.exported: Observable[str] = Observable("")
        self._keeping = keeping
        self._events = events
        self._stop = threading.Event()

    async def aclose(self) -> None:
        """A backup that is being written is ended, and nothing of it stays."""
        self._stop.set()

    # --- configuring --------------------------------------------------------------------------------------------------

    def look_into(self, provider: str, model: str) -> None:
        """Ask what a model is made of; the answer comes in `made`."""
        self._host.post(self._look, provider, model)

    async def _look(self, provider: str, model: str) -> None:
        found: Modelfile | Failure
        try:
            found = await self._host.provider(provider).made_of(model)
        except PaddockError as error:
            found = error.failure
        self.made.set({**self.made.value, (provider, model): found})

    def configure(self, model: str, values: Mapping[str, Any]) -> None:
        """Save options of a model to the configuration: by their names, `keep_alive` among them; None takes one out."""
        self._host.post(self._configure, model, dict(values))

    async def _configure(self, model: str, values: dict[str, Any]) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.configuring import set_options

        self._changing("Configuring a model")
        config = self._host.config
        before = await in_daemon_thread(lambda: set_options(config, model, values))
        self._host.audit.write("configure", model, keys=", ".join(sorted(values)))
        self._host.say(f"{model} is configured for Paddock; z undoes it")

        async def undo() -> None:
            self._changing("Configuring a model")
            await in_daemon_thread(lambda: set_options(config, model, before))
            self._host.audit.write("configure back", model, keys=", ".join(sorted(before)))
            self._host.say(f"{model} is configured as before")

        self._keeping.push_undo(f"have {model} configured as before", undo)

    def bake(self, provider: str, model: str, name: str, old: Recipe, new: Recipe, *, replaces: bool = False) -> None:
        """Make a model that carries another configuration, or make this one anew; what the name stood for is kept as a version."""
        self._host.post(self._bake, provider, model, name, old, new, replaces)

    async def _bake(self, provider: str, model: str, name: str, old: Recipe, new: Recipe, replaces: bool) -> None:
        from tui.services.library.baking import Baked, bake

        self._able(provider, Capability.CREATE, f"Configuring {model}")
        host, done = self._host, list[Baked]()

        async def work() -> None:
            with host.audit.noting("configure", f"{provider}/{model}", to=name):
                done.append(await bake(host.provider(provider), model, name, old, new, host.clock, replaces=replaces))

        try:
            await host.activity(f"configuring {model}", provider, work)
        finally:
            host.watching.forget_details(provider)
            host.watching.refresh(provider)
            self.made.set({key: one for key, one in self.made.value.items() if key[0] != provider})
        if not done:
            return  # ended by esc, which said so
        baked = done[0]
        await self._events.note(provider, baked.name, EventKind.CONFIGURED, f"out of {model}", baked.digest)
        if baked.kept:
            self._keeping.push_undo(f"have {baked.name} as it was", self._back(provider, baked.kept))
            host.say(f"{baked.name} on {provider} is configured; the earlier version is kept, z brings it back")
        else:
            self._keeping.push_undo(f"delete {baked.name}", self._away(provider, baked.name))
            host.say(f"{baked.name} is made on {provider} from {model}; z undoes it")

    def _back(self, provider: str, kept: str) -> Callable[[], Any]:
        async def undo() -> None:
            self._keeping.bring_back(provider, kept)

        return undo

    def _away(self, provider: str, name: str) -> Callable[[], Any]:
        async def undo() -> None:
            if not self._keeping.has_trash(provider):
                text = f"Delete {name} on {provider} for good? There is no trash (models.trash)."
                if await self._host.ask(text, (("keep", "Keep it"), ("delete", "Delete"))) != "delete":
                    return
            self._keeping.delete(((provider, name),))

        return undo

    # --- exporting ----------------------------------------------------------------------------------------------------

    def export_modelfile(self, provider: str, model: str, path: str, *, overwrite: bool = False) -> None:
        """Write the Modelfile of a model to a file; where it went comes in `exported` and as a notice."""
        self._host.post(self._export_modelfile, provider, model, path, overwrite)

    async def _export_modelfile(self, provider: str, model: str, path: str, overwrite: bool) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.exporting import modelfile_text, write_text
        from tui.text import clean_name

        made = await self._host.provider(provider).made_of(model)
        text = modelfile_text(model, made)
        try:
            written = await in_daemon_thread(lambda: write_text(Path(path), text, overwrite=overwrite))
        except PaddockError as error:
            if error.failure.kind is not FailureKind.REFUSED or "already" not in error.failure.what:
                raise
            question = f"{error.failure.where} is there already. Replace it?"
            if await self._host.ask(question, (("keep", "Keep it"), ("replace", "Replace"))) != "replace":
                return
            written = await in_daemon_thread(lambda: write_text(Path(path), text, overwrite=True))
        self.exported.set(clean_name(str(written), 1000))
        self._host.say(f"The Modelfile of {model} is in {self.exported.value}")

    def find_weights(self, provider: str, model: str) -> None:
        """Say where the GGUF of a model lies on this machine; the path comes in `exported`."""
        self._host.post(self._find_weights, provider, model)

    async def _find_weights(self, provider: str, model: str) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.exporting import find_folder, weights_path
        from tui.text import clean_name

        host, connection = self._host, self._host.provider(provider)
        self.exported.set("")
        made = await connection.made_of(model)
        folder, _why = await find_folder(connection, host.settings(), host.environ)
        at = folder.path if folder is not None else None
        path = await in_daemon_thread(lambda: weights_path(connection.endpoint, made, host.settings(), at))
        self.exported.set(clean_name(str(path), 1000))
        host.say(f"The weights of {model} are {self.exported.value}; the file is the server's, copy it and leave it there")

    # --- backups ------------------------------------------------------------------------------------------------------

    def back_up(self, models: Sequence[ModelKey], path: str) -> None:
        """Write models and all configuration to a folder or a tar; `progress` tells how far."""
        self._host.post(self._counted, self._back_up, tuple(models), path)

    async def _back_up(self, models: Sequence[ModelKey], path: str) -> None:
        from tui import __version__
        from tui.core.threads import in_daemon_thread
        from tui.services.library.backing_up import collect
        from tui.services.library.backup_words import holds_key, saved_words
        from tui.services.library.backup_write import ToSave, configuration, write_backup
        from tui.text import clean_name

        host, target = self._host, Path(path)

        async def work(told: Callable[[int, int, str], None]) -> None:
            stop = self._stop
            found: list[ToSave] = []
            for provider in dict.fromkeys(provider for provider, _ in models):
                listed = await self._models(provider, [model for name, model in models if name == provider])
                found += await collect(host.provider(provider), listed, host.settings(), host.environ)
            with host.audit.noting("back up", clean_name(path, 1000)):
                config, left = await in_daemon_thread(lambda: configuration(host.paths))
                by, at = f"paddock {__version__}", host.clock.time()
                index = await in_daemon_thread(lambda: write_backup(target, found, config, at, by, progress=told, stopped=stop.is_set))
            self.exported.set(clean_name(str(target.expanduser().absolute()), 1000))
            key = " The configuration holds a key: keep it as private as that" if holds_key(host.settings()) else ""
            host.say(f"{saved_words(index, left, binary=self._binary)} It is {self.exported.value}.{key}".removesuffix("."))

        await self._long("backing up", work)

    async def _models(self, provider: str, keys: Sequence[str]) -> list[Model]:
        from tui.services.library.keep_now import find, gone

        listed = await self._host.provider(provider).models()
        found = []
        for key in keys:
            model = find(listed, key)
            if model is None:
                raise gone(key, provider)
            found.append(model)
        return found

    def open_backup(self, path: str) -> None:
        """Look what is in a backup; the answer comes in `opened`."""
        self.opened.set(None)
        self._host.post(self._open_backup, path)

    async def _open_backup(self, path: str) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.backup_read import archive_of, index_of

        try:
            index = await in_daemon_thread(lambda: index_of(archive_of(Path(path))))
        except PaddockError as error:
            self.opened.set(error.failure)
        else:
            self.opened.set(Opened(path, index))

    def restore(self, path: str, places: Mapping[ModelKey, str], *, config: bool = False) -> None:
        """Compare all of a backup with its digests, then make models of it again; a name that is taken is asked about.

        Args:
            path: The backup.
            places: On which server, by the server and the name that the backup has for a model.
            config: Restore the configuration, too.
        """
        self._host.post(self._counted, self._restore, path, dict(places), config)

    async def _restore(self, path: str, places: Mapping[ModelKey, str], config: bool) -> None:
        from tui.core.threads import in_daemon_thread
        from tui.services.library.backing_up import restore_configuration, restore_model
        from tui.services.library.backup_read import archive_of, index_of, verify
        from tui.services.library.keep_now import find

        host = self._host
        for provider in dict.fromkeys(places.values()):
            self._able(provider, Capability.CREATE, "Restoring models")
        self._changing("Restoring a backup", ("look", "use"))

        async def work(told: Callable[[int, int, str], None]) -> None:
            stop = self._stop
            archive = await in_daemon_thread(lambda: archive_of(Path(path)))
            index = await in_daemon_thread(lambda: index_of(archive))
            await in_daemon_thread(lambda: verify(archive, index, progress=told, stopped=stop.is_set))
            done: list[str] = []
            for saved in [one for one in index.models if (one.provider, one.name) in places]:
                provider = places[saved.provider, saved.name]
                connection, replaces = host.provider(provider), False
                if find(await connection.models(), saved.name) is not None:
                    text = f"{saved.name} is installed on {provider}. Replace it? What is there stays as an earlier version."
                    if await host.ask(text, (("keep", "Leave it"), ("replace", "Replace"))) != "replace":
                        continue
                    replaces = True
                with host.audit.noting("restore", f"{provider}/{saved.name}"):
                    scratch = host.paths.cache / "restoring"
                    kept = await restore_model(connection, archive, saved, scratch, host.clock, replaces=replaces, told=told)
                done.append(saved.name)
                await self._events.note(provider, saved.name, EventKind.RESTORED, "from a backup")
                if kept:
                    self._keeping.push_undo(f"have {saved.name} as it was", self._back(provider, kept))
            files: tuple[str, ...] = ()
            if config:
                with host.audit.noting("restore configuration", str(host.paths.config_file)):
                    at = host.clock.time()
                    files = await in_daemon_thread(lambda: restore_configuration(archive, index, host.paths.config_file, at))
                await in_daemon_thread(host.config.poll)
            parts = [*done, *(["the configuration"] if files else [])]
            host.say(f"Restored: {', '.join(parts)}" if parts else "Nothing was restored")

        try:
            await self._long("restoring", work)
        finally:
            for provider in dict.fromkeys(places.values()):
                host.watching.refresh(provider)

    async def _counted(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await work(*args)
        finally:
            self.ended.set(self.ended.value + 1)

    def stop(self) -> None:
        """End the backup that is written or restored."""
        self._stop.set()

    async def _long(self, title: str, work: Callable[[Callable[[int, int, str], None]], Coroutine[Any, Any, None]]) -> None:
        if self.progress.value is not None:
            raise PaddockError.of("A backup is being written or restored already", "", "Wait until it is done", FailureKind.BUSY)
        stop = self._stop = threading.Event()  # of its own: the thread of one that was ended may still be at its end
        self.progress.set(Progress(title, 0, 0, "looking at the models"))
        loop = asyncio.get_running_loop()

        def told(done: int, total: int, what: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody looks any more
                loop.call_soon_threadsafe(self._tell, Progress(title, done, total, what))

        try:
            await self._host.activity(title, "backup", lambda: work(told))
        finally:
            stop.set()  # a thread that still writes ends, and takes away what it wrote
            self.progress.set(None)

    def _tell(self, found: Progress) -> None:
        if self.progress.value is not None:
            self.progress.set(found)

    # --- importing ----------------------------------------------------------------------------------------------------

    def look_at(self, path: str) -> None:
        """Look what a path holds; the answer comes in `source`."""
        self.source.set(None)
        self._host.post(self._look_at, path)

    async def _look_at(self, path: str) -> None:
        from tui.services.library.importing import look_at

        try:
            found = await look_at(path)
        except PaddockError as error:
            self.source.set(error.failure)
        else:
            self.source.set(found)

    def make(self, provider: str, name: str, source: Source) -> None:
        """Queue the making of a model of what `look_at` found; a name that is taken is asked about, and kept as a version."""
        self._host.post(self._make, provider, name, source)

    async def _make(self, provider: str, name: str, source: Source) -> None:
        from tui.core.names import parse
        from tui.services.library.importing import installed_base
        from tui.services.library.keep_now import find, keep_version

        host, name = self._host, str(parse(name))
        self._able(provider, Capability.CREATE, f"Making {name}")
        state = host.watching.state(provider)
        assert state is not None  # `_able` knows it
        connection = host.provider(provider)
        models = await connection.models()
        installed_base(source, models, provider)
        there = find(models, name)
        if there is not None:
            text = f"{name} is installed on {provider}. Replace it? What is there stays as an earlier version."
            if await host.ask(text, (("keep", "Leave it"), ("replace", "Replace"))) != "replace":
                return
            await keep_version(connection, there.key, host.clock)
        with host.audit.noting(f"queue {source.job.value}", f"{provider}/{name}", asked_by="library"):
            await host.queue().add(name, state.endpoint, source.job, source.arguments(), "library")
        host.say(f"{name} is queued on {provider}; 4 Pulls shows how far")

    # --- help ---------------------------------------------------------------------------------------------------------

    @property
    def _binary(self) -> bool:
        return self._host.settings().appearance.units == "binary"

    def _able(self, provider: str, capability: Capability, what: str) -> None:
        if reason := self._host.watching.can(provider, capability):
            remedy = "Choose another provider, or change the setting"
            raise PaddockError.of(f"{what}: not done, {reason}", provider, remedy, FailureKind.REFUSED)

    def _changing(self, what: str, refused: tuple[str, ...] = ("look",)) -> None:
        access = self._host.settings().security.access
        if access in refused:
            raise PaddockError.of(f"{what} is refused", f"security.access = {access}", "Change security.access", FailureKind.REFUSED)
