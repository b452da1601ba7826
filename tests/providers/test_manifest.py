"""What a registry announces, read from a real socket: good, refused, hostile, and pointing elsewhere."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable

import pytest

import tui.providers.manifest as manifest_module
from tests.support.fault_server import FaultServer
from tests.support.registry import (
    CONFIG,
    MANIFEST_MEDIA,
    FakeRegistry,
    answer,
    digest_of,
    error,
    layer,
    manifest_bytes,
    redirect,
    reset,
    silent,
    zipped,
)
from tests.support.screen import CANARIES, FORBIDDEN
from tui import __version__
from tui.core.errors import Failure, FailureKind, PaddockError
from tui.core.names import parse
from tui.providers import probe, redirects
from tui.providers.manifest import Registry, parse_manifest, registry_url
from tui.providers.redirects import is_hugging_face

FINAL = {FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED, FailureKind.FORBIDDEN, FailureKind.BAD_REQUEST}
NAME = "qwen3:8b"
Open = Callable[..., Registry]


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    found = FakeRegistry()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def elsewhere() -> AsyncIterator[FaultServer]:
    """Another server, on another port: where nothing of ours may arrive unasked."""
    found = FaultServer()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def opened(registry: FakeRegistry) -> AsyncIterator[Open]:
    made: list[Registry] = []

    def make(url: str = "", **more: object) -> Registry:
        made.append(Registry(url or registry.url, **{"version": "0.24.0", **more}))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


async def refused(registry: Registry, name: str = NAME) -> Failure:
    with pytest.raises(PaddockError) as caught:
        await registry.manifest(parse(name))
    failure = caught.value.failure
    assert failure.what
    assert failure.where
    assert failure.remedy
    assert not FORBIDDEN & set(failure.what + failure.where + failure.remedy)
    return failure


async def test_the_layers_their_kinds_and_what_the_config_says(registry, opened):
    digest = registry.add(NAME, config={**CONFIG, "requires": "0.20.1"})
    found = await opened().manifest(parse(NAME))
    assert [(part.kind, part.size) for part in found.layers[:-1]] == [
        ("weights", 5_225_374_496), ("template", 1_723), ("licence", 11_338), ("parameters", 120),
    ]  # fmt: skip
    assert found.layers[-1].kind == "config"
    assert found.digest == found.canonical == digest
    assert (found.parameters, found.quantization, found.family, found.context) == ("8.2B", "Q4_K_M", "qwen3", 40960)
    assert found.requires == "0.20.1"
    assert not found.remote
    first, second = registry.requests
    assert first.path == "/v2/library/qwen3/manifests/8b"
    assert first.headers["accept"] == MANIFEST_MEDIA
    assert first.headers["user-agent"] == f"ollama/0.24.0 (paddock/{__version__})"
    assert second.path.startswith("/v2/library/qwen3/blobs/sha256:")
    assert not [request for request in registry.requests if "authorization" in request.headers]


@pytest.mark.parametrize("version", ["", "0.24.0\r\nx: y", "a" * 200, "né"])
async def test_a_version_that_is_none_is_not_claimed(registry, opened, version):
    registry.add(NAME)
    await opened(version=version).manifest(parse(NAME))
    assert registry.requests[0].headers["user-agent"] == f"paddock/{__version__}"


async def test_every_kind_of_layer_has_a_word(registry, opened):
    kinds = ["model", "projector", "adapter", "template", "system", "params", "messages", "license", "draft", "tensor", "json", "new-kind"]
    registry.add(NAME, [(kind, 1) for kind in kinds], None)
    found = await opened().manifest(parse(NAME))
    words = ["weights", "projector", "adapter", "template", "system", "parameters", "messages", "licence", "draft", "tensor", "metadata"]
    assert [part.kind for part in found.layers] == [*words, ""]


async def test_a_server_before_0_19_has_another_digest_of_the_same_manifest(registry, opened):
    layers = [{**layer("model", 5), "from": "a<b>&\u2028"}, {**layer("template", 6), "annotations": {"x": 1}}]
    config = {"mediaType": "c", "digest": digest_of("config"), "size": 70_000}
    value = {"layers": layers, "config": config, "schemaVersion": 2, "mediaType": "m"}
    registry.add(NAME, body=json.dumps(value, indent=1).encode())
    found = await opened().manifest(parse(NAME))
    written = (
        f'{{"schemaVersion":2,"mediaType":"m","config":{{"mediaType":"c","digest":"{config["digest"]}","size":70000}},"layers":['
        f'{{"mediaType":"{layers[0]["mediaType"]}","digest":"{layers[0]["digest"]}","size":5,"from":"a\\u003cb\\u003e\\u0026\\u2028"}},'
        f'{{"mediaType":"{layers[1]["mediaType"]}","digest":"{layers[1]["digest"]}","size":6}}]}}'
    )
    assert found.canonical == hashlib.sha256(written.encode()).hexdigest() != found.digest


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_Q09_a_name_that_the_registry_does_not_know_is_refused_in_our_words(registry, opened):
    failure = await refused(opened(), "no-such:1b")
    assert failure.kind is FailureKind.NOT_FOUND
    assert failure.what == f"127.0.0.1:{registry.port} has no model or tag no-such:1b"


async def test_Q09_a_newer_server_is_needed(registry, opened):
    text = "\nThe model you are attempting to pull requires a newer version of Ollama.\n\nPlease download the latest version at:\n"
    registry.fault(NAME, answer(text.encode(), 412, kind="text/plain"))
    failure = await refused(opened())
    assert failure.kind is FailureKind.UNSUPPORTED
    assert failure.what == "qwen3:8b needs a newer Ollama; the server has 0.24.0"
    assert failure.remedy == "Update the server, then pull again"
    assert "newer version" in failure.details


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("words", ["Access to model a/b is restricted. You must have access to it", "This repo is gated"])
async def test_Q09_gated_is_said_and_final(registry, opened, status, words):
    registry.fault(NAME, error(status, words))
    failure = await refused(opened())
    assert failure.kind is FailureKind.FORBIDDEN
    assert "models.hf_token" in failure.remedy


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_is_wanted_which_the_server_may_have(registry, opened, status):
    registry.fault(NAME, error(status, "Invalid username or password."))
    assert (await refused(opened())).kind is FailureKind.AUTH


async def test_Q09_the_hubs_own_words_about_a_tag(registry, opened):
    registry.fault(NAME, error(400, "The specified tag is not available in the repository"))
    failure = await refused(opened())
    assert failure.kind is FailureKind.BAD_REQUEST
    assert "The specified tag is not available" in failure.what


@pytest.mark.parametrize("status", [400, 405, 408, 409, 410, 418, 422, 429, 451, 500, 501, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [b"", b"<html><title>Gateway</title>" + b"x" * 100_000, b"\xff\x00\x01" * 99, b'{"errors":[{"code":"X"}]}', b"[1]"]
)
async def test_H11_any_other_status_is_no_last_word(registry, opened, status, body):
    registry.fault(NAME, answer(body, status, kind="text/html" if body[:1] == b"<" else "application/json"))
    assert (await refused(opened())).kind not in FINAL


# --- hostile answers -------------------------------------------------------------------------------------------------

GOOD = layer("model", 5)
HOSTILE = {
    "nothing": b"",
    "a web page": b"<!doctype html><title>Sign in</title>",
    "a list": b"[]",
    "a number": b"7",
    "no layers": b'{"schemaVersion":2}',
    "an index": b'{"manifests":[]}',
    "layers are an object": b'{"layers":{}}',
    "a layer is a text": b'{"layers":["x"]}',
    "a layer is null": b'{"layers":[null]}',
    "no digest": json.dumps({"layers": [{"size": 5}]}).encode(),
    "a digest that leads elsewhere": json.dumps({"layers": [{**GOOD, "digest": "sha256:../../x"}]}).encode(),
    "upper case": json.dumps({"layers": [{**GOOD, "digest": GOOD["digest"].upper()}]}).encode(),
    "a line end behind": json.dumps({"layers": [{**GOOD, "digest": GOOD["digest"] + "\n"}]}).encode(),
    "sha1": json.dumps({"layers": [{**GOOD, "digest": "sha1:" + "a" * 40}]}).encode(),
    "negative": json.dumps({"layers": [{**GOOD, "size": -1}]}).encode(),
    "a text for a size": json.dumps({"layers": [{**GOOD, "size": "5"}]}).encode(),
    "true for a size": json.dumps({"layers": [{**GOOD, "size": True}]}).encode(),
    "a fraction": json.dumps({"layers": [{**GOOD, "size": 5.5}]}).encode(),
    "huge": json.dumps({"layers": [{**GOOD, "size": 2**62}]}).encode(),
    "huge in sum": json.dumps({"layers": [layer(str(number), 10**14) for number in range(11)]}).encode(),
    "1e999": b'{"layers":[{"digest":"' + GOOD["digest"].encode() + b'","size":1e999}]}',
    "two sizes": json.dumps({"layers": [GOOD, {**GOOD, "size": 6}]}).encode(),
    "a config without digest": json.dumps({"layers": [GOOD], "config": {"size": 5}}).encode(),
    "a config that is a text": json.dumps({"layers": [GOOD], "config": "x"}).encode(),
    "too many": json.dumps({"layers": [0] * 20_001}).encode(),
    "too deep": b"[" * 100_000,
    "long digits": b'{"layers":[{"size":' + b"9" * 5000 + b"}]}",
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_H19_what_is_no_manifest_is_no_last_word_either(registry, opened, what):
    registry.fault(NAME, answer(HOSTILE[what]))
    assert (await refused(opened())).kind is FailureKind.PROTOCOL


async def test_a_layer_that_comes_twice_counts_once(registry, opened):
    config = json.dumps(CONFIG).encode()
    same = {**layer("json", len(config)), "digest": digest_of(config)}
    registry.add(NAME, body=manifest_bytes([GOOD, GOOD, same], config))
    found = await opened().manifest(parse(NAME))
    assert [part.digest for part in found.layers] == [GOOD["digest"], digest_of(config)]


def test_ten_thousand_layers_are_many_and_read():
    layers, config, canonical = parse_manifest(manifest_bytes([layer("tensor", 7, digest_of(str(at))) for at in range(10_000)], b"{}"))
    assert len(layers) == 10_001
    assert config is not None
    assert len(canonical) == 64


async def test_four_megabytes_are_enough(registry, opened):
    registry.add(NAME, body=b'{"layers":[],"x":"' + b"x" * 4_194_304 + b'"}')
    failure = await refused(opened())
    assert failure.kind is FailureKind.PROTOCOL
    assert "larger than" in failure.what


async def test_a_compressed_answer_is_not_read(registry, opened):
    registry.fault(NAME, zipped(manifest_bytes([GOOD], None)))
    assert (await refused(opened())).kind is FailureKind.PROTOCOL


async def test_a_broken_line_and_a_silent_registry(registry, opened, monkeypatch):
    registry.fault(NAME, reset)
    assert (await refused(opened())).kind is FailureKind.INTERRUPTED
    monkeypatch.setattr(manifest_module, "MANIFEST_WITHIN", 0.05)
    registry.fault(NAME, silent)
    assert (await refused(opened())).kind is FailureKind.TIMEOUT


async def test_nobody_listens(opened):
    assert (await refused(opened("http://127.0.0.1:9"))).kind is FailureKind.UNREACHABLE


# --- the config ------------------------------------------------------------------------------------------------------


def config_route(registry: FakeRegistry) -> str:
    return next(path for path in registry.routes if "/blobs/" in path)


@pytest.mark.parametrize(
    "route", [answer(b"{}"), answer(b"", 404), answer(b"x", 500), reset, silent, zipped(b"{}"), redirect("ftp://x/y"), redirect("")]
)
async def test_a_config_that_cannot_be_read_costs_only_what_it_says(registry, opened, monkeypatch, route):
    monkeypatch.setattr(manifest_module, "CONFIG_WITHIN", 0.2)
    digest = registry.add(NAME)
    registry.routes[config_route(registry)] = route
    found = await opened().manifest(parse(NAME))
    assert found.digest == digest
    assert len(found.layers) == 5
    assert (found.family, found.context) == ("", None)


async def test_a_large_config_is_not_asked_for(registry, opened):
    registry.add(NAME, config={"model_family": "x" * 70_000})
    assert (await opened().manifest(parse(NAME))).family == ""
    assert not registry.asked("/blobs/")


@pytest.mark.parametrize("text", CANARIES)
async def test_texts_of_the_config_are_cleaned(registry, opened, text):
    fields = ("model_family", "model_type", "file_type", "requires")
    registry.add(NAME, config={**dict.fromkeys(fields, text), "context_length": -5})
    found = await opened().manifest(parse(NAME))
    for shown in (found.family, found.parameters, found.quantization, found.requires):
        assert len(shown) <= 60
        assert not FORBIDDEN & set(shown)
    assert found.context is None


@pytest.mark.parametrize("value", [5, None, [], {}, True, "x"])
async def test_fields_of_the_wrong_type_are_left_out(registry, opened, value):
    registry.add(NAME, config={**dict.fromkeys(("model_family", "model_type", "requires", "remote_host"), value), "context_length": value})
    found = await opened().manifest(parse(NAME))
    if value != "x":
        assert (found.family, found.parameters, found.requires, found.remote) == ("", "", "", False)
    assert found.context == (5 if value == 5 else None)


async def test_a_stub_of_the_cloud_says_so(registry, opened):
    registry.add("gpt-oss:120b-cloud", (), {"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"})
    assert (await opened().manifest(parse("gpt-oss:120b-cloud"))).remote


# --- redirects and keys ----------------------------------------------------------------------------------------------


async def test_H22_a_manifest_that_is_elsewhere_is_not_fetched_there(registry, elsewhere, opened):
    registry.fault(NAME, redirect(f"{elsewhere.url}/m"))
    assert (await refused(opened())).kind is FailureKind.PROTOCOL
    assert not elsewhere.requests


async def test_H22_a_config_may_be_elsewhere_and_is_checked(registry, elsewhere, opened):
    config = json.dumps(CONFIG).encode()
    elsewhere.routes["/signed/blob?sig=1"] = answer(config)
    registry.add(NAME)
    registry.routes[config_route(registry)] = redirect(f"{elsewhere.url}/signed/blob?sig=1")
    assert (await opened().manifest(parse(NAME))).family == "qwen3"
    elsewhere.routes["/signed/blob?sig=1"] = answer(config + b" ")
    assert (await opened().manifest(parse(NAME))).family == ""


async def test_H22_a_loop_of_redirects_ends(registry, opened):
    registry.add(NAME)
    path = config_route(registry)
    registry.routes[path] = redirect(path)
    assert (await opened().manifest(parse(NAME))).family == ""
    assert len(registry.asked("/blobs/")) == 4


@pytest.fixture
def resolved(monkeypatch):
    """What names resolve to."""
    known = {"cdn.example.com": "203.0.113.9", "open.example.com": "93.184.216.34", "evil.example.com": "10.0.0.7", "0x7f.1": "127.0.0.1"}

    async def resolve(host, port):
        return ((2, (known.get(host, host), port)),)

    monkeypatch.setattr(probe, "resolve", resolve)


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://[::ffff:10.0.0.1]/x", "https://10.1.2.3/x",
        "https://192.168.1.1/x", "https://169.254.169.254/latest", "https://100.64.0.1/x", "https://router/x", "https://nas.local/x",
        "https://2130706433/x", "https://0x7f.1/x", "https://evil.example.com/x", "https://cdn.example.com/x", "http://open.example.com/x",
        "file:///etc/passwd", "ftp://open.example.com/x", "http://[bad", "https://user:secret@open.example.com/x",
        "https://open.example.com:99999/x", "https://öpen.example.com/x", "javascript:alert(1)",
    ],
)  # fmt: skip
async def test_H22_a_registry_of_the_world_leads_nobody_inside(resolved, opened, location):
    http = opened("https://registry.example.com")._http
    with pytest.raises(PaddockError):
        await redirects.next_hop("https://registry.example.com/v2/a/b/blobs/x", location, http, anywhere=True)


async def test_H22_to_another_public_host_it_may_lead(resolved, opened):
    http = opened("https://registry.example.com")._http
    found = await redirects.next_hop("https://registry.example.com/v2/x", "https://open.example.com/a?b=c#d", http, anywhere=True)
    assert found[1:] == ("https://open.example.com:443", "/a?b=c")


@pytest.mark.parametrize(
    ("url", "so"),
    [
        ("https://hf.co", True), ("https://huggingface.co", True), ("https://HF.co:443", True), ("http://hf.co", False),
        ("https://hf.co:8443", False), ("https://hf.co.example.com", False), ("https://evil-hf.co", False),
        ("https://registry.ollama.ai", False),
        ("https://huggingface.co@example.com", False), ("nonsense://", False),
    ],
)  # fmt: skip
def test_P53_who_is_hugging_face(url, so):
    assert is_hugging_face(url) is so


def test_where_a_name_is_asked_for():
    assert registry_url(parse("qwen3")) == "https://registry.ollama.ai"
    assert registry_url(parse("HF.co/org/repo:Q4_K_M")) == "https://hf.co"
    assert registry_url(parse("box.lan:5000/me/m"), insecure=True) == "http://box.lan:5000"


async def test_P53_the_key_is_not_even_looked_up_for_others(registry, opened):
    registry.add(NAME)

    def key() -> str:
        raise AssertionError("asked for the key")

    await opened(key=key).manifest(parse(NAME))
    assert not [request for request in registry.requests if "authorization" in request.headers]


async def test_P53_the_key_goes_to_hugging_face_and_no_redirect_carries_it(registry, elsewhere, opened, monkeypatch):
    monkeypatch.setattr(redirects, "HUGGING_FACE", frozenset({registry.url}))
    config = json.dumps(CONFIG).encode()
    elsewhere.routes["/blob"] = answer(config)
    registry.add(NAME)
    registry.routes[config_route(registry)] = redirect(f"{elsewhere.url}/blob")
    found = await opened(key=lambda: "hf_secret_token").manifest(parse(NAME))
    assert found.family == "qwen3"
    assert {request.headers.get("authorization") for request in registry.requests} == {"Bearer hf_secret_token"}
    assert [request.headers.get("authorization") for request in elsewhere.requests] == [None]
    assert "hf_secret" not in json.dumps([request.headers for request in elsewhere.requests])


async def test_P53_from_one_name_of_hugging_face_to_the_other(registry, opened, monkeypatch):
    other = FakeRegistry()
    await other.start()
    try:
        monkeypatch.setattr(redirects, "HUGGING_FACE", frozenset({registry.url, other.url}))
        digest = other.add(NAME)
        registry.fault(NAME, redirect(f"{other.url}/v2/library/qwen3/manifests/8b", 301))
        assert (await opened(key=lambda: "hf_secret_token").manifest(parse(NAME))).digest == digest
        assert other.requests[0].headers["authorization"] == "Bearer hf_secret_token"
    finally:
        await other.stop()


async def test_P52_a_registry_that_repeats_the_key_does_not_show_it(registry, opened, monkeypatch):
    monkeypatch.setattr(redirects, "HUGGING_FACE", frozenset({registry.url}))
    registry.fault(NAME, error(400, "bad token hf_secret_token"))
    failure = await refused(opened(key=lambda: "hf_secret_token"))
    assert "hf_secret" not in failure.what + failure.details


async def test_H23_a_proxy_is_for_the_world_only(registry, elsewhere, opened, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, elsewhere.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    elsewhere.routes["*"] = answer(b"", 502)
    registry.add(NAME)
    await opened().manifest(parse(NAME))
    assert not elsewhere.requests
    failure = await refused(opened("https://registry.ollama.ai"))
    assert failure.kind not in FINAL
    assert elsewhere.requests[0].method == "CONNECT"
    assert elsewhere.requests[0].path == "registry.ollama.ai:443"
