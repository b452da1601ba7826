"""Holds the settings in force, follows the file, and saves single changes to it."""

from __future__ import annotations

import contextlib
import copy
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tui.config import files, schema
from tui.config.document import UNSET, Path, SyntaxProblem, edit, find_line, parse, put, value_at
from tui.config.example import render_example
from tui.config.paths import Paths
from tui.config.problems import Problem
from tui.config.schema import FieldInfo
from tui.config.settings import PROVIDER_NAME, Settings, build
from tui.core.errors import FailureKind, PaddockError
from tui.core.observe import Observable
from tui.text import clean_label, clean_name

Edit = tuple[Path, Any]
_OPTIONS: Final = (("chat", "options"), ("chat", "presets"), ("models", "options"))
SOURCES: Final = ("default", "file", "unsaved", "environment", "flag")
"""What `ConfigStore.source` answers; a later one wins."""


class ConfigStore:
    """The configuration of one process; safe to call from any thread.

    Bad settings never raise here: each bad key counts as its default and is listed in `problems`.

    Args:
        paths: Where the file is.
        environ: `os.environ` where not given.
        overrides: Of the command line, by dotted key, as text or values.

    Raises:
        PaddockError: An override is wrong; nothing else.
    """

    def __init__(self, paths: Paths, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None) -> None:
        self.paths = paths
        self._lock = threading.RLock()
        self._environ = dict(os.environ if environ is None else environ)
        self._flags: dict[str, Any] = {}
        for key, value in (overrides or {}).items():
            path = schema.split_key(key)
            put(self._flags, path, schema.raw_value(path, value))
        self._file = files.FileText(None)
        self._raw: dict[str, Any] = {}
        self._layer: dict[str, Any] = {}
        self._unsaved: dict[Path, Any] = {}
        self._file_problems: tuple[Problem, ...] = ()
        self._refused: Problem | None = None
        self._environment: dict[str, Any] = {}
        self._variables: dict[Path, str] = {}
        self.current: Observable[Settings] = Observable(build())
        self.problems: Observable[tuple[Problem, ...]] = Observable(())
        self._load(files.read(paths.config_file), keep=False)

    # --- reading -----------------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Look whether the file was edited and apply it; what is wrong in it keeps its running value.

        Returns:
            Whether the file had changed.
        """
        if files.stamp(self.paths.config_file) == self._file.stamp:
            return False
        with self._lock:
            found = files.read(self.paths.config_file)
            if found.digest == self._file.digest and found.refused == self._file.refused and found.mode == self._file.mode:
                self._file = found
                return False
            self._load(found, keep=True)
            return True

    def _load(self, found: files.FileText, *, keep: bool) -> None:
        self._file = found
        name = clean_name(str(self.paths.config_file))
        if found.refused:
            self._refuse(
                name, found.line, f"the file is not used: {found.refused}", "Put a readable TOML file there, or move it away", keep
            )
            return
        text = found.text or ""
        try:
            raw = parse(text)
        except SyntaxProblem as error:
            self._refuse(
                name, error.line, clean_label(error.what), "Correct this line; until then the file is not changed by Paddock", keep
            )
            return
        problems: list[Problem] = []
        bad: list[Path] = []

        def report(path: Path, what: str, remedy: str) -> None:
            bad.append(path)
            warning = what.startswith("unknown key")
            problems.append(Problem(name, find_line(text, path), clean_name(".".join(path), 120), what, remedy, warning))

        layer = schema.check(raw, report)
        if keep:
            for path in bad:
                before = value_at(self._layer, path)
                if before is not UNSET and value_at(raw, path) is not UNSET:
                    put(layer, path, before)
        problems += self._checked_commands(layer, name, text)
        self._raw, self._layer, self._refused = raw, layer, None
        self._file_problems = (*problems, *self._warnings(name, text))
        self._apply()

    def _checked_commands(self, layer: dict[str, Any], name: str, text: str) -> Iterable[Problem]:
        """Leave out commands that others could have written there (X14), and those that name no program."""
        commands: dict[str, Any] = dict(value_at(layer, schema.COMMANDS)) if value_at(layer, schema.COMMANDS) is not UNSET else {}
        others = self._file.foreign or bool(self._file.mode & 0o022)
        for command in [command for command, table in commands.items() if others or not table.get("command")]:
            path = (*schema.COMMANDS, command)
            put(layer, path, UNSET)
            what = "is left out: other users could have written it" if others else "names no program and is left out"
            remedy = "Let the file be yours, and run chmod go-w on it" if others else 'Add one, as in command = ["weather", "{city}"]'
            yield Problem(name, find_line(text, path), ".".join(path), f"the tool {clean_name(command, 40)} {what}", remedy)

    def _refuse(self, name: str, line: int | None, what: str, remedy: str, keep: bool) -> None:
        self._refused = Problem(name, line, "", what, remedy)
        self._file_problems = (self._refused,)
        if not keep:
            self._raw, self._layer = {}, {}
        self._apply()

    def _warnings(self, name: str, text: str) -> Iterable[Problem]:
        if self._file.text is None:
            return
        keys = list(schema.literal_keys(self._layer))
        for path in keys:
            remedy = 'Put it into a variable or a file, and write "env:NAME" or "file:PATH" here'
            yield Problem(name, find_line(text, path), ".".join(path), "the key stands in the file itself", remedy, True)
        if keys and self._file.mode & 0o077:
            yield Problem(
                name,
                None,
                "",
                "the file holds a key and other users may read it",
                "It is closed with the next change; or run chmod 600",
                True,
            )
        if self._file.foreign:
            yield Problem(
                name,
                None,
                "",
                "the file belongs to another user; Paddock does not change it",
                "Copy it, and use --config with the copy",
                True,
            )
        with contextlib.suppress(OSError):
            if (
                stat.S_IMODE(self.paths.config_file.parent.stat().st_mode) & 0o022
                and self.paths.config_file.parent.stat().st_mode & stat.S_ISVTX == 0
            ):
                yield Problem(
                    name,
                    None,
                    "",
                    "other users may replace the file: its folder is writable for them",
                    "Run chmod go-w on the folder",
                    True,
                )

    def _apply(self) -> None:
        unsaved: dict[str, Any] = {}
        base = copy.deepcopy(self._layer)
        for path, value in self._unsaved.items():
            put(base, path, UNSET)
            if value is not UNSET:
                put(unsaved, path, value)
        names = [*base.get("providers", {}), *unsaved.get("providers", {})]
        self._environment, self._variables, problems = schema.environment_layer(self._environ, names)
        layers = [base, unsaved, self._environment, self._flags]
        layers, incomplete = self._complete(layers)
        self.current.set(build(*layers))
        self.problems.set((*self._file_problems, *incomplete, *problems))

    def _complete(self, layers: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Problem]]:
        """Leave out providers without an address."""
        names = dict.fromkeys(name for layer in layers for name in layer.get("providers", {}))
        bare = [name for name in names if not any("url" in layer.get("providers", {}).get(name, {}) for layer in layers)]
        if not bare:
            return layers, []
        layers = copy.deepcopy(layers)
        problems: list[Problem] = []
        file_name = clean_name(str(self.paths.config_file))
        for name in bare:
            in_file = name in layers[0].get("providers", {})
            for layer in layers:
                layer.get("providers", {}).pop(name, None)
            line = find_line(self._file.text or "", ("providers", name)) if in_file else None
            key = f"providers.{clean_name(name, 40)}"
            reported = any(problem.key == f"{key}.url" for problem in self._file_problems)
            if not reported:
                remedy = 'Add its address, as in url = "http://127.0.0.1:11434"'
                problems.append(Problem(file_name if in_file else "environment", line, key, f"{key} has no url and is left out", remedy))
        return layers, problems

    # --- asking ------------------------------------------------------------------------------------------------------

    def source(self, key: str) -> str:
        """Say where the value of a dotted key comes from: one of `SOURCES`."""
        path = schema.split_key(key)
        if value_at(self._flags, path) is not UNSET:
            return "flag"
        if value_at(self._environment, path) is not UNSET:
            return "environment"
        if path in self._unsaved:
            return "unsaved"
        return "default" if value_at(self._layer, path) is UNSET else "file"

    def value(self, key: str) -> Any:
        """Return the value in force of a dotted key.

        Raises:
            PaddockError: There is no such key.
        """
        path = schema.split_key(key)
        schema.find_kind(path)
        place: Any = self.current.value
        for name in path:
            place = place.get(name) if isinstance(place, Mapping) else getattr(place, name)
            if place is None:
                return None
        return place

    def shown(self, key: str) -> str:
        """Return the value in force of a dotted key as TOML; a literal key is hidden."""
        path = schema.split_key(key)
        value = self.value(key)
        return "" if value is None and path[:2] in _OPTIONS else schema.show(path, value)

    def fields(self) -> list[FieldInfo]:
        """List every setting; those of providers stand under `providers.NAME`, those of tables that the user named as they are set."""
        return [*schema.fields(), *schema.own_fields(self.current.value)]

    @property
    def unsaved(self) -> tuple[str, ...]:
        """Dotted keys that are active and could not be saved."""
        return tuple(".".join(path) for path in self._unsaved)

    @property
    def read_only(self) -> Problem | None:
        """Why nothing can be saved, where that is known."""
        if self._refused is None and self._file.foreign:
            return next((problem for problem in self._file_problems if "another user" in problem.what), None)
        return self._refused

    # --- changing ----------------------------------------------------------------------------------------------------

    def set(self, key: str, value: object) -> str:
        """Check, save and apply one value, given as typed (text) or as a value.

        Returns:
            What else must be known, or empty: "PADDOCK_PULLS__AT_ONCE still decides".

        Raises:
            PaddockError: Wrong key or value (nothing changes), or it could not be saved (it is active all the same, and in `unsaved`).
        """
        path = schema.split_key(key)
        raw = schema.raw_value(path, value)
        self._save([(path, raw)])
        return self._note(path)

    def set_all(self, values: Mapping[str, object]) -> None:
        """Check, save and apply several values at once, all or none; None takes a key out. Raises as `set`."""
        edits: list[Edit] = []
        for key, value in values.items():
            path = schema.split_key(key)
            schema.find_kind(path)
            edits.append((path, UNSET if value is None else schema.raw_value(path, value)))
        self._save(edits)

    def unset(self, key: str) -> str:
        """Go back to the default: the key goes from the file. Returns and raises as `set`."""
        path = schema.split_key(key)
        schema.find_kind(path)
        self._save([(path, UNSET)])
        return self._note(path)

    def set_provider(self, name: str, values: Mapping[str, object]) -> None:
        """Add a provider or change some of its keys; None takes a key out. Raises as `set`."""
        try:
            PROVIDER_NAME.check(name)
        except ValueError as error:
            raise PaddockError.of(
                f"The name {clean_label(str(error))}", clean_name(name, 40), "Choose another name", FailureKind.CONFIG
            ) from None
        edits: list[Edit] = []
        for key, value in values.items():
            path = ("providers", name, key)
            edits.append((path, UNSET if value is None else schema.raw_value(path, value)))
        if name not in self.current.value.providers and not any(path[2] == "url" and value is not UNSET for path, value in edits):
            raise PaddockError.of("A provider needs an address", clean_name(name, 40), "Give its url", FailureKind.CONFIG)
        self._save(edits[::-1])  # each is put right below the table's header

    def remove_provider(self, name: str) -> None:
        """Take a provider and all its keys out of the file. Raises as `set`."""
        self._save([(("providers", name), UNSET)])

    def retry(self) -> None:
        """Save what could not be saved; to be called when quitting. Raises as `set`."""
        if self._unsaved:
            self._save(list(self._unsaved.items()))

    def _note(self, path: Path) -> str:
        if value_at(self._flags, path) is not UNSET:
            return "Saved; the command line decides until you quit"
        return f"Saved; {self._variables[path]} still decides" if path in self._variables else ""

    def _save(self, edits: list[Edit]) -> None:
        with self._lock:
            self._save_locked(edits)

    def _save_locked(self, edits: list[Edit]) -> None:
        try:
            with files.lock(self.paths.locks):
                files.sweep(self.paths.config_file)
                found = files.read(self.paths.config_file)
                text, raw = self._base(found, [path for path, _ in edits])
                for path, value in edits:
                    text = edit(text, path, value)
                    put(raw, path, value)
                mode = found.mode if found.text is not None else 0o600
                if any(schema.literal_keys(schema.check(raw, lambda *_: None))):
                    mode &= 0o700
                if found.text is None or text != found.text:
                    files.replace(self.paths.config_file, text, mode=mode, crlf=found.crlf, bom=found.bom)
        except PaddockError as error:
            if error.failure.kind in (FailureKind.DISK, FailureKind.BUSY):
                self._unsaved.update(edits)
                self._apply()
            raise
        saved = [path for path, _ in edits]
        self._unsaved = {path: value for path, value in self._unsaved.items() if not any(path[: len(done)] == done for done in saved)}
        self._load(files.read(self.paths.config_file), keep=True)

    def _base(self, found: files.FileText, paths: list[Path]) -> tuple[str, dict[str, Any]]:
        """Return the newest text to change, having made sure that changing these keys undoes nobody's work."""
        where = clean_name(str(self.paths.config_file))
        if found.refused or found.foreign:
            what = found.refused or "it belongs to another user"
            raise PaddockError.of(f"Not saved: {what}", where, "Put a file of yours there, or use --config", FailureKind.CONFIG)
        if found.text is None:
            return render_example(), {}
        try:
            raw = parse(found.text)
        except SyntaxProblem as error:
            at = where if error.line is None else f"{where}:{error.line}"
            raise PaddockError.of(f"Not saved: {clean_label(error.what)}", at, "Correct the file first", FailureKind.CONFIG) from None
        if found.digest != self._file.digest:
            for path in paths:
                if path not in self._unsaved and value_at(raw, path) != value_at(self._raw, path):
                    self._load(found, keep=True)
                    key = clean_name(".".join(path), 80)
                    raise PaddockError.of(
                        f"Not saved: {key} was changed in the file meanwhile",
                        where,
                        "Look at the new value, and change it again",
                        FailureKind.CONFIG,
                    )
        return (found.text, raw) if found.text.strip() else (render_example(), {})
