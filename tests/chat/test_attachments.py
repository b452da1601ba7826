"""Reading what goes with a prompt: text, images, and everything that is neither."""

from __future__ import annotations

import os
import socket
import struct
import threading
import zlib
from pathlib import Path

import pytest

from tui.core.chat import AttachmentKind
from tui.services.chat import attachments
from tui.services.chat.attachments import dimensions, from_text, media_of, read


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc2\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x11\x00\x00"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00"


def webp(kind: bytes, body: bytes) -> bytes:
    return b"RIFF\x00\x00\x00\x00WEBP" + kind + struct.pack("<I", len(body)) + body


IMAGES = {
    "image/png": png(640, 480),
    "image/jpeg": jpeg(640, 480),
    "image/gif": gif(640, 480),
    "image/webp": webp(b"VP8X", b"\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(path: Path, **limits) -> str:
    found, failures = read([path], **limits)
    assert not found
    assert len(failures) == 1
    assert failures[0].what
    assert failures[0].remedy
    return failures[0].what


def test_text_is_exact_whatever_its_encoding(tmp_path):
    text = "naïve 模型\r\nsecond\tline\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        found, failures = read([write(tmp_path / "a b.txt", text.encode(encoding))])
        assert not failures
        assert found[0].text == text
        assert found[0].kind is AttachmentKind.TEXT
        assert (found[0].name, found[0].size) == ("a b.txt", len(text.encode(encoding)))
        assert found[0].path == str(tmp_path / "a b.txt")
        assert len(found[0].digest) == 64


@pytest.mark.parametrize("media", IMAGES)
def test_images_by_their_first_bytes_whatever_their_name(tmp_path, media):
    data = IMAGES[media]
    path = write(tmp_path / "report.txt", data)
    assert (media_of(data), dimensions(data)) == (media, (640, 480))
    for sees in (True, None):
        found, failures = read([path], sees=sees)
        assert not failures
        assert (found[0].kind, found[0].media, found[0].data) == (AttachmentKind.IMAGE, media, data)
    assert "the model cannot see" in refusal(path, sees=False)
    assert "an image may have" in refusal(path, image_limit=10, text_limit=1000)
    assert "damaged" in refusal(write(tmp_path / "cut", data[:9] if media == "image/gif" else data[:14]))


def test_images_in_the_other_forms_of_webp():
    lossless = webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14))
    lossy = webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 640, 480))
    assert dimensions(lossless) == dimensions(lossy) == (640, 480)


def test_an_image_that_says_it_is_enormous_is_refused(tmp_path):
    assert "100,000 x 100,000 pixels" in refusal(write(tmp_path / "bomb.png", png(100_000, 100_000)))


def test_damaged_headers_never_raise():
    for data in IMAGES.values():
        for end in range(len(data)):
            assert dimensions(data[:end]) in (None, (640, 480))
    assert dimensions(b"\xff\xd8\xff\xe0\x00\x00" + b"\xff" * 50) is None
    assert dimensions(jpeg(0, 0)) is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0" * 5000, "is not text"),
        (bytes(range(256)) * 4, "is not text"),
        (b"fa\xe7ade\n" * 3, "is not UTF-8 (line 1)"),
        (b"ok\nok\nfa\xe7ade\n", "is not UTF-8 (line 3)"),
        (b"%PDF-1.7\n%\xe2", "is a PDF"),
        (b"PK\x03\x04\x14", "a ZIP archive"),
        (b"GGUF\x03", "is a model"),
    ],
)
def test_what_is_no_text_is_refused_in_words(tmp_path, data, words):
    assert words in refusal(write(tmp_path / "x", data))


def test_folders_pipes_sockets_devices_are_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        done: list[str] = []
        names = {"pipe": "is a pipe", "folder": "is a folder", "socket": "is a socket", "gone": "does not exist", "loop": "cannot be read"}

        def run() -> None:
            done.extend(refusal(tmp_path / name) for name in names)
            done.append(refusal(Path("/dev/zero")))
            done.append(refusal(tmp_path / ("n" * 300)))
            done.append(refusal(Path("a\0b")))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(10)
    assert not thread.is_alive()
    assert len(done) == len(names) + 3
    for what, words in zip(done, [*names.values(), "is a device", "cannot be read", "does not exist"], strict=True):
        assert words in what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path):
    path = write(tmp_path / "secret", b"x")
    path.chmod(0)
    assert "may not be read" in refusal(path)


def test_a_file_of_50_mb_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    assert "has 50 MB; at most 20 MB are read" in refusal(path)
    path.write_bytes(b"x" * 9_000_000)
    assert "has more than 8.0 MB" in refusal(path)


def test_a_file_that_grows_is_read_as_it_was(tmp_path, monkeypatch):
    path = write(tmp_path / "log", "line\nü".encode()[:-1])
    real = os.read

    def grow(handle: int, count: int) -> bytes:
        data = real(handle, count)
        with path.open("ab") as file:
            file.write(b"\xbc more\n")
        return data

    monkeypatch.setattr(attachments.os, "read", grow)
    found, failures = read([path])
    assert not failures
    assert found[0].text == "line\n"


def test_a_file_that_says_it_is_empty_is_read_to_its_end():
    found, failures = read(["/proc/self/status"])
    assert not failures
    assert "Name:" in found[0].text


def test_a_paste_becomes_an_attachment():
    made = from_text("paste\n1", "a\ud800b")
    assert (made.name, made.kind, made.text, made.size) == ("paste⏎1", AttachmentKind.TEXT, "a\ufffdb", 5)


def test_too_many_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(attachments, "COUNT_LIMIT", 2)
    path = write(tmp_path / "a", b"x")
    found, failures = read([path] * 5)
    assert len(found) == 2
    assert "3 files were left out" in failures[0].what


def test_X01_hostile_names_are_cleaned(tmp_path):
    path = write(tmp_path / "a\x1b[31m\u202eb.txt", b"x")
    found, _failures = read([path])
    assert "\x1b" not in found[0].name + found[0].path
    assert "\u202e" not in found[0].name + found[0].path
