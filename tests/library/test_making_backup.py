"""Backups: with digests of everything, whole or not at all; and read as if somebody else had written them (X15)."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.library.host import Host
from tests.library.kitchen import Kitchen, sha
from tui.config.settings import Settings, build
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.kept import kept_of
from tui.providers.ollama import Ollama
from tui.services.library import backup_write
from tui.services.library.backing_up import collect, has_name, restore_configuration, restore_model
from tui.services.library.backup_form import INDEX, SEAL, Index, is_name, read_index, write_index
from tui.services.library.backup_read import TarArchive, archive_of, index_of, verify
from tui.services.library.backup_words import saved_words
from tui.services.library.backup_write import UNFINISHED, ToSave, configuration, write_backup

NAME, OTHER = "qwen3:8b", "phi4:14b"
WEIGHTS = b"GGUF" + b"weights" * 300_000
FORMS = pytest.mark.parametrize("form", ["folder", "x.tar"])


@pytest.fixture
async def kitchen() -> AsyncIterator[Kitchen]:
    found = Kitchen()
    await found.start()
    found.put(NAME, WEIGHTS, parameters={"temperature": 0.6, "stop": ["<end>"]}, system="Be\tbrief.", template="{{ .Prompt }}\n")
    found.put(OTHER, b"GGUF other", license=["MIT"], messages=[{"role": "user", "content": "Hi"}])
    yield found
    await found.stop()


@pytest.fixture
def settings(kitchen: Kitchen, tmp_path: Path) -> Settings:
    """The folder of the box can be read."""
    folder = kitchen.write(tmp_path / "models")
    return build({"providers": {"box": {"kind": "ollama", "url": kitchen.url, "models_folder": str(folder)}}})


async def saved(box: Ollama, settings: Settings) -> tuple[ToSave, ...]:
    return await collect(box, await box.models(), settings, {})


@pytest.fixture
async def made(box: Ollama, settings: Settings, tmp_path: Path) -> Callable[[str], Path]:
    """Writes a backup of both models and some configuration."""
    models = await saved(box, settings)

    def make(form: str) -> Path:
        write_backup(tmp_path / form, models, {"config/config.toml": b"[general]\n"}, 1e9, "paddock test")
        return tmp_path / form

    return make


# --- there and back ------------------------------------------------------------------------------------------------------


@FORMS
async def test_models_come_back_with_everything_on_a_server_that_has_nothing(
    kitchen: Kitchen, made: Callable[[str], Path], form: str, tmp_path: Path
) -> None:
    path = made(form)
    assert not list(tmp_path.glob(f"*{UNFINISHED}")) and path.stat().st_mode & 0o077 == 0
    archive = archive_of(path)
    index = index_of(archive)
    seen: list[int] = []
    verify(archive, index, progress=lambda done, _total, _what: seen.append(done))
    assert seen[-1] == index.size and seen == sorted(seen)
    assert [(model.name, model.whole, model.provider) for model in index.models] == [(NAME, True, "box"), (OTHER, True, "box")]
    assert saved_words(index) == "Backed up: 2 models with weights and the configuration, 2.1 MB."
    fresh = Kitchen()
    await fresh.start()
    other = fresh.provider("other")
    try:
        for model in index.models:
            assert await restore_model(other, archive, model, tmp_path / "scratch", ManualClock()) == ""
        assert fresh.blobs[sha(WEIGHTS)] == WEIGHTS and sha(b"GGUF other") in fresh.blobs
        for name in (NAME, OTHER):
            assert {**fresh.models[name], "stream": None} == {**kitchen.models[name], "stream": None}
        assert list((tmp_path / "scratch").glob("*")) == []
    finally:
        await other.aclose()
        await fresh.stop()


async def test_what_is_installed_is_left_or_kept_as_a_version(
    kitchen: Kitchen, box: Ollama, made: Callable[[str], Path], tmp_path: Path
) -> None:
    archive = archive_of(made("x.tar"))
    (model, _other) = index_of(archive).models
    kitchen.models[NAME]["system"] = "changed since"
    with pytest.raises(PaddockError, match="installed already: it was left"):
        await restore_model(box, archive, model, tmp_path, ManualClock())
    assert kitchen.models[NAME]["system"] == "changed since"
    sent = len(kitchen.requests)
    kept = await restore_model(box, archive, model, tmp_path, ManualClock(), replaces=True)
    assert kept_of(kept) is not None and kitchen.models[kept]["system"] == "changed since"
    assert kitchen.models[NAME]["system"] == "Be\tbrief."
    assert not any(request.method == "POST" and "blobs" in request.path for request in kitchen.requests[sent:]), "HEAD says it is there"


async def test_without_the_folder_the_weights_are_not_in_it_and_that_is_said(kitchen: Kitchen, box: Ollama, tmp_path: Path) -> None:
    elsewhere = build({"providers": {"box": {"kind": "ollama", "url": kitchen.url, "location": "elsewhere"}}})
    models = await collect(box, (await box.models())[:1], elsewhere, {})
    index = write_backup(tmp_path / "b", models, {}, 1e9, "paddock test")
    assert not index.models[0].whole and "without weights (the models folder of box is not known: it runs elsewhere)" in saved_words(index)
    assert not any(entry.name.startswith("blobs/") for entry in index.files)
    text = (tmp_path / "b" / "models" / "0001.Modelfile").read_text("utf-8")
    assert f"FROM {NAME}" in text and "PARAMETER temperature 0.6" in text
    archive = archive_of(tmp_path / "b")
    del kitchen.models[NAME]
    await restore_model(box, archive, index_of(archive).models[0], tmp_path, ManualClock())
    assert NAME in kitchen.models, "the server has the weights still"
    kitchen.blobs.clear()
    kitchen.models.clear()
    with pytest.raises(PaddockError, match="was not restored: its weights are not in the backup") as caught:
        await restore_model(box, archive, index_of(archive).models[0], tmp_path, ManualClock())
    assert caught.value.failure.remedy == f"Fetch it with paddock pull {NAME}" and not kitchen.models


async def test_X01_a_hostile_name_or_text_makes_no_unreadable_backup(kitchen: Kitchen, box: Ollama, tmp_path: Path) -> None:
    elsewhere = build({"providers": {"box": {"kind": "ollama", "url": kitchen.url, "location": "elsewhere"}}})
    kitchen.put("evil\x1b[31m\nFROM x:1", system="x")
    kitchen.put("odd:1", system='one """\ntwo', template="\x1b]0;x\x07")
    named = {model.key: model for model in await box.models()}
    hostile = next(model for key, model in named.items() if "evil" in key)
    assert not has_name(hostile) and has_name(named["odd:1"])
    with pytest.raises(PaddockError):
        await collect(box, [hostile], elsewhere, {})
    write_backup(tmp_path / "b", await collect(box, [named["odd:1"]], elsewhere, {}), {}, 1e9, "x")
    text = (tmp_path / "b" / "models" / "0001.Modelfile").read_text("utf-8")
    assert "cannot be written as a Modelfile" in text and "\x1b" not in text
    assert index_of(archive_of(tmp_path / "b")).models[0].fields["system"] == 'one """\ntwo'


