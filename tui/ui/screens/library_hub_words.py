"""The words of the Library's Hugging Face view: repositories, their files, and whether those fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tui.core.fit import Fit, Subject
from tui.core.hub import HubFile, HubRepo
from tui.core.record import record
from tui.text import clean_name, duration, size, tokens
from tui.ui.screens.catalogue_view import UNUSUAL, millions
from tui.ui.screens.fits import TONES, Fits, need_text, words
from tui.ui.widgets.columns import Cell, Column, Drawn
from tui.ui.widgets.detail import Fact

T = TypeVar("T")


@record(frozen=True)
class More:
    """The row that fetches the next page."""


MORE: Final = More()
Row = HubRepo | HubFile | More


def name_of(row: Row) -> str:
    """What identifies a row."""
    return "more…" if isinstance(row, More) else row.key if isinstance(row, HubRepo) else row.name


def billions(parameters: int | None) -> str:
    """`8.2B`, `494M`; a dash where not known."""
    if not parameters:
        return "–"
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


def access(repo: HubRepo) -> str:
    """What must be had beside the name."""
    return "private" if repo.private else "gated" if repo.gated else ""


def _repo(render: Callable[[HubRepo], T]) -> Callable[[Row], T | None]:
    """What something says of a repository; nothing of the row that fetches more, which so stays the last."""
    return lambda row: render(row) if isinstance(row, HubRepo) else None


def _file(render: Callable[[HubFile], T]) -> Callable[[Row], T | None]:
    """What something says of a file."""
    return lambda row: render(row) if isinstance(row, HubFile) else None


def _text(value: Callable[[Row], str | None]) -> Callable[[Row], Drawn]:
    return lambda row: value(row) or ""


def _repo_name(row: Row) -> Cell:
    if isinstance(row, HubRepo):
        return Cell(row.name, "warn" if row.unusual else "")
    return Cell("more: enter asks for the next page", "accent", rest=True)


def repo_columns(width: int, now: float) -> list[Column[Row]]:
    """The columns of repositories."""

    def figure(key: str, title: str, text: Callable[[HubRepo], str], value: Callable[[HubRepo], float | None], cells: int) -> Column[Row]:
        return Column(key, title, _text(_repo(text)), width=cells, align="right", sort_key=_repo(value), descending=True)

    context = figure("context", "CONTEXT", lambda repo: tokens(repo.context), lambda repo: repo.context, 7)
    return [
        Column("name", "REPOSITORY", _repo_name, min=30, flex=4, max=60, sort_key=_repo(lambda repo: repo.key.lower())),
        figure("parameters", "PARAMS", lambda repo: billions(repo.parameters), lambda repo: repo.parameters, 6),
        figure("pulls", "PULLS", lambda repo: millions(repo.downloads), lambda repo: repo.downloads, 7),
        figure("changed", "CHANGED", lambda repo: _ago(repo, now), lambda repo: repo.updated_at, 7),
        Column("access", "ACCESS", lambda row: Cell(access(row) if isinstance(row, HubRepo) else "", "warn"), width=7),
        *([context] if width >= 96 else []),
        Column("licence", "LICENCE", _text(_repo(lambda repo: repo.licence or "–")), min=7, flex=1, max=24),
    ]


def _ago(repo: HubRepo, now: float) -> str:
    return "–" if repo.updated_at is None else duration(max(0.0, now - repo.updated_at))


def file_columns(repo: HubRepo, fits: Fits, *, binary: bool = False) -> list[Column[Row]]:
    """The columns of a repository's files."""

    def fit_cell(row: Row) -> Cell:
        if not isinstance(row, HubFile) or not row.pull:
            return Cell(row.why if isinstance(row, HubFile) else "", "dim")
        fit = fit_of(repo, row, fits)
        return Cell(words(fit, binary=binary), TONES.get(fit.verdict, "")) if fit is not None else Cell("–", "dim")

    def name(row: Row) -> Cell:
        if not isinstance(row, HubFile):
            return Cell("")
        return Cell(row.name.rpartition("/")[2], "warn" if row.unusual else "" if row.pull else "dim")

    weight = _text(_file(lambda file: size(file.size, binary=binary)))
    parts = _text(_file(lambda file: str(file.parts) if file.parts > 1 else ""))
    return [
        Column("quant", "QUANT", _text(_file(lambda file: file.quant or "–")), width=9, sort_key=_file(lambda file: file.quant or None)),
        Column("size", "SIZE", weight, width=7, align="right", sort_key=_file(lambda file: file.size), descending=True),
        Column("fits", "FITS AT 8k", fit_cell, min=18, max=30, flex=1),
        Column("parts", "PARTS", parts, width=5, align="right"),
        Column("name", "FILE", name, min=20, flex=3, sort_key=_file(lambda file: file.name.lower())),
    ]


def fit_of(repo: HubRepo, file: HubFile, fits: Fits) -> Fit | None:
    """The verdict for a file; None where its size or this machine is not known."""
    if not file.size or file.projector:
        return None
    parameters = float(repo.parameters) if repo.parameters else None
    return fits.of_subject(Subject(file.size, None, repo.context, parameters, repo.architecture, name=file.pull))


def repo_facts(repo: HubRepo, host: str, now: float) -> list[Fact]:
    """A repository in the pane."""
    out = [Fact("", UNUSUAL, "$text-warning")] if repo.unusual else []
    about = [repo.architecture, billions(repo.parameters) if repo.parameters else ""]
    about += [f"{tokens(repo.context)} context" if repo.context else "", f"licence {repo.licence}" if repo.licence else "licence not told"]
    out.append(Fact("is", "   ".join(part for part in about if part)))
    liked = f"{millions(repo.likes)} likes" if repo.likes else ""
    used = [f"pulled {millions(repo.downloads)} times a month" if repo.downloads is not None else "", liked]
    changed = f"changed {_ago(repo, now)} ago" if repo.updated_at is not None else ""
    out.append(Fact("hub", "   ".join(part for part in (*used, changed) if part) or "says no more"))
    if repo.private or repo.gated:
        why = "private: only for who has a key" if repo.private else "gated: ask for access on its page first"
        out.append(Fact("access", f"{why}; the server needs its own key there to pull it", "$text-warning"))
    out.append(Fact("origin", f"{clean_name(host)}; not scanned: nobody vouches for these weights", "$text-muted"))
    out.append(Fact("", "enter lists its files with sizes", "$text-muted"))
    return out


def file_facts(repo: HubRepo, file: HubFile, fits: Fits, *, binary: bool = False) -> list[Fact]:
    """A file in the pane."""
    out = [Fact("", UNUSUAL, "$text-warning")] if file.unusual else []
    fit = fit_of(repo, file, fits)
    if fit is not None and fits.machine is not None:
        context = min(8192, repo.context or 8192)
        out.append(Fact("needs", need_text(fit, fits.machine, context, binary=binary)))
    out.append(Fact("pulls", f"as {clean_name(file.pull, 200)}") if file.pull else Fact("pulls", f"nothing: {file.why}", "$text-muted"))
    if file.parts > 1:
        have = f", {file.missing} of them missing" if file.missing else ""
        out.append(Fact("parts", f"{file.parts} files{have}, {size(file.size, binary=binary)} in all; older servers take no split files"))
    out.append(Fact("file", file.name))
    if repo.private or repo.gated:
        out.append(Fact("access", f"{access(repo)}: the server needs its own key there", "$text-warning"))
    out.append(Fact("origin", f"hf.co/{repo.name}; not scanned", "$text-muted"))
    return out
