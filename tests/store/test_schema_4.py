"""From a database of schema 3 to one with means, alerts and what models cost."""

from __future__ import annotations

from pathlib import Path

from tui.core.monitor import Alert
from tui.store.alerts import AlertTable
from tui.store.db import Database
from tui.store.measurements import Measurements
from tui.store.samples import Samples
from tui.store.schema import MIGRATIONS

ROWS = 20_000
GONE = 200


async def test_answers_stay_and_samples_that_nobody_reads_go(tmp_path: Path) -> None:
    path = tmp_path / "paddock.db"
    old = Database(path, migrations=MIGRATIONS[:3])
    await old.run(lambda connection: connection.execute("INSERT INTO sample VALUES ('cpu', 1.5, 3.0), ('cpu', 2.5, NULL)"))
    row = "INSERT INTO measurement (at, kind, provider, model, rate, output_tokens) VALUES (7.0, 'chat', 'lab', 'phi4', 40.0, 100)"
    await old.run(lambda connection: connection.execute(row))
    await old.aclose()
    database = Database(path)
    assert database.opened.migrated_from == 3
    profile = Measurements(database).profile("lab", "phi4")
    assert (profile.answers, profile.rate, profile.joules, profile.memory, profile.last_used) == (1, 40.0, None, None, 7.0)
    samples = Samples(database)
    assert samples.read(10, 0, 10**9) == {}
    await samples.append(10, [(3, {"cpu": 5.0})])
    assert samples.read(10, 0, 10**9) == {3: {"cpu": 5.0}}
    await AlertTable(database).put([Alert(1, "cpu", "", 90.0, 80.0, 5.0)])
    assert [one.rule for one in AlertTable(database).open()] == ["cpu"]
    await database.aclose()


async def test_names_of_series_that_went_are_dropped_without_reading_all_rows_for_each(tmp_path: Path) -> None:
    database = Database(tmp_path / "paddock.db")
    samples = Samples(database)
    await samples.append(60, [(1, {f"gpu:old-{number}:percent": 1.0 for number in range(GONE)})])
    await samples.append(
        60, [(number, {f"gpu:{card}:percent": 1.0 for card in range(10)}) for number in range(10, 10 + ROWS // 10)], keep=ROWS
    )
    await samples.append(60, [(10**6, {"gpu:0:percent": 1.0})])
    await database.run(lambda connection: connection.execute("DELETE FROM sample WHERE at = 1"))
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    await database.run(lambda connection: connection.set_progress_handler(count, 1000), ())
    await samples.forget_unused()
    await database.run(lambda connection: connection.set_progress_handler(None, 0), ())
    names = database.read(lambda connection: connection.execute("SELECT count(*) FROM series").fetchone()[0])
    assert names == 10
    assert steps[0] * 1000 < 20 * ROWS
    await database.aclose()