async def test_another_version_in_the_folder_is_not_taken_for_this_one(kitchen: Kitchen, box: Ollama, settings: Settings) -> None:
    kitchen.models[NAME]["system"] = "newer than the folder that was found"
    (first, second) = await saved(box, settings)
    assert not first.blobs and "has it not, or another version" in first.model.why and second.model.whole


async def test_the_configuration_comes_back_beside_what_is_there(tmp_path: Path) -> None:
    host = Host(tmp_path / "home")
    config = host.paths.config_file
    (config.parent / "prompts").mkdir(parents=True)
    config.write_text("[general]\nlog_level = 'debug'\n")
    (config.parent / "prompts" / "Review.md").write_text("Review this")
    (config.parent / "prompts" / ("x" * 120)).write_text("too long a name")
    found, left = configuration(host.paths)
    assert set(found) == {"config/config.toml", "config/prompts/Review.md"} and len(left) == 1
    write_backup(tmp_path / "b.tar", (), found, 1e9, "paddock test")
    config.write_text("[general]\n")
    archive = archive_of(tmp_path / "b.tar")
    index = index_of(archive)
    assert restore_configuration(archive, index, config, 5.0) == (str(config),)
    assert "debug" in config.read_text() and config.with_name(config.name + ".before-5").read_text() == "[general]\n"
    assert config.stat().st_mode & 0o777 == 0o600
    assert restore_configuration(archive, index, config, 6.0) == ()


