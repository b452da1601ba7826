"""Text files as they are sent, and the tokens that fill a gap."""

import pytest

from tui.core.chat import Attachment, AttachmentKind, Message, Role
from tui.core.errors import FailureKind, PaddockError
from tui.core.events import Delta, Done
from tui.core.fim import FAMILIES, Trimmer, fim_of, trimmed
from tui.core.prompt_text import prompt_of


def message(text: str, *attached: Attachment) -> Message:
    return Message(0, 0, 1, Role.USER, text, attachments=attached)


def test_a_message_without_files_is_its_text():
    assert prompt_of(message("  hi\n")) == "  hi\n"
    assert prompt_of(message("")) == ""


def test_a_file_stands_behind_the_text_with_its_name_in_a_fence():
    note = Attachment("note.txt", text="from the file\n")
    assert prompt_of(message("sum up", note)) == "sum up\n\nnote.txt:\n```txt\nfrom the file\n```"
    assert prompt_of(message("", note)) == "note.txt:\n```txt\nfrom the file\n```"


def test_images_are_no_part_of_the_text():
    image = Attachment("a.png", AttachmentKind.IMAGE, data=b"x", media="image/png")
    assert prompt_of(message("look", image)) == "look"


@pytest.mark.parametrize("inside, fence", [("a", 3), ("```", 4), ("x ````` y", 6), ("``", 3)])
def test_X05_X21_no_file_can_leave_its_fence(inside, fence):
    text = prompt_of(message("q", Attachment("evil\n```\nname", text=inside)))
    name, opening, *_, closing = text.split("\n\n")[1].split("\n")
    assert opening == closing == "`" * fence
    assert "```" in name and "\n" not in name.split(":")[0]


@pytest.mark.parametrize("model, word", [
    ("codellama:7b-code", "codellama"), ("qwen2.5-coder:7b", "qwen2.5coder"), ("Qwen/Qwen2.5-Coder-32B", "qwen2.5coder"),
    ("Qwen3-Coder-30B-A3B.gguf", "qwen3coder"), ("starcoder2:3b", "starcoder"), ("deepseek-coder:6.7b", "deepseekcoder"),
    ("deepseek-coder-v2:16b", "deepseekcoder"), ("codegemma:2b", "codegemma"), ("codestral:22b", "codestral"),
    ("granite-code:8b", "granitecode"), ("granite3.3:8b", "granite3.3"), ("stable-code:3b", "stablecode"),
])  # fmt: skip
def test_families_are_known_by_name(model, word):
    found = fim_of(model)
    assert found is not None and word in found.words


@pytest.mark.parametrize("model", ["qwen3:8b", "llama3.2", "gemma3:4b", "", "granite-embedding"])
def test_models_that_fill_nothing(model):
    assert fim_of(model) is None


def test_every_row_holds_both_sides_and_its_source():
    for family in FAMILIES:
        made = family.prompt("BEFORE{suffix}", "BEHIND{prefix}")
        assert made.count("BEFORE{suffix}") == made.count("BEHIND{prefix}") == 1
        assert family.source and family.stops and made != family.shape
    assert fim_of("codellama").prompt("a", "b") == "<PRE> a <SUF>b <MID>"
    assert fim_of("codestral").prompt("a", "b") == "[SUFFIX]b[PREFIX]a"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("text, kept", [
    ("return a<EOT> and more", "return a"), ("a < b <E", "a < b <E"), ("<EOT>", ""), ("x<EO<EOT>", "x<EO"), ("x</s>y<EOT>", "x"),
])  # fmt: skip
def test_stop_tokens_are_cut_off_wherever_they_are_split(size, text, kept):
    trimmer = Trimmer(("<EOT>", "</s>"))
    got = "".join(trimmer.feed(text[at : at + size]) for at in range(0, len(text), size)) + trimmer.close()
    assert got == kept


async def test_a_model_that_goes_on_behind_its_stop_is_left():
    closed = []

    async def endless():
        try:
            while True:
                yield Delta("a<EOT>")
        finally:
            closed.append(True)

    assert [event async for event in trimmed(endless(), ("<EOT>",))] == [Delta("a"), Done("stop")]
    assert closed


async def test_a_stream_is_trimmed_and_what_was_held_comes_before_a_fault():
    async def events(fault):
        yield Delta("a<E")
        if fault:
            raise PaddockError.of("cut", kind=FailureKind.INTERRUPTED)
        yield Delta("OT>rest")
        yield Done("stop")

    assert [event async for event in trimmed(events(False), ("<EOT>",))] == [Delta("a"), Done("stop")]
    got = []
    with pytest.raises(PaddockError):
        async for event in trimmed(events(True), ("<EOT>",)):
            got.append(event)
    assert got == [Delta("a"), Delta("<E")]
