"""Addresses as people and OLLAMA_HOST write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.core.errors import FailureKind, PaddockError
from tui.providers.address import (
    candidates,
    display_place,
    display_url,
    is_loopback,
    is_private,
    ollama_host,
    origin,
    parse,
    port_name,
    ssh_command,
)
from tui.providers.catalogue import kinds


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", None),
        ('  "" ', None),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("[::]:8000", "http://[::1]:8000"),
        (":8080", "http://127.0.0.1:8080"),
        ("example.lan", "http://example.lan:11434"),
        ("http://example.lan", "http://example.lan:80"),
        ("https://example.lan", "https://example.lan:443"),
        ("https://gw.lan/ollama", "https://gw.lan:443/ollama"),
        ("example.lan:99999", "http://example.lan:11434"),
        ("http://example.lan:abc", "http://example.lan:80"),
        ("ollama.com", "https://ollama.com:443"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        (" 'gpu2:1' ", "http://gpu2:1"),
        ("user:pw@gpu2", "http://gpu2:11434"),
        ("bad host", None),
        ("ftp://x", None),
    ],
)
def test_ollama_host_is_read_as_its_own_client_does(value: str, url: str | None) -> None:
    assert ollama_host({"OLLAMA_HOST": value}) == url


def test_ollama_host_unset() -> None:
    assert ollama_host({}) is None


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("gpu2:8000", ["http://gpu2:8000", "https://gpu2:8000"]),
        ("gw.lan:443", ["https://gw.lan:443", "http://gw.lan:443"]),
        ("https://gw.lan/ollama/", ["https://gw.lan:443/ollama"]),
        ("http://h:1/v1/chat/completions?x=1#y", ["http://h:1"]),
        ("http://h:1/gw/v1/models/", ["http://h:1/gw"]),
        ("HTTP://GPU2:80", ["http://gpu2:80"]),
        ("[::1]:8080", ["http://[::1]:8080", "https://[::1]:8080"]),
        ("0.0.0.0:8080", ["http://127.0.0.1:8080", "https://127.0.0.1:8080"]),
        ("http://[fe80::1%25lo]:80", ["http://[fe80::1%25lo]:80"]),
        ("http://ann:secret@h:1", ["http://h:1"]),
        ("bücher.example:80", ["http://xn--bcher-kva.example:80", "https://xn--bcher-kva.example:80"]),
        ("http://[::ffff:127.0.0.1]:80", ["http://127.0.0.1:80"]),
        ("unix:///run/x.sock", ["unix:///run/x.sock"]),
        ("http://h:1/ü", ["http://h:1/%C3%BC"]),
        ("  gpu2:1\n", ["http://gpu2:1", "https://gpu2:1"]),
    ],
)
def test_H28_what_is_typed_is_normalised(text: str, urls: list[str]) -> None:
    assert [one.url for one in candidates(text, kinds())] == urls


def test_a_bare_host_is_ollama_first_and_https_last() -> None:
    tries = candidates("gpu-box", kinds())
    assert [one.url for one in tries][:4] == [f"http://gpu-box:{port}" for port in (11434, 8080, 1234, 8000)]
    assert (tries[0].why, tries[-1].url) == ("Ollama", "https://gpu-box:443")
    assert candidates("http://gpu-box", kinds())[0].url == "http://gpu-box:80"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "address"),
        ("   ", "address"),
        ("a b", "address"),
        ("h\x1b[2J", "address"),
        ("x" * 5000, "address"),
        ("ftp://x", "scheme"),
        ("javascript://x", "scheme"),
        ("h:70000", "port"),
        ("h:0", "port"),
        ("h:abc", "port"),
        ("http://:80", "host"),
        ("http://", "host"),
        ("-oProxyCommand=x", "host"),
        ("a..b", "host"),
        ("1.2.3", "host"),
        ("[::1", "host"),
        ("[::1]x", "host"),
        ("[::zz]:1", "host"),
        ("a" * 64, "host"),
        ("\ud800", "address"),
        ("unix://relative", "socket"),
    ],
)
def test_H28_P45_what_is_wrong_is_refused_by_field(text: str, where: str) -> None:
    with pytest.raises(PaddockError) as caught:
        parse(text)
    failure = caught.value.failure
    assert (failure.where, failure.kind) == (where, FailureKind.BAD_REQUEST)
    assert failure.what
    assert failure.remedy


@pytest.mark.parametrize("text", ["http://ann:secret@h:70000", "http://ann:secret@a b", "http://ann:secret/x@h", "http://ann:secret@-x"])
def test_H28_a_password_is_never_repeated(text: str) -> None:
    with pytest.raises(PaddockError) as caught:
        parse(text)
    assert "secret" not in str(caught.value.failure)
    assert "secret" not in display_url(text)


def test_display_drops_the_password_and_shows_odd_characters() -> None:
    assert display_url("http://ann:secret@gpu2:1/x") == "http://gpu2:1/x"
    assert display_place("http://gpu2:1") == "gpu2:1"
    assert display_place("https://gpu2:1") == "https://gpu2:1"
    assert "\u202e" not in display_url("http://h\u202e:1")


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_refusal(text: str) -> None:
    try:
        typed = parse(text)
    except PaddockError as error:
        assert error.failure.what
        return
    again = parse(typed.url)
    assert (again.host, again.path) == (typed.host, typed.path)
    assert not typed.port_given or again.url == typed.url
    assert display_url(text).isprintable()


@pytest.mark.parametrize(
    ("url", "loopback", "private"),
    [
        ("http://127.0.0.1:1", True, True),
        ("http://127.8.9.1:1", True, True),
        ("http://localhost:1", True, True),
        ("http://box.localhost:1", True, True),
        ("http://[::1]:1", True, True),
        ("unix:///run/x", True, True),
        ("http://10.1.2.3:1", False, True),
        ("http://192.168.1.1:1", False, True),
        ("http://100.100.1.1:1", False, True),
        ("http://[fd00::1]:1", False, True),
        ("http://[fe80::1%25lo]:1", False, True),
        ("http://gpu2:1", False, True),
        ("http://gpu2.local:1", False, True),
        ("http://8.8.8.8:1", False, False),
        ("https://api.example.com", False, False),
        ("http://localhost.example.com:1", False, False),
        ("not an address", False, False),
    ],
)
def test_which_addresses_are_of_this_machine_or_network(url: str, loopback: bool, private: bool) -> None:
    assert (is_loopback(url), is_private(url)) == (loopback, private)


def test_X10_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://Gw.lan/ollama") == "https://gw.lan:443"
    assert origin("http://h:1/a") == origin("http://h:1/b") != origin("http://h:2/a")
    assert origin("unix:///a") == "unix:///a"
    assert origin(" ") == ""


def test_names_of_ports_and_the_tunnel() -> None:
    assert [port_name(port, kinds()) for port in (11434, 8080, 5001, 1)] == ["Ollama", "llama.cpp", "KoboldCpp", ""]
    assert ssh_command("gpu2", 11434) == "ssh -L 11435:127.0.0.1:11434 gpu2"
    assert ssh_command("gpu2", 65535) == "ssh -L 60000:127.0.0.1:65535 gpu2"
