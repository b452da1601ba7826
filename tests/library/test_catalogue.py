"""The list of models refreshed, kept and lost; the hub searched by the app. Servers on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.library.host import Host
from tests.support.fault_server import Exchange, FaultServer
from tests.support.registry import FakeRegistry
from tests.support.screen import until
from tui.core.clock import ManualClock
from tui.core.errors import FailureKind, PaddockError
from tui.core.models import Model
from tui.providers.library import CatalogueModel, CatalogueTag, load_library
from tui.services.library import catalogue_list
from tui.services.library.catalogue import Catalogue
from tui.services.library.catalogue_list import FILE, newest, read_copy, write_copy
from tui.services.library.catalogue_search import accepts, age_words, largest, meets, of_words, weighty
from tui.services.library.fits_recommend import subject_of_tag

NOW = 1_795_320_000.0  # 22 Nov 2026
REPO = {"id": "org/Model-GGUF", "gated": False}


def listed(date: str = "2026-11-20", *names: str) -> bytes:
    models = [{"name": name, "tags": [{"tag": "latest", "size": 5}]} for name in names or ("newcomer",)]
    return json.dumps({"format": "paddock-catalogue", "version": 1, "date": date, "models": models}).encode()


@pytest.fixture
async def host(tmp_path: Path, server: FaultServer) -> AsyncIterator[Host]:
    found = Host(tmp_path, environ={"HF_ENDPOINT": server.url})
    found.clock = ManualClock(NOW)
    yield found
    await found.aclose()


def part_of(host: Host) -> Catalogue:
    return Catalogue(host)  # type: ignore[arg-type]


async def refreshed(host: Host, part: Catalogue) -> None:
    said = len(host.said)
    part.refresh()
    await until(lambda: len(host.said) > said and not part.view.value.busy)


# --- a newer list from an address ------------------------------------------------------------------------------------


async def test_a_newer_list_is_fetched_kept_and_there_at_the_next_start(host: Host, server: FaultServer) -> None:
    server.routes["/lists/models.json?x=1"] = lambda exchange: exchange.reply(200, listed())
    host.config.set("models.catalogue_url", f"{server.url}/lists/models.json?x=1")
    part = part_of(host)
    assert part.view.value.list is load_library()
    await refreshed(host, part)
    assert [model.name for model in part.view.value.list.models] == ["newcomer"]
    assert "1 model, of 2026-11-20" in host.said[-1]
    assert "authorization" not in server.requests[0].headers
    copy = host.paths.cache / FILE
    assert copy.stat().st_mode & 0o077 == 0 and list(host.paths.cache.iterdir()) == [copy]
    later = part_of(host)
    await later.open(await host.open())
    assert later.view.value.list.snapshot == "2026-11-20"
    assert later.view.value.list.source == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{}", listed("2026-01-01"), listed("2030-01-01"), b"x" * 2000],
    ids=["empty", "page", "other", "old", "far", "big"],
)
async def test_a_list_that_is_none_leaves_the_old_one_and_says_so(
    host: Host, server: FaultServer, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_list, "MAX_BYTES", 1500)
    server.routes["*"] = lambda exchange: exchange.reply(200, body)
    host.config.set("models.catalogue_url", f"{server.url}/models.json")
    part = part_of(host)
    await refreshed(host, part)
    assert part.view.value.list is load_library()
    assert part.view.value.failure is not None
    assert host.said[-1].startswith("The list of 2026-08-21 stays: ")
    assert not (host.paths.cache / FILE).exists()


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
async def test_an_address_that_refuses_leaves_the_old_one(host: Host, server: FaultServer, status: int) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(status, b"\x1b[31mno")
    host.config.set("models.catalogue_url", f"{server.url}/models.json")
    part = part_of(host)
    await refreshed(host, part)
    failure = part.view.value.failure
    assert failure is not None and failure.status == status and "\x1b" not in host.said[-1]


async def test_D04_a_full_disk_leaves_the_old_copy_whole(host: Host, server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    host.paths.cache.mkdir(parents=True)
    write_copy(host.paths.cache, load_library())
    before = (host.paths.cache / FILE).read_bytes()
    server.routes["*"] = lambda exchange: exchange.reply(200, listed())
    host.config.set("models.catalogue_url", f"{server.url}/models.json")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(catalogue_list.os, "fsync", full)
    part = part_of(host)
    await refreshed(host, part)
    failure = part.view.value.failure
    assert failure is not None and failure.kind is FailureKind.DISK and "could not be kept" in failure.what
    assert (host.paths.cache / FILE).read_bytes() == before
    assert [path.name for path in host.paths.cache.iterdir()] == [FILE]


async def test_redirects_of_the_address_are_followed_and_a_ring_of_them_ends(host: Host, server: FaultServer) -> None:
    server.routes["/old.json"] = lambda exchange: exchange.reply(302, b"", {"location": "/new.json"})
    server.routes["/new.json"] = lambda exchange: exchange.reply(200, listed())
    server.routes["/ring.json"] = lambda exchange: exchange.reply(302, b"", {"location": "/ring.json"})
    host.config.set("models.catalogue_url", f"{server.url}/old.json")
    part = part_of(host)
    await refreshed(host, part)
    assert part.view.value.failure is None and part.view.value.list.snapshot == "2026-11-20"
    host.config.set("models.catalogue_url", f"{server.url}/ring.json")
    await refreshed(host, part)
    assert part.view.value.failure is not None and "again and again" in part.view.value.failure.what
    assert part.view.value.list.snapshot == "2026-11-20"


async def test_nothing_leaves_this_machine_offline_and_metered_asks(host: Host, server: FaultServer) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(200, listed())
    host.config.set("general.network", "offline")
    host.config.set("models.catalogue_url", "https://lists.example.org/models.json")
    part = part_of(host)
    await refreshed(host, part)
    failure = part.view.value.failure
    assert failure is not None and failure.kind is FailureKind.REFUSED and "lists.example.org is not asked" in failure.what
    host.config.set("general.network", "metered")
    host.config.set("models.catalogue_url", f"{server.url}/models.json")
    part.refresh()
    await until(lambda: len(host.asked) == 1)
    await asyncio.gather(*host.tasks)
    assert "metered" in host.asked[0] and not server.requests
    host.answers.append("yes")
    await refreshed(host, part)
    assert len(server.requests) == 1 and part.view.value.failure is None


def test_a_damaged_copy_is_not_used_and_said(tmp_path: Path) -> None:
    assert read_copy(tmp_path, NOW) is None
    for bad in (b"", b"{", listed("2030-01-01"), b"x" * 100):
        (tmp_path / FILE).write_bytes(bad)
        library, problem = newest(tmp_path, NOW)
        assert library is load_library()
        assert problem is not None and "damaged" in problem.failure.what and str(tmp_path) in problem.failure.where
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    _library, problem = newest(tmp_path, NOW)
    assert problem is not None and problem.failure.kind is FailureKind.DISK


def test_a_copy_older_than_the_program_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(listed("2025-01-01"))
    library, problem = newest(tmp_path, NOW)
    assert library is load_library() and problem is None


# --- what is installed ------------------------------------------------------------------------------------------------


async def test_without_an_address_what_is_installed_is_looked_up(host: Host, server: FaultServer) -> None:
    registry = FakeRegistry()
    await registry.start()
    try:
        digest = registry.add("qwen3:8b", [("model", 5_000_000_000), ("template", 1000)])
        registry.add("qwen3:8b-q8_0", [("model", 9_000_000_000)])
        host.environ["PADDOCK_REGISTRY"] = registry.url
        host.up("box", "http://127.0.0.1:9")
        names = ("qwen3:8b", "qwen3:8b-q8_0", "qwen3:gone", "hf.co/org/x:Q4", "mine:latest")
        host.watching.models.set(tuple(Model("box", name, name, 1) for name in names))
        part = part_of(host)
        await refreshed(host, part)
    finally:
        await registry.stop()
    library = part.view.value.list
    model = library.model("qwen3")
    assert model is not None and library.snapshot == "2026-08-21" and len(library.models) == 235
    eight, quant = model.tag("8b"), model.tag("8b-q8_0")
    assert eight is not None and quant is not None
    assert (eight.digest12, eight.dated, eight.quant) == (digest[:12], "2026-11-22", "Q4_K_M")
    assert eight.bytes is not None and eight.bytes > 5_000_001_000
    assert quant.bytes is not None and quant.bytes >= 9_000_000_000
    assert "sizes of 2 installed models are of today; 1 could not be looked up" in host.said[-1]
    assert sorted(request.path.split("/")[3] for request in registry.requests if "manifests" in request.path) == ["qwen3"] * 3


async def test_where_nothing_installed_is_in_the_list_an_address_is_asked_for(host: Host) -> None:
    part = part_of(host)
    await refreshed(host, part)
    failure = part.view.value.failure
    assert failure is not None and "models.catalogue_url" in failure.remedy


async def test_registries_that_do_not_answer_leave_the_old_list(host: Host) -> None:
    host.environ["PADDOCK_REGISTRY"] = "http://127.0.0.1:9"
    host.up("box", "http://127.0.0.1:9")
    host.watching.models.set(tuple(Model("box", name, name, 1) for name in ("qwen3:8b", "gemma3:4b", "phi4:14b")))
    part = part_of(host)
    await refreshed(host, part)
    assert part.view.value.failure is not None and part.view.value.list is load_library()


# --- searching the list -----------------------------------------------------------------------------------------------


def names_of(text: str, fits: Any = lambda _model, tag: (tag.bytes or 0) < 6e9) -> list[str]:
    library = load_library()
    words, holds = accepts(text, fits, frozenset({"qwen3:8b"}))
    return [model.name for model in library.search(words) if holds is None or holds(model)]


def test_the_list_is_searched_by_name_task_size_fit_and_licence() -> None:
    assert {"codellama", "qwen2.5-coder", "starcoder2"} <= set(names_of("code"))
    assert "codellama" in names_of("code complete <8gb licence:llama")
    assert "nomic-embed-text" in names_of("embed") and "llama3.1" not in names_of("embed")
    assert all("qwen" in name for name in names_of("qwen vision"))
    assert "llava" in names_of("vision") and "llava" not in names_of("!vision")
    assert names_of("loaded") == ["qwen3"]
    assert {"codellama", "tinyllama"} <= set(names_of("quant:q8"))
    assert names_of("") == [model.name for model in load_library().models]


def test_parts_of_a_filter_hold_for_one_and_the_same_tag() -> None:
    assert "llama3.1" in names_of("fits") and "llama3.1" in names_of(">40g")
    assert "llama3.1" not in names_of("fits >40g")
    codellama = load_library().model("codellama")
    assert codellama is not None
    met = meets("codellama quant:q8 <8gb", lambda _model, _tag: True, frozenset())
    assert [tag.tag for tag in codellama.tags if met(codellama, tag)] == ["7b-code-q8_0", "7b-instruct-q8_0", "7b-python-q8_0"]
    best = largest(codellama, lambda _model, tag: (tag.bytes or 0) < 8e9)
    assert best is not None and best.tag == "13b"


def test_what_is_listed_as_fitting_has_a_tag_that_fits() -> None:
    library, wizard = load_library(), load_library().model("wizardcoder")
    assert wizard is not None and wizard.sizes == ("33b",)
    assert [tag.tag for tag in weighty(wizard)] == ["latest", "33b"]
    best = largest(wizard, lambda _model, tag: (tag.bytes or 0) < 8e9)
    assert best is not None and best.tag == "latest"  # its 7b has no tag of that name
    granite = library.model("granite4")
    assert granite is not None and "latest" not in [tag.tag for tag in weighty(granite)]
    for most in (0, 5e8, 2e9, 4e9, 8e9, 3e10, 1e12):

        def fits(_model: object, tag: CatalogueTag, most: float = most) -> bool:
            return bool(tag.bytes) and not tag.cloud and (tag.bytes or 0) <= most

        _words, holds = accepts("fits", fits, frozenset())
        assert holds is not None
        found = [model for model in library.models if holds(model)]
        assert found == [model for model in library.models if largest(model, fits) is not None]
        assert all(any((tag.bytes or most + 1) <= most for tag in model.tags) for model in found)


def test_what_is_not_known_does_not_fit() -> None:
    unknown = CatalogueModel("new", (CatalogueTag("7b", None, None, "", False), CatalogueTag("671b-cloud", None, None, "", True)))
    bare = CatalogueModel("bare", ())

    def fits(model: CatalogueModel, tag: CatalogueTag) -> bool:
        return subject_of_tag(model, tag) is not None

    _words, holds = accepts("fits", fits, frozenset())
    assert holds is not None
    assert not holds(unknown) and not holds(bare)
    assert largest(unknown, fits) is None and largest(bare, fits) is None
    assert weighty(unknown) == []


def test_the_age_is_told_in_days() -> None:
    assert of_words("2026-08-21", NOW) == "of 21 Aug 2026, 93 days old"
    assert age_words("2026-11-22", NOW) == "of today"
    assert age_words("2026-11-21", NOW) == "1 day old"


# --- the hub ----------------------------------------------------------------------------------------------------------


async def test_the_hub_is_asked_only_when_somebody_asks(host: Host, server: FaultServer) -> None:
    async def answer(exchange: Exchange) -> None:
        path = exchange.request.path
        if "cursor=2" in path:
            await exchange.json([REPO, {"id": "org/Second-GGUF"}])
        elif path.startswith("/api/models?"):
            await exchange.reply(200, json.dumps([REPO]).encode(), {"link": f'<{server.url}/api/models?cursor=2>; rel="next"'})
        else:
            await exchange.json({**REPO, "siblings": [{"rfilename": "m-Q4_K_M.gguf", "size": 9}]})

    server.routes["*"] = answer
    part = part_of(host)
    await part.open(await host.open())
    part.search("   ")
    await asyncio.gather(*host.tasks)
    assert not server.requests
    part.search(" mo  del ")
    await until(lambda: part.hub.value.repos != () and not part.hub.value.busy)
    view = part.hub.value
    assert (view.text, [repo.key for repo in view.repos], bool(view.more)) == ("mo del", ["org/Model-GGUF"], True)
    part.more()
    await until(lambda: len(part.hub.value.repos) == 2 and not part.hub.value.busy)
    assert part.hub.value.more == ""
    part.look_into("org/Model-GGUF")
    await until(lambda: part.hub.value.files is not None)
    files = part.hub.value.files
    assert files is not None and files.files[0].pull == "hf.co/org/Model-GGUF:Q4_K_M"
    part.leave()
    await until(lambda: part.hub.value.open == "")
    assert len(part.hub.value.repos) == 2
    assert len(server.requests) == 3


async def test_a_newer_search_takes_the_place_of_one_that_hangs(host: Host, server: FaultServer) -> None:
    async def answer(exchange: Exchange) -> None:
        if "search=slow" in exchange.request.path:
            await exchange.gone()
        else:
            await exchange.json([REPO])

    server.routes["*"] = answer
    part = part_of(host)
    part.search("slow")
    await until(lambda: len(server.requests) == 1)
    assert part.hub.value.busy
    part.search("quick")
    await until(lambda: part.hub.value.text == "quick" and part.hub.value.repos != () and not part.hub.value.busy)
    await until(lambda: server.open == 0)
    part.search("slow again")
    await until(lambda: len(server.requests) == 3)
    await part.aclose()
    await until(lambda: server.open == 0)


async def test_what_the_hub_refuses_stands_where_the_answer_would(host: Host, server: FaultServer) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(404)
    part = part_of(host)
    part.look_into("org/gone")
    await until(lambda: part.hub.value.failure is not None and not part.hub.value.busy)
    failure = part.hub.value.failure
    assert failure is not None and "has no repository org/gone" in failure.what and part.hub.value.open == "org/gone"


async def test_the_hub_is_not_asked_offline_and_gets_no_key_of_another(host: Host, server: FaultServer) -> None:
    server.routes["*"] = lambda exchange: exchange.json([])
    host.config.set("models.hf_token", "env:KEY")
    part = part_of(host)
    part.search("x")
    await until(lambda: part.hub.value.text == "x" and not part.hub.value.busy)
    assert "authorization" not in server.requests[0].headers
    host.environ["HF_ENDPOINT"] = ""
    host.config.set("general.network", "offline")
    part.search("y")
    await until(lambda: part.hub.value.failure is not None)
    failure = part.hub.value.failure
    assert failure is not None and failure.kind is FailureKind.REFUSED and "huggingface.co is not asked" in failure.what


def test_a_copy_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(PaddockError) as caught:
        write_copy(tmp_path / "cache", load_library())
    assert caught.value.failure.kind is FailureKind.DISK
