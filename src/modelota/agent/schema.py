"""The agent's database schema: numbered migrations, frozen once released, additive within a major version."""

from __future__ import annotations

from typing import Final

from modelota.storage.ledger import SCHEMA as LEDGER_SCHEMA

MIGRATIONS: Final[tuple[str, ...]] = (
    LEDGER_SCHEMA
    + """
CREATE TABLE facts (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    model TEXT NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX journal_by_model ON journal (model, seq);

CREATE TABLE machine (
    model TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE offers (
    digest TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    offer BLOB NOT NULL,
    plan BLOB NOT NULL,
    made_at TEXT NOT NULL,
    estimate_s REAL,
    estimate_is_guess INTEGER NOT NULL CHECK (estimate_is_guess IN (0, 1)),
    spent_bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE shown (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    offer_digest TEXT NOT NULL REFERENCES offers (digest) ON DELETE CASCADE,
    at TEXT NOT NULL,
    language TEXT NOT NULL,
    channel TEXT NOT NULL,
    authority TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX shown_by_offer ON shown (offer_digest);

CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    offer_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    authority TEXT NOT NULL,
    channel TEXT NOT NULL,
    at TEXT NOT NULL
);

CREATE TABLE slots (
    model TEXT NOT NULL,
    slot TEXT NOT NULL,
    description BLOB NOT NULL,
    registered_at TEXT NOT NULL,
    activated_at TEXT,
    PRIMARY KEY (model, slot)
) WITHOUT ROWID;

CREATE TABLE releases (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    released_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('available', 'withdrawn')),
    notes TEXT NOT NULL,
    PRIMARY KEY (model, version)
) WITHOUT ROWID;

CREATE TABLE rates (
    step TEXT PRIMARY KEY,
    per_s REAL NOT NULL,
    measured_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE self_tests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    slot TEXT NOT NULL,
    at TEXT NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE tokens (
    application TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    made_at TEXT NOT NULL
) WITHOUT ROWID;
""",
    """
CREATE TABLE damaged (
    model TEXT NOT NULL,
    digest TEXT NOT NULL,
    found_at TEXT NOT NULL,
    PRIMARY KEY (model, digest)
) WITHOUT ROWID;
""",
    """
CREATE TABLE anchors (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    variant TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    head BLOB NOT NULL,
    stride_blocks INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    PRIMARY KEY (model, version, variant, path)
) WITHOUT ROWID;

CREATE TABLE verified (
    model TEXT NOT NULL,
    slot TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    stamp TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (model, slot)
) WITHOUT ROWID;

CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    user_data_schema INTEGER NOT NULL,
    path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    made_at TEXT NOT NULL
);

CREATE TABLE service_figures (
    model TEXT NOT NULL,
    slot TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    generating_s REAL NOT NULL,
    memory_bytes INTEGER,
    since TEXT NOT NULL,
    PRIMARY KEY (model, slot)
) WITHOUT ROWID;

CREATE TABLE inhibitors (
    id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    reason TEXT NOT NULL,
    steps TEXT NOT NULL,
    uid INTEGER,
    until TEXT
) WITHOUT ROWID;

CREATE TABLE removals (
    digest TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    plan BLOB NOT NULL,
    made_at TEXT NOT NULL,
    proof BLOB
) WITHOUT ROWID;

CREATE TABLE reports (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    at TEXT NOT NULL,
    body BLOB NOT NULL
);

ALTER TABLE ledger ADD COLUMN digest TEXT;
""",
    """
ALTER TABLE decisions ADD COLUMN model TEXT;
ALTER TABLE decisions ADD COLUMN to_version TEXT;
ALTER TABLE decisions ADD COLUMN operation TEXT;
ALTER TABLE decisions ADD COLUMN conditions TEXT;
ALTER TABLE decisions ADD COLUMN not_before TEXT;
ALTER TABLE decisions ADD COLUMN expires_at TEXT;
ALTER TABLE decisions ADD COLUMN remind_at TEXT;
ALTER TABLE decisions ADD COLUMN ended_as TEXT;
ALTER TABLE decisions ADD COLUMN ended_at TEXT;
CREATE INDEX decisions_by_offer ON decisions (offer_digest, seq);

CREATE TABLE notices (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    urgent INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    body BLOB NOT NULL,
    announced_at TEXT,
    told_at TEXT,
    told_by TEXT NOT NULL DEFAULT '{}',
    over_at TEXT,
    dismissed_at TEXT
);

CREATE TABLE cleaning_pages (
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, number)
);
""",
)
