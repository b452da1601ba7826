"""The commands of the Library and their arguments; one function an area."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any, Final

MODEL: Final = "as paddock ls shows it"


def library(add: Any) -> None:
    """Add them all."""
    _table(add)
    _kept(add)
    _making(add)
    _updates(add)
    _tuning(add)
    _disk(add)
    _fit(add)
    _catalogue(add)


def _kept(add: Any) -> None:
    command = add("cp", "give a model a second name", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("new", help="the second name")
    command = add("mv", "give a model another name; its earlier versions follow", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("new", help="the other name")
    command = add("rm", "delete models: to the trash, for models.trash, or for good", on=True)
    command.add_argument("models", nargs="+", metavar="model", help=MODEL)
    command.add_argument("--now", action="store_true", help="for good, with their earlier versions, past the trash")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = add("restore", "bring a deleted model back; without a name, list what is kept", on=True)
    command.add_argument("model", nargs="?", default="", help="the name it had, or the one it has in the trash")
    command.add_argument("--list", action="store_true", help="list what is in the trash, and earlier versions")
    command.add_argument("--as", dest="name", default="", metavar="NAME", help="bring it back under another name")
    command = add("versions", "earlier versions of a model: list them, go back, compare, drop", on=True)
    command.add_argument("model", help=MODEL)
    group = command.add_mutually_exclusive_group()
    group.add_argument("--back", type=int, default=0, metavar="N", help="make this one the model again; what it is now is kept")
    group.add_argument("--diff", type=int, default=0, metavar="N", help="what is different from what is installed")
    group.add_argument("--drop", type=int, default=0, metavar="N", help="delete this one for good")
    command.add_argument("--yes", action="store_true", help="do not ask")


def _table(add: Any) -> None:
    command = add("ls", "list installed models", on=True)
    command.formatter_class = RawDescriptionHelpFormatter
    command.description = _LS
    command.add_argument("--filter", default="", metavar="FILTER", help="only those, or the name of a saved filter; see above")
    command.add_argument("--sort", default="", metavar="WHAT", help="name provider size parameters quantization context changed used speed")
    command.add_argument("--reverse", action="store_true", help="the other way round")
    add("show", "tell everything about a model", on=True).add_argument("model", help=MODEL)
    command = add("compare", "tell two to four models side by side", on=True)
    command.add_argument("models", nargs="+", metavar="model", help=MODEL)
    command = add("pin", "never update models by themselves, never unload them for room", on=True)
    command.add_argument("models", nargs="+", metavar="model", help=MODEL)
    add("unpin", "let models be updated and unloaded again").add_argument("models", nargs="+", metavar="model", help=MODEL)


_LS: Final = """\
List installed models.

A filter is made of parts that must all hold, as in --filter 'qw 8b !vision >5g tools fits':

  word                      name, provider, quantization, family or parameters hold it
  vision tools thinking embed complete chat
                            it can do that
  fits loaded pinned update on this machine, in memory, in models.pinned, newer at the last look
  >5g <=500m                bytes; a bare number means GB
  <8b                       parameters, in billions
  >=32k                     tokens of context
  on:NAME quant:q4 licence:mit can:vision
  !...                      not so

