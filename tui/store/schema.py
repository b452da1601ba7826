"""The tables, one migration a schema number; a database holds the number of its last one in `user_version`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tui.store import index

if TYPE_CHECKING:
    import sqlite3

    Step = str | Callable[[sqlite3.Connection], None]
    """A statement, or what it takes to do what no statement can."""

_VERSION_1: Final = (
    "CREATE TABLE revision (topic TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE conversation (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        title TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        pinned INTEGER NOT NULL DEFAULT 0,
        settings TEXT NOT NULL DEFAULT '{}',
        deleted_at REAL,
        lease_pid INTEGER NOT NULL DEFAULT 0,
        lease_start TEXT NOT NULL DEFAULT '',
        lease_boot TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX conversation_recent ON conversation (deleted_at, pinned, updated_at)",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation INTEGER NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        role TEXT NOT NULL,
        content TEXT NOT NULL,
        thinking TEXT NOT NULL DEFAULT '',
        tool_calls TEXT NOT NULL DEFAULT '[]',
        state TEXT NOT NULL,
        failure TEXT,
        provider TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        metrics TEXT NOT NULL DEFAULT '{}',
        timeline TEXT NOT NULL DEFAULT '{}',
        prompt_estimate INTEGER,
        UNIQUE (conversation, seq)
    )""",
    "CREATE INDEX message_open ON message (state) WHERE state IN ('waiting', 'writing')",
    "CREATE TABLE draft (key TEXT PRIMARY KEY, text TEXT NOT NULL, updated_at REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE prompt_history (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, at REAL NOT NULL)",
    """CREATE TABLE job (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        model_key TEXT NOT NULL,
        provider_key TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        arguments TEXT NOT NULL DEFAULT '{}',
        wish TEXT NOT NULL DEFAULT 'run',
        state TEXT NOT NULL DEFAULT 'waiting',
        position INTEGER NOT NULL,
        note TEXT NOT NULL DEFAULT '',
        progress TEXT NOT NULL DEFAULT '{}',
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT,
        created_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL,
        due_at REAL,
        asked_by TEXT NOT NULL DEFAULT '',
        asked INTEGER NOT NULL DEFAULT 0,
        seen INTEGER NOT NULL DEFAULT 0,
        UNIQUE (kind, provider_key, model_key)
    )""",
    "CREATE INDEX job_position ON job (position)",
    """CREATE TABLE server (
        name TEXT PRIMARY KEY,
        program TEXT NOT NULL,
        arguments TEXT NOT NULL,
        environment TEXT NOT NULL,
        address TEXT NOT NULL,
        wish TEXT NOT NULL,
        asked INTEGER NOT NULL DEFAULT 1,
        seen INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'stopped',
        note TEXT NOT NULL DEFAULT '',
        record TEXT
    ) WITHOUT ROWID""",
    "CREATE TABLE sample (series TEXT NOT NULL, at REAL NOT NULL, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID",
    """CREATE TABLE measurement (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        rate REAL,
        load_seconds REAL,
        prompt_tokens INTEGER,
        output_tokens INTEGER,
        total_seconds REAL,
        note TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX measurement_model ON measurement (provider, model, id)",
)

_VERSION_2: Final = (
    "ALTER TABLE job ADD COLUMN rate_limit INTEGER",
    "ALTER TABLE job ADD COLUMN after_job INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN not_before REAL",
    "ALTER TABLE job ADD COLUMN allowed TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN wait TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN asks TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN plan TEXT",
    "ALTER TABLE job ADD COLUMN outcome TEXT NOT NULL DEFAULT '{}'",
    """CREATE TABLE job_history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job INTEGER NOT NULL,
        kind TEXT NOT NULL,
        model TEXT NOT NULL,
        provider TEXT NOT NULL,
        url TEXT NOT NULL,
        state TEXT NOT NULL,
        total INTEGER,
        fetched INTEGER NOT NULL,
        busy REAL NOT NULL,
        attempts INTEGER NOT NULL,
        asked_by TEXT NOT NULL,
        created_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL NOT NULL,
        failure TEXT,
        digest TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX job_history_ended ON job_history (ended_at)",
)

LINK: Final = """UPDATE message SET parent = coalesce((
    SELECT m.id FROM message m WHERE m.conversation = message.conversation AND m.seq < message.seq
    AND (message.role != 'assistant' OR m.role != 'assistant') ORDER BY m.seq DESC LIMIT 1), 0)"""
"""Of messages stored in a row: an answer follows the latest prompt, any other the one before it."""
POINT: Final = """UPDATE conversation SET tip = coalesce((
    SELECT m.id FROM message m WHERE m.conversation = conversation.id ORDER BY m.seq DESC LIMIT 1), 0)"""

