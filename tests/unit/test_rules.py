"""Rules of the code that linters do not know: what is loaded when, and that no text from outside is parsed as markup."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UI = sorted((ROOT / "tui" / "ui").rglob("*.py"))
PARSE_MARKUP = {"Static", "Label", "Button", "Checkbox", "RadioButton", "Switch", "Tab", "TabPane", "Collapsible", "Option", "Link"}
TITLES = {"border_title", "border_subtitle", "tooltip"}
LITERAL = {"Content", "Text", "Strip"}


def loaded(code: str) -> set[str]:
    """The modules that a new Python has loaded after the code."""
    run = f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_the_first_frame_waits_for_no_settings_client_or_database() -> None:
    found = loaded("import tui.ui.app, tui.ui.wire, tui.ui.start")
    heavy = {
        "httpx",
        "pydantic",
        "pydantic_settings",
        "sqlite3",
        "pygments",
        "markdown_it",
        "psutil",
        "tui.core.models",
        "tui.services.hub",
    }
    assert not found & heavy


def test_the_http_clients_command_line_is_not_loaded() -> None:
    found = loaded("import tui.providers.client")
    assert "httpx" in found
    assert not found & {"click", "rich.console", "pygments"}


def test_the_list_of_models_needs_no_http_client_and_no_database() -> None:
    assert not loaded("import tui.services.hub, tui.ui.screens.library") & {"httpx", "httpcore", "anyio", "psutil", "sqlite3"}


def _literal(node: ast.expr | None) -> bool:
    """A constant of ours, or a text that is not parsed (`Content(...)`, `Content.assemble(...)`)."""
    if node is None or (isinstance(node, ast.Constant) and not (isinstance(node.value, str) and "[" in node.value)):
        return True
    if isinstance(node, ast.Call):
        name = node.func.value if isinstance(node.func, ast.Attribute) else node.func
        while isinstance(name, ast.Call | ast.Attribute):
            name = name.func if isinstance(name, ast.Call) else name.value
        return isinstance(name, ast.Name) and name.id in LITERAL
    return False


def _offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("from_markup", "from_rich_text"):
            yield node.lineno, f"{node.attr} parses markup"
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and target.attr in TITLES and not _literal(node.value):
                    yield node.lineno, f"{target.attr} parses markup: give it a Content"
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
        off = any(
            keyword.arg == "markup" and isinstance(keyword.value, ast.Constant) and not keyword.value.value for keyword in node.keywords
        )
        if name == "notify" and node.args and not off:
            yield node.lineno, "a toast parses markup without markup=False"
        if name in PARSE_MARKUP and not off and not _literal(node.args[0] if node.args else None):
            yield node.lineno, f"{name} parses its text without markup=False"


@pytest.mark.parametrize("path", UI, ids=[str(path.relative_to(ROOT / "tui" / "ui")) for path in UI])
def test_X04_no_text_from_outside_reaches_a_widget_that_parses_markup(path: Path) -> None:
    assert list(_offences(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "bad",
    [
        "Static(name)", "Label(f'{a}')", "app.notify(text)", "app.notify(text, markup=True)", "x.border_title = name",
        "Content.from_markup(name)", "Button(label=1, *[name]) if 0 else Button(name)", "Static('[b]' )",
    ],
)  # fmt: skip
def test_the_rule_finds_what_it_forbids(bad: str) -> None:
    assert list(_offences(ast.parse(bad)))


def test_no_file_or_function_has_outgrown_its_name() -> None:
    found = []
    for path in sorted((ROOT / "tui").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if lines > (300 if path.name == "app.py" else 600):
            found.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > 60:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert found == []