async def test_P08_a_configuration_that_is_a_link_stays_one(tmp_path: Path) -> None:
    host = Host(tmp_path / "home")
    config, real = host.paths.config_file, tmp_path / "dotfiles" / "paddock.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    real.parent.mkdir()
    real.write_text("[general]\n")
    config.unlink(missing_ok=True)
    config.symlink_to(real)
    write_backup(tmp_path / "b", (), {"config/config.toml": b"[chat]\n"}, 1e9, "paddock test")
    archive = archive_of(tmp_path / "b")
    restore_configuration(archive, index_of(archive), config, 5.0)
    assert config.is_symlink() and real.read_text() == "[chat]\n"
    assert (real.parent / "paddock.toml.before-5").read_text() == "[general]\n"


async def test_what_a_tar_could_not_give_back_is_left_out_and_said(tmp_path: Path) -> None:
    host = Host(tmp_path / "home")
    prompts = host.paths.config_file.parent / "prompts"
    prompts.mkdir(parents=True)
    long, fits = "x" * 90, "a" + "\u00fc" * 30
    for name in (long, "b" + "\u00fc" * 50, fits):
        (prompts / name).write_text("Review this")
    found, left = configuration(host.paths)
    write_backup(tmp_path / "b.tar", (), found, 1e9, "paddock test")
    archive = archive_of(tmp_path / "b.tar")
    verify(archive, index_of(archive))
    assert set(found) == {f"config/prompts/{fits}"} and len(left) == 2


async def test_D13_a_backup_that_could_not_be_read_again_is_not_written(
    box: Ollama, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = await saved(box, settings)
    monkeypatch.setattr(backup_write, "MAX_INDEX", 500)
    with pytest.raises(PaddockError, match="its index gets too long"):
        write_backup(tmp_path / "b", models, {}, 1e9, "x")
    monkeypatch.undo()
    odd = replace(models[0], model=replace(models[0].model, fields={"parameters": "of another kind"}))
    with pytest.raises(PaddockError, match="could not be restored from, so it was not written"):
        write_backup(tmp_path / "b.tar", (odd,), {}, 1e9, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


async def test_a_configuration_that_may_not_be_read_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path / "home")
    host.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
    host.paths.config_file.write_text("[general]\n")

    def denied(_path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(PaddockError, match="The configuration cannot be read: permission denied") as caught:
        configuration(host.paths)
    assert caught.value.failure.where == str(host.paths.config_file)


# --- faults while writing ------------------------------------------------------------------------------------------------


class Full(io.BytesIO):
    """A file on a disk that has room for so much."""

    room = 1_000_000

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def write(self, data: Any) -> int:
        Full.room -= len(data)
        if Full.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(data))

    def fileno(self) -> int:
        return int(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@FORMS
async def test_D13_a_full_disk_leaves_nothing_behind(
    box: Ollama, settings: Settings, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, new = await saved(box, settings), backup_write._new
    monkeypatch.setattr(backup_write, "_new", lambda path: Full(new(path)))
    monkeypatch.setattr(Full, "room", 1_000_000)
    with pytest.raises(PaddockError, match="The disk is full: nothing of the backup is left") as caught:
        write_backup(tmp_path / form, models, {}, 1e9, "paddock test")
    assert caught.value.failure.kind is FailureKind.DISK and caught.value.failure.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


@FORMS
async def test_one_that_is_ended_leaves_nothing_behind(box: Ollama, settings: Settings, form: str, tmp_path: Path) -> None:
    models, told = await saved(box, settings), list[int]()
    with pytest.raises(PaddockError, match="was ended") as caught:
        write_backup(
            tmp_path / form, models, {}, 1e9, "x", progress=lambda done, _all, _what: told.append(done), stopped=lambda: len(told) > 6
        )
    assert caught.value.failure.kind is FailureKind.CANCELLED and [path.name for path in tmp_path.iterdir()] == ["models"]


async def test_a_damaged_blob_is_found_while_it_is_copied(box: Ollama, settings: Settings, tmp_path: Path) -> None:
    models = await saved(box, settings)
    blob = tmp_path / "models" / "blobs" / sha(WEIGHTS).replace(":", "-")
    blob.write_bytes(WEIGHTS[:-1] + b"X")
    with pytest.raises(PaddockError, match=f"A file of {NAME} is damaged"):
        write_backup(tmp_path / "b", models, {}, 1e9, "x")
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(PaddockError, match="was not written"):
        write_backup(tmp_path / "b", models, {}, 1e9, "x")
    assert not (tmp_path / "b").exists() and not list(tmp_path.glob(f"*{UNFINISHED}"))


def test_room_and_names_are_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / f"begun{UNFINISHED}").mkdir()
    for name, words in (
        ("there", "something of that name"),
        ("begun", "begun and not finished"),
        ("x.tar.gz", "not compressed"),
        (f"x{UNFINISHED}", "marks what is not whole"),
    ):
        with pytest.raises(PaddockError, match=words):
            write_backup(tmp_path / name, (), {}, 1e9, "x")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=5))
    with pytest.raises(PaddockError, match="not enough room: 4 B are needed, 5 B are free"):
        write_backup(tmp_path / "new", (), {"config/config.toml": b"abcd"}, 1e9, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"begun{UNFINISHED}", "there"]