_VERSION_3: Final[tuple[Step, ...]] = (
    "ALTER TABLE conversation ADD COLUMN tip INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversation ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE message ADD COLUMN parent INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN deleted_at REAL",
    "ALTER TABLE message ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN keep_from INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN comparison INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE message ADD COLUMN tool_name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE message ADD COLUMN tool_call_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE message ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE message ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE message ADD COLUMN request TEXT NOT NULL DEFAULT ''",
    LINK,
    POINT,
    # The shape of a conversation is read without its texts.
    "CREATE INDEX message_tree ON message (conversation, id, parent, deleted_at)",
    "CREATE INDEX message_compared ON message (conversation, comparison) WHERE comparison > 0",
    "CREATE INDEX message_request ON message (request) WHERE request != ''",
    "CREATE INDEX message_deleted ON message (deleted_at) WHERE deleted_at IS NOT NULL",
    """CREATE TABLE attachment (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        message INTEGER REFERENCES message (id) ON DELETE CASCADE,
        draft TEXT,
        position INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        size INTEGER NOT NULL,
        path TEXT NOT NULL,
        digest TEXT NOT NULL,
        media TEXT NOT NULL,
        text TEXT NOT NULL,
        data BLOB NOT NULL,
        CHECK ((message IS NULL) != (draft IS NULL))
    )""",
    "CREATE INDEX attachment_message ON attachment (message, position) WHERE message IS NOT NULL",
    "CREATE INDEX attachment_draft ON attachment (draft, position) WHERE draft IS NOT NULL",
    """CREATE TABLE vote (
        conversation INTEGER NOT NULL,
        comparison INTEGER NOT NULL,
        prompt INTEGER NOT NULL,
        winner INTEGER NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        others TEXT NOT NULL,
        blind INTEGER NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (conversation, comparison)
    ) WITHOUT ROWID""",
    index.CREATE,
    index.rebuild,
)

_VERSION_4: Final = (
    # Means over time are many: their series are numbers (without a reference, which would have all rows read for each name that goes),
    # and each step has rows of its own.
    "DROP TABLE sample",
    "CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE sample (
        step INTEGER NOT NULL,
        at INTEGER NOT NULL,
        series INTEGER NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (step, at, series)
    ) WITHOUT ROWID""",
    """CREATE TABLE alert (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        figure REAL NOT NULL,
        limit_value REAL NOT NULL,
        started_at REAL NOT NULL,
        ended_at REAL,
        culprit TEXT NOT NULL DEFAULT '',
        acknowledged INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX alert_ended ON alert (ended_at)",
    "ALTER TABLE measurement ADD COLUMN first_token REAL",
    "ALTER TABLE measurement ADD COLUMN prompt_rate REAL",
    "ALTER TABLE measurement ADD COLUMN memory INTEGER",
    "ALTER TABLE measurement ADD COLUMN vram INTEGER",
    "ALTER TABLE measurement ADD COLUMN context INTEGER",
    "ALTER TABLE measurement ADD COLUMN joules REAL",
)

_VERSION_5: Final[tuple[Step, ...]] = (
    """CREATE TABLE model_event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL DEFAULT '',
        digest TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX model_event_model ON model_event (provider, model, id)",
    """CREATE TABLE load_memory (
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        digest TEXT NOT NULL,
        context INTEGER NOT NULL,
        kv_type TEXT NOT NULL,
        slots INTEGER NOT NULL,
        family TEXT NOT NULL,
        weights INTEGER NOT NULL,
        formula INTEGER NOT NULL,
        cache INTEGER NOT NULL,
        size INTEGER NOT NULL,
        vram INTEGER NOT NULL,
        version TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL,
        PRIMARY KEY (provider, digest, context, kv_type, slots)
    ) WITHOUT ROWID""",
    """CREATE TABLE update_state (
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        digest TEXT NOT NULL,
        checked_at REAL NOT NULL,
        found TEXT NOT NULL,
        PRIMARY KEY (provider, model)
    ) WITHOUT ROWID""",
    """CREATE TABLE blob_check (
        folder TEXT NOT NULL,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        modified REAL NOT NULL,
        at REAL NOT NULL,
        good INTEGER NOT NULL,
        PRIMARY KEY (folder, digest)
    ) WITHOUT ROWID""",
    """CREATE TABLE level (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        provider TEXT NOT NULL,
        base TEXT NOT NULL,
        model TEXT NOT NULL,
        level TEXT NOT NULL,
        found TEXT NOT NULL
    )""",
    """CREATE TABLE optimised (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        provider TEXT NOT NULL,
        model TEXT NOT NULL,
        found TEXT NOT NULL
    )""",
    """CREATE TABLE model_move (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        server TEXT NOT NULL,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        target TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0,
        pid INTEGER NOT NULL,
        start TEXT NOT NULL,
        boot TEXT NOT NULL
    )""",
)

MIGRATIONS: Final[tuple[tuple[Step, ...], ...]] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5)
"""`MIGRATIONS[n]` takes a database of schema n to n + 1."""

SCHEMA: Final = len(MIGRATIONS)
"""The schema number that this version writes."""
