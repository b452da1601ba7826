"""The history as a file."""

import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.test_history import START, filled
from tui.core.errors import PaddockError
from tui.services.monitor.export import Row, formatted, rows, stored_rows, write_export
from tui.services.monitor.history import History
from tui.store.db import Database
from tui.store.samples import Samples

FOUND: tuple[Row, ...] = ((START, {"cpu": 12.0, 'gpu:A,"B"': 3.14159}), (START + 0.5, {"memory_used": 1e12}))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "paddock.db")
    yield database
    database.close()


def test_csv_has_a_column_a_figure_and_times_in_utc() -> None:
    read = list(csv.reader(io.StringIO("".join(formatted("csv", FOUND)))))
    assert read == [
        ["time", "cpu", 'gpu:A,"B"', "memory_used"],
        ["2023-11-14T22:14:00Z", "12", "3.142", ""],
        ["2023-11-14T22:14:00.500Z", "", "", "1000000000000"],
    ]


def test_json_lines_have_what_is_known() -> None:
    assert [json.loads(line) for line in formatted("jsonl", FOUND)] == [
        {"time": "2023-11-14T22:14:00Z", "cpu": 12, 'gpu:A,"B"': 3.142},
        {"time": "2023-11-14T22:14:00.500Z", "memory_used": 10**12},
    ]


@pytest.mark.parametrize(("seconds", "step", "count"), [(10, 1.0, 10), (600, 1.0, 600), (3600, 10.0, 130), (86_400, 60.0, 22)])
def test_the_finest_step_that_reaches(seconds: float, step: float, count: int) -> None:
    found = rows(filled(1300), seconds)
    assert len(found) == count
    assert found[1][0] - found[0][0] == step
    assert found[-1][0] == (START + 1299) // step * step


def test_moments_without_figures_are_left_out() -> None:
    assert rows(History(), 600) == ()
    assert list(formatted("csv", ())) == ["time\n"]
    assert list(formatted("jsonl", ())) == []


async def test_out_of_the_database_where_no_app_runs(database: Database) -> None:
    first = int(START / 10)
    await Samples(database).append(10, [(first + n, {"cpu": float(n)}) for n in range(10)])
    await Samples(database).append(60, [(int(START / 60), {"cpu": 30.0})])
    assert stored_rows(database, 30, START + 95) == tuple((START + 10 * n, {"cpu": float(n)}) for n in (7, 8, 9))
    assert len(stored_rows(database, 7200, START + 95)) == 10
    assert stored_rows(database, 86_400, START + 95) == ((START, {"cpu": 30.0}),)
    assert stored_rows(database, 30, START + 9000) == ()


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_the_file_is_private_and_never_replaces_another(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data" / "exports"
    first, second = (write_export(folder, kind, FOUND, START) for _time in range(2))
    assert [path.name for path in (first, second)] == [f"monitor-20231114-221400.{kind}", f"monitor-20231114-221400-2.{kind}"]
    assert first.read_text() == "".join(formatted(kind, FOUND))
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == sorted((first.name, second.name)), "nothing else is left"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.write_text("a file")
    with pytest.raises(PaddockError, match="The history was not exported"):
        write_export(folder, "csv", FOUND, START)
    folder.unlink()

    def breaks() -> Iterator[Row]:
        yield FOUND[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(PaddockError, match="not exported"):
        write_export(folder, "jsonl", breaks(), START)
    assert list(folder.iterdir()) == []