# --- faults while reading ------------------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """Why a backup is refused, however far the reading came."""
    with pytest.raises(PaddockError) as caught:
        archive = archive_of(path)
        verify(archive, index_of(archive))
    failure = caught.value.failure
    assert failure.remedy and "\x1b" not in f"{failure.what}{failure.where}"
    return failure.what


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes], **more: Any) -> Path:
    """A tar of what others may write."""
    with tarfile.open(path, "w", **{"format": tarfile.GNU_FORMAT, **more}) as tar:
        for info, body in members:
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def member(name: str, **more: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(found, key, value)
    return found


BLOB = "blobs/sha256-" + "a" * 64


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (member("../x"), "no backup holds"),
        (member("/etc/passwd"), "no backup holds"),
        (member("config/../../x"), "no backup holds"),
        (member("config/.bashrc"), "no backup holds"),
        (member("blobs/x"), "no backup holds"),
        (member("config/a\nb"), "no backup holds"),
        (member("config/\x1b[31m"), "no backup holds"),
        (member("config/" + "x" * 300), "no plain file"),
        (member("config/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no plain file"),
        (member("config/x", type=tarfile.LNKTYPE, linkname="config/config.toml"), "no plain file"),
        (member("config/x", type=tarfile.CHRTYPE), "no plain file"),
        (member("config/x", type=tarfile.FIFOTYPE), "no plain file"),
        (member("config", type=tarfile.DIRTYPE), "no plain file"),
        (member("config/x", type=tarfile.GNUTYPE_SPARSE), "no plain file"),
        (member("config/x", mode=0o4755), "special rights"),
    ],
)
def test_X15_an_archive_with_what_no_backup_holds_is_refused_as_a_whole(tmp_path: Path, found: tarfile.TarInfo, words: str) -> None:
    before = member("config/config.toml"), b"x"
    body = b"abc" if found.type == tarfile.REGTYPE else b""
    assert words in refused(packed(tmp_path / "x.tar", before, (found, body)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"], "nothing was unpacked"


def test_X15_lengths_counts_and_repetitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = packed(tmp_path / "x.tar", (member(BLOB), b"a"), (member(BLOB), b"b"))
    assert "twice" in refused(twice)
    monkeypatch.setattr("tui.services.library.backup_read.MAX_FILES", 3)
    many = packed(tmp_path / "many.tar", *((member(f"models/{n:04}.json"), b"") for n in range(5)))
    assert "more than 3 files" in refused(many)
    huge = bytearray(packed(tmp_path / "huge.tar", (member(BLOB), b"a" * 600)).read_bytes())
    header = tarfile.TarInfo(BLOB)
    header.size = 10_000_000_000_000
    huge[:512] = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "huge.tar").write_bytes(huge)
    assert "cut off" in refused(tmp_path / "huge.tar")
    extended = packed(tmp_path / "pax.tar", (member(BLOB, pax_headers={"comment": "x" * 100}), b""), format=tarfile.PAX_FORMAT)
    assert "no plain file" in refused(extended)
    for name, body in (("zeros.tar", b"\0" * 100), ("text.tar", b"hello" * 500), ("empty.tar", b"")):
        (tmp_path / name).write_bytes(body)
        assert "no backup that Paddock wrote" in refused(tmp_path / name)
    assert "no index" in refused(packed(tmp_path / "bare.tar"))


async def test_X15_what_the_index_does_not_name_is_refused(made: Callable[[str], Path]) -> None:
    path = made("folder")
    (path / "config" / "more.toml").write_bytes(b"x")
    assert "config/more.toml is not in its index" in refused(path)


@FORMS
async def test_every_changed_byte_is_found_before_anything_is_done(made: Callable[[str], Path], form: str) -> None:
    path = made(form)
    if form == "folder":
        files = [one for one in path.rglob("*") if one.is_file()]
        assert len(files) > 8
        for file in files:
            body = file.read_bytes()
            file.write_bytes(bytes([body[0] ^ 1]) + body[1:])
            assert refused(path)
            file.write_bytes(body[:-1])
            assert refused(path)
            file.unlink()
            assert refused(path)
            file.write_bytes(body)
    else:
        body = path.read_bytes()
        for cut in (1, 512, 1024, 3000, len(body) // 2, len(body) - 1025):
            path.write_bytes(body[:cut])
            assert refused(path)
        for at in (5, 700, len(body) // 2, body.index(INDEX.encode()) + 600):
            path.write_bytes(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
            assert refused(path)
        path.write_bytes(body)
    archive = archive_of(path)
    verify(archive, index_of(archive))


async def test_X15_a_folder_with_links_is_refused(made: Callable[[str], Path], tmp_path: Path) -> None:
    path = made("folder")
    target = path / "config" / "config.toml"
    target.rename(tmp_path / "elsewhere")
    target.symlink_to(tmp_path / "elsewhere")
    assert "config.toml is missing" in refused(path)
    target.unlink()
    (tmp_path / "elsewhere").rename(target)
    (path / "blobs").rename(tmp_path / "blobs")
    (path / "blobs").symlink_to(tmp_path / "blobs")
    assert "is missing" in refused(path)


def test_places_that_hold_no_backup(tmp_path: Path) -> None:
    (tmp_path / f"b{UNFINISHED}").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("nothing", "does not exist"),
        ("pipe", "no folder and no file"),
        (f"b{UNFINISHED}", "not finished"),
        (".", "no index"),
    ):
        assert words in refused(tmp_path / name)


def test_X01_an_index_says_only_what_a_backup_can_hold() -> None:
    good = json.loads(write_index(Index(1.0, "x", ()))[0])
    entry = {"name": "config/config.toml", "size": 1, "sha256": "a" * 64}
    model = {"name": "a:1", "provider": "p", "digest": "", "size": 1, "weights": "included", "why": "", "blobs": {}, "fields": {}}
    bad: list[dict[str, Any]] = [
        {"files": [{**entry, "name": "../x"}]},
        {"files": [entry, entry]},
        {"files": [{**entry, "size": -1}]},
        {"files": [{**entry, "sha256": "zz"}]},
        {"files": [{**entry, "name": "blobs/sha256-" + "b" * 64}]},
        {"files": "x"},
        {"models": [{**model, "name": "../x"}]},
        {"models": [model]},
        {"models": [{**model, "weights": "absent", "blobs": {"files": {"../x": "sha256:" + "a" * 64}}}]},
        {"models": [{**model, "weights": "absent", "blobs": {"evil": {}}}]},
        {"models": [{**model, "weights": "absent", "fields": {"from": "x"}}]},
        {"models": [{**model, "weights": "absent", "fields": {"system": 5}}]},
        {"paddock_backup": 2},
        {"made_at": "soon"},
    ]
    for change in bad:
        body = json.dumps({**good, **change}).encode()
        seal = f"{sha(body).removeprefix('sha256:')}  {INDEX}\n".encode()
        with pytest.raises(PaddockError):
            read_index(body, seal, "here")
    body, seal = write_index(Index(1.0, "x\x1b[31m", ()))
    assert "\x1b" not in read_index(body, seal, "here").by
    for name in ("config/a/b", "config/prompts/../x", "models/1.json", "", SEAL, "blobs/", "config/a\n"):
        assert not is_name(name)


def test_lengths_beyond_8_gb_are_read_as_they_are_written(tmp_path: Path) -> None:
    for size in (0, 511, 8**11 - 1, 8**11, 40_000_000_000):
        header = tarfile.TarInfo(BLOB)
        header.size, header.mode = size, 0o600
        assert TarArchive(tmp_path, 1 << 50)._header(header.tobuf(tarfile.GNU_FORMAT)) == (BLOB, size)