FITS is reckoned at 8k of context from size and number of weights, corrected by loads that were measured; with the filter
fits from what its server tells of each model, as paddock fit does.
"""


def _updates(add: Any) -> None:
    command = add("outdated", "ask the registries what is newer than what is installed", on=True)
    command.add_argument("models", nargs="*", metavar="model", help=f"only these, {MODEL}")
    command.add_argument("--all", action="store_true", help="list what is current, too")
    command.add_argument("--yes", action="store_true", help="ask although general.network is metered")
    command = add("update", "fetch newer versions of installed models; pinned ones stay", on=True)
    command.add_argument("models", nargs="*", metavar="model", help=MODEL)
    command.add_argument("--all", action="store_true", help="all that their registry has newer")
    command.add_argument("--dry-run", action="store_true", help="show what would be fetched, and queue nothing")
    command.add_argument("--wait", action="store_true", help="stay until they are done")
    command.add_argument("--yes", action="store_true", help="allow what needs a yes")


def _tuning(add: Any) -> None:
    command = add("optimise", "propose options for a model on this machine", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("--apply", action="store_true", help="measure with and without them, and keep them only where that is better")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")
    command = add("quantize", "make a smaller model out of one with whole weights", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("levels", nargs="*", metavar="LEVEL", help="q8_0, q4_K_M, q4_K_S; nothing: tell what each would be")
    command.add_argument("--name", default="", help="of the new model, where one level is given")
    command.add_argument("--wait", action="store_true", help="stay until it is done")
    command = add("levels", "compare levels of a model: size, memory, speed, and how far their answers agree", on=True)
    command.add_argument("model", help=MODEL)
    command.add_argument("others", nargs="*", metavar="MODEL", help="compared with it; nothing: those that seem to be the same model")
    command.add_argument("--run", action="store_true", help="measure them; else what was measured last is shown")
    command.add_argument("--force", action="store_true", help="do it although a limit of [limits] is passed")


def _disk(add: Any) -> None:
    command = add("verify", "check that models on the disk are what their digests say", on=True)
    command.add_argument("models", nargs="*", metavar="model", help=MODEL)
    command.add_argument("--all", action="store_true", help="all that are installed")
    command = add("clean", "what lies on the disk, and deleting for good what no model needs", on=True)
    command.add_argument("what", nargs="*", metavar="trash|pulls|blobs", help="only these; else all three, and with --dry-run everything")
    command.add_argument("--dry-run", action="store_true", help="show what lies there and what each would free, and delete nothing")
    command.add_argument("--yes", action="store_true", help="do not ask")


def _fit(add: Any) -> None:
    command = add("fit", "what fits on this machine: context by quantization, or what to run", on=True)
    command.add_argument("model", nargs="?", default="", help=f"{MODEL}, or one of the catalogue")
    command.add_argument(
        "--context", default="", metavar="32k", help="only this many tokens of context; with --recommend, what has room for so many"
    )
    command.add_argument("--recommend", action="store_true", help="recommend models for this machine")
    command.add_argument("--can", default="", metavar="tools,vision", help="recommend what can do all this")


def _catalogue(add: Any) -> None:
    command = add("search", "search what can be pulled")
    command.formatter_class = RawDescriptionHelpFormatter
    command.description = _SEARCH
    command.add_argument(
        "text", nargs="*", metavar="TEXT", help="words, or parts of the filters' language: coder vision '<8gb' 'quant:q8' '!tools'"
    )
    command.add_argument("--can", action="append", default=[], metavar="vision,tools", help="only what can do all this")
    command.add_argument("--max", default="", metavar="8GB", help="only what has a tag of at most this size")
    command.add_argument("--fits", action="store_true", help="only what fits on this machine, which is measured for it")
    command.add_argument("--licence", default="", metavar="mit", help="only what is licenced so")
    command.add_argument("--tags", action="store_true", help="list the tags for which all this holds")
    command.add_argument("--refresh", action="store_true", help="fetch a newer list first")
    command.add_argument("--hub", action="store_true", help="ask Hugging Face for repositories with GGUF files")
    command.add_argument("--limit", type=int, default=40, metavar="N", help="repositories to list (400 at most)")
    command.add_argument("--yes", action="store_true", help="refresh although general.network is metered")


_SEARCH: Final = """\
Search what can be pulled.

  search TEXT...           the dated list that came with Paddock, or a newer copy of it
  search --refresh         fetch a newer list from models.catalogue_url; without one, today's sizes of what is installed
  search --hub TEXT...     repositories with GGUF files on Hugging Face (HF_ENDPOINT names another hub)
  search --hub ORG/REPO    the files of one, with sizes and the names to pull them by
"""


_CONFIGURE: Final = """\
What a model is asked with: shown, or changed; always as a diff first, and only after a yes.

Without --bake it goes into the configuration of Paddock ([models.options."NAME"]), which can hold options and keep_alive
and counts for what Paddock asks. With --bake it becomes part of a model on its server and counts for everybody: of this
one (the earlier version is kept: paddock versions) or of a new one of another name. keep_alive cannot be baked.
"""


def _making(add: Any) -> None:
    command = add("configure", "options, system prompt and template of a model, as a diff", on=True)
    command.description = _CONFIGURE
    command.formatter_class = RawDescriptionHelpFormatter
    command.add_argument("model", help=MODEL)
    command.add_argument("--option", action="append", default=[], metavar="K=V", help="an option, like num_ctx=8192; K= takes it out")
    command.add_argument("--stop", action="append", default=None, metavar="TEXT", help="a text that ends answers; all of them, one each")
    command.add_argument("--keep-alive", default=None, metavar="TIME", help="how long it stays loaded: 10m, 0, -1 for ever")
    command.add_argument("--system", default=None, metavar="TEXT|@FILE", help="system prompt; with --bake")
    command.add_argument("--template", default=None, metavar="TEXT|@FILE", help="template; with --bake")
    command.add_argument("--edit", choices=("system", "template"), default="", help="write that text in $EDITOR; with --bake")
    command.add_argument(
        "--bake", nargs="?", const="", default=None, metavar="NAME", help="into a model: this one, or a new one of that name"
    )
    command.add_argument("--dry-run", action="store_true", help="show the diff, and change nothing")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command = add("export", "the Modelfile of a model, or where its weights lie", on=True)
    command.add_argument("model", help=MODEL)
    group = command.add_mutually_exclusive_group()
    group.add_argument("--modelfile", default="", metavar="FILE", help="write it there; else it goes to standard output")
    group.add_argument("--gguf", action="store_true", help="print the path of the weights on this machine")
    command.add_argument("--yes", action="store_true", help="replace a file that is there")
    command = add("backup", "copy models and the configuration into a folder or a .tar, with digests", on=True)
    command.add_argument("target", metavar="DIR|FILE.tar", help="must not be there yet")
    command.add_argument("models", nargs="*", metavar="model", help=f"{MODEL}; none: the configuration only")
    command.add_argument("--all", action="store_true", help="all models")
    command = add("restore-backup", "check a backup, list it, and make models of it again, each where it is from", on=True)
    command.add_argument("source", metavar="DIR|FILE.tar", help="what backup wrote")
    command.add_argument("models", nargs="*", metavar="model", help="these of it; none: only check and list")
    command.add_argument("--all", action="store_true", help="all models in it")
    command.add_argument("--config", action="store_true", help="the configuration, too; the one that is there stays beside it")
    command.add_argument("--yes", action="store_true", help="replace models that are installed; they are kept as earlier versions")
