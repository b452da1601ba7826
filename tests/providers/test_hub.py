"""Hugging Face's hub, played by a server on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.fault_server import Exchange, FaultServer
from tui.core.errors import FailureKind, PaddockError
from tui.core.hub import HubFile, HubRepo
from tui.providers import hub as hub_module
from tui.providers import redirects
from tui.providers.hub import HUB, Hub, files_of, hub_url, quant_of, repo_of

REPO = {
    "id": "org/Model-GGUF",
    "downloads": 1200,
    "likes": 7,
    "lastModified": "2026-08-02T09:00:00.000Z",
    "gated": False,
    "private": False,
    "tags": ["gguf", "license:apache-2.0"],
    "gguf": {"total": 8_200_000_000, "architecture": "qwen3", "context_length": 40960},
}
PLAIN = HubRepo("org/Model-GGUF", "org/Model-GGUF")


@pytest.fixture
async def hub(server: FaultServer) -> AsyncIterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def make(url: str = "", **fields: Any) -> Hub:
        made.append(Hub(url or server.url, **fields))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


def entry(name: str, size: Any = 100, **more: Any) -> dict[str, Any]:
    return {"rfilename": name, "size": size, **more}


def by_name(files: tuple[HubFile, ...]) -> dict[str, HubFile]:
    return {file.name: file for file in files}


async def refused(work: Any) -> Any:
    with pytest.raises(PaddockError) as caught:
        await work
    failure = caught.value.failure
    assert failure.what and failure.remedy
    return failure


# --- searching --------------------------------------------------------------------------------------------------------


async def test_a_search_asks_for_gguf_repositories_and_reads_what_they_are(server: FaultServer, hub: Callable[..., Hub]) -> None:
    server.routes["*"] = lambda exchange: exchange.json([REPO])
    page = await hub().search("  qwen   3 ")
    asked = urlsplit(server.requests[0].path)
    query = parse_qs(asked.query)
    assert asked.path == "/api/models"
    assert (query["search"], query["filter"], query["sort"]) == (["qwen 3"], ["gguf"], ["downloads"])
    assert "authorization" not in server.requests[0].headers
    repo = page.repos[0]
    assert (repo.name, repo.downloads, repo.licence, repo.architecture) == ("org/Model-GGUF", 1200, "apache-2.0", "qwen3")
    assert (repo.parameters, repo.context, repo.gated, repo.private, repo.unusual) == (8_200_000_000, 40960, False, False, False)
    assert repo.updated_at == 1785661200.0
    assert page.next == ""


async def test_pages_follow_the_link_of_the_hub_only(server: FaultServer, hub: Callable[..., Hub]) -> None:
    links = [
        f'<{server.url}/api/models?search=a&cursor=abc>; rel="next"',
        '<https://evil.example.com/api/models?cursor=abc>; rel="next"',
        f'<{server.url}/api/other?cursor=abc>; rel="next"',
        '<http://[bad/api/models?x=1>; rel="next"',
        f'<{server.url}/api/models?cursor=abc>; rel="prev"',
    ]
    asked = iter(links)

    async def page(exchange: Exchange) -> None:
        await exchange.reply(200, json.dumps([REPO]).encode(), {"link": next(asked)})

    server.routes["*"] = page
    one = hub()
    first = await one.search("a")
    assert first.next == "/api/models?search=a&cursor=abc"
    for _each in links[1:]:
        assert (await one.search("a", first.next)).next == ""
    assert server.requests[1].path == first.next


async def test_a_hub_under_a_path_is_asked_there(server: FaultServer, hub: Callable[..., Hub]) -> None:
    async def page(exchange: Exchange) -> None:
        await exchange.reply(200, b"[]", {"link": f'<{server.url}/mirror/api/models?cursor=2>; rel="next"'})

    server.routes["*"] = page
    found = await hub(f"{server.url}/mirror/").search("a")
    assert server.requests[0].path.startswith("/mirror/api/models?")
    assert found.next == "/mirror/api/models?cursor=2"


def test_the_hub_is_hugging_faces_own_unless_the_environment_names_another() -> None:
    assert hub_url({}) == HUB == hub_url({"HF_ENDPOINT": "  "})
    assert hub_url({"HF_ENDPOINT": " https://mirror.example.org "}) == "https://mirror.example.org"


# --- names and files --------------------------------------------------------------------------------------------------


def test_X01_hostile_repositories_are_cleaned_or_left_out() -> None:
    evil = repo_of({"id": "org/m\u202eodel", "tags": ["license:\x1b]0;x\x07mit"], "gguf": {"architecture": "\x9bq", "total": -5}})
    assert evil is None  # what cannot be printed is no name to ask for
    dirty = repo_of({**REPO, "tags": ["license:\x1b]0;x\x07mit"], "gguf": {"architecture": "\x9bq", "total": -5, "context_length": "no"}})
    assert dirty is not None
    assert dirty.licence == "␛]0;x␇mit" and "\x9b" not in dirty.architecture
    assert (dirty.parameters, dirty.context) == (None, None)
    for name in ("", "no-slash", "a/b/c", "/b", "a/", "a/../b", "a/" + "b" * 300, 5, None):
        assert repo_of({"id": name}) is None


def test_X23_names_that_only_look_like_others_are_marked_and_cannot_be_pulled() -> None:
    repo = repo_of({"id": "org/llаma-GGUF"})
    assert repo is not None and repo.unusual and "‹U+0430›" in repo.name
    (file,) = files_of(repo, [entry("m-Q4_K_M.gguf")])
    assert (file.pull, file.why) == ("", "Ollama takes no such name")
    (odd,) = files_of(PLAIN, [entry("mоdel.gguf")])
    assert odd.unusual and not odd.pull and "‹U+043E›" in odd.name


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("Llama-3.2-3B-Instruct-Q4_K_M.gguf", "Q4_K_M"), ("UD-Q4_K_XL/x-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("m.IQ3_XXS.gguf", "IQ3_XXS"), ("foo-f16.GGUF", "F16"), ("foo-q8_0.gguf", "Q8_0"), ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
        ("foo.gguf", ""), ("q4wine.gguf", ""), ("a-BF16.gguf", "BF16"),
    ],
)  # fmt: skip
def test_quantizations_are_read_out_of_names(path: str, quant: str) -> None:
    assert quant_of(path) == quant


def test_parts_are_one_file_and_their_sizes_one_sum() -> None:
    entries = [entry(f"Q8_0/m-Q8_0-0000{number}-of-00003.gguf", 10 * number) for number in (1, 2, 3)]
    entries += [entry("m-Q4_K_M.gguf", 5), entry("m-F16-00001-of-00002.gguf", 50), entry("mmproj-F16.gguf", 3), entry("README.md", 9)]
    found = files_of(PLAIN, entries)
    assert [file.name for file in found] == ["m-Q4_K_M.gguf", "m-F16.gguf", "Q8_0/m-Q8_0.gguf", "mmproj-F16.gguf"]
    whole = by_name(found)["Q8_0/m-Q8_0.gguf"]
    assert (whole.size, whole.parts, whole.missing, whole.pull) == (60, 3, 0, "hf.co/org/Model-GGUF:Q8_0")
    half = by_name(found)["m-F16.gguf"]
    assert (half.missing, half.pull, half.why) == (1, "", "1 of 2 parts are missing")
    eyes = by_name(found)["mmproj-F16.gguf"]
    assert eyes.projector and not eyes.pull and eyes.why == "comes with the model"


def test_files_that_say_the_same_are_pulled_by_their_own_names() -> None:
    found = files_of(
        PLAIN, [entry("a-Q4_0.gguf"), entry("b-Q4_0.gguf"), entry("x/c-Q4_0.gguf"), entry("plain.gguf"), entry("sub/plain.gguf")]
    )
    assert {file.name: file.pull or file.why for file in found} == {
        "a-Q4_0.gguf": "hf.co/org/Model-GGUF:a-Q4_0.gguf",
        "b-Q4_0.gguf": "hf.co/org/Model-GGUF:b-Q4_0.gguf",
        "x/c-Q4_0.gguf": "several files say the same",
        "plain.gguf": "hf.co/org/Model-GGUF:plain.gguf",
        "sub/plain.gguf": "its name says no quantization",
    }


def test_a_repository_with_thousands_of_files_is_read_at_once() -> None:
    entries = [entry(f"m{number}-Q4_0.gguf", number) for number in range(20_000)]
    begun = time.process_time()
    found = files_of(PLAIN, entries)
    assert len(found) == 20_000 and time.process_time() - begun < 5.0
    assert found[7].pull == "hf.co/org/Model-GGUF:m7-Q4_0.gguf"


def test_sizes_that_make_no_sense_are_not_known() -> None:
    entries = [entry("a-Q2_K.gguf", -1), entry("b-Q3_K.gguf", 10**17), entry("c-Q4_0.gguf", "9"), {"rfilename": "d-Q5_0.gguf"}]
    entries.append({"path": "e-Q6_K.gguf", "lfs": {"size": 77}})
    assert {file.name: file.size for file in files_of(PLAIN, entries)} == {
        "a-Q2_K.gguf": None, "b-Q3_K.gguf": None, "c-Q4_0.gguf": None, "d-Q5_0.gguf": None, "e-Q6_K.gguf": 77,
    }  # fmt: skip


async def test_a_repository_is_asked_for_by_its_name_with_sizes(server: FaultServer, hub: Callable[..., Hub]) -> None:
    server.routes["/api/models/org/Model-GGUF?blobs=true"] = lambda exchange: exchange.json(
        {**REPO, "gated": "manual", "siblings": [entry("m-Q4_K_M.gguf", 5_000), entry("m-Q8_0.gguf", 9_000), "nonsense", None]}
    )
    found = await hub().files("org/Model-GGUF")
    assert found.repo.gated
    assert [(file.quant, file.size, file.pull) for file in found.files] == [
        ("Q4_K_M", 5_000, "hf.co/org/Model-GGUF:Q4_K_M"),
        ("Q8_0", 9_000, "hf.co/org/Model-GGUF:Q8_0"),
    ]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, FailureKind.AUTH, "wants a key for org/x, or there is no such repository"),
        (403, FailureKind.FORBIDDEN, "only to who was granted access"),
        (404, FailureKind.NOT_FOUND, "has no repository org/x"),
        (429, FailureKind.BUSY, "was asked too often"),
        (500, FailureKind.SERVER, "trouble of its own (500)"),
        (503, FailureKind.SERVER, "trouble of its own (503)"),
    ],
)
async def test_what_the_hub_refuses_is_said(
    server: FaultServer, hub: Callable[..., Hub], status: int, kind: FailureKind, words: str
) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(status, b'{"error":"\x1b[31mno"}', {"retry-after": "30"})
    failure = await refused(hub().files("org/x"))
    assert failure.kind is kind and words in failure.what and "\x1b" not in failure.sentence()
    if status == 429:
        assert "in 30 s" in failure.remedy


@pytest.mark.parametrize(
    "body",
    [b"", b"<!doctype html><p>Sign in", b"{", b"5", b'{"error":"x"}', b"[" * 100_000],
    ids=["empty", "page", "cut", "5", "map", "deep"],
)
async def test_what_is_no_answer_of_a_hub_is_refused(server: FaultServer, hub: Callable[..., Hub], body: bytes) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(200, body)
    failure = await refused(hub().search("x"))
    assert failure.kind is FailureKind.PROTOCOL


async def test_entries_that_make_no_sense_are_left_out(server: FaultServer, hub: Callable[..., Hub]) -> None:
    server.routes["*"] = lambda exchange: exchange.json([None, 5, "x", [], {}, {"id": 3}, {"id": "no"}, {**REPO, "gguf": 7, "tags": "x"}])
    (repo,) = (await hub().search("x")).repos
    assert (repo.name, repo.licence, repo.parameters) == ("org/Model-GGUF", "", None)


async def test_an_answer_without_end_is_cut_off(server: FaultServer, hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_PAGE", 50_000)

    async def flood(exchange: Exchange) -> None:
        await exchange.head()
        with contextlib.suppress(ConnectionError):
            while True:
                await exchange.chunk(b"[" + b" " * 20_000)

    server.routes["*"] = flood
    failure = await refused(hub().search("x"))
    assert "larger than" in failure.what


async def test_a_hub_that_is_silent_is_not_waited_for(
    server: FaultServer, hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "WITHIN", 0.1)
    server.routes["*"] = lambda exchange: exchange.gone()
    failure = await refused(hub().search("x"))
    assert failure.kind is FailureKind.TIMEOUT


async def test_a_search_that_nobody_waits_for_ends_its_connection(server: FaultServer, hub: Callable[..., Hub]) -> None:
    asked = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        asked.set()
        await exchange.gone()

    server.routes["*"] = hold
    work = asyncio.ensure_future(hub().search("x"))
    await asked.wait()
    work.cancel()
    await server.closed.wait()
    assert server.open == 0


async def test_a_renamed_repository_is_followed_on_the_same_host(server: FaultServer, hub: Callable[..., Hub]) -> None:
    server.routes["/api/models/org/Old?blobs=true"] = lambda exchange: exchange.reply(
        307, b"", {"location": "/api/models/org/Model-GGUF?blobs=true"}
    )
    server.routes["/api/models/org/Model-GGUF?blobs=true"] = lambda exchange: exchange.json({**REPO, "siblings": [entry("m-Q4_0.gguf")]})
    found = await hub().files("org/Old")
    assert found.repo.name == "org/Model-GGUF" and found.files[0].pull == "hf.co/org/Model-GGUF:Q4_0"


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/api/models/x/y", "https://evil.example.com/", "file:///etc/passwd", ""])
async def test_P53_no_redirect_leads_to_another_host(server: FaultServer, hub: Callable[..., Hub], location: str) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(302, b"", {"location": location} if location else {})
    failure = await refused(hub().files("org/x"))
    assert failure.kind in (FailureKind.PROTOCOL, FailureKind.REDIRECT)
    assert len(server.requests) == 1


async def test_a_ring_of_redirects_ends(server: FaultServer, hub: Callable[..., Hub]) -> None:
    server.routes["*"] = lambda exchange: exchange.reply(302, b"", {"location": "/api/models/again"})
    failure = await refused(hub().files("org/x"))
    assert "again and again" in failure.what and len(server.requests) == redirects.MAX_REDIRECTS + 1


# --- the key ----------------------------------------------------------------------------------------------------------


async def test_P53_another_hub_never_gets_the_key(server: FaultServer, hub: Callable[..., Hub]) -> None:
    def give() -> str:
        raise AssertionError("the key was asked for")

    server.routes["*"] = lambda exchange: exchange.json([])
    await hub(key=give).search("x")
    assert "authorization" not in server.requests[0].headers


async def test_P53_hugging_face_gets_it_and_who_refuses_it_is_told_so(
    server: FaultServer, hub: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirects, "HUGGING_FACE", frozenset({server.url}))
    server.routes["*"] = lambda exchange: exchange.json([])
    await hub(key=lambda: "hf_secret_key").search("x")
    assert server.requests[0].headers["authorization"] == "Bearer hf_secret_key"
    server.routes["*"] = lambda exchange: exchange.reply(403, b'{"error":"hf_secret_key is not allowed"}')
    failure = await refused(hub(key=lambda: "hf_secret_key").files("org/x"))
    assert failure.kind is FailureKind.AUTH and "does not give org/x to your key" in failure.what
    assert "hf_secret_key" not in f"{failure}"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(PaddockError) as caught:
        Hub("ftp://example.org")
    assert caught.value.failure.kind is FailureKind.CONFIG
