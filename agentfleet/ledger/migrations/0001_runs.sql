-- Runs, the nodes they finished or began, and every attempt. Times are Unix seconds on the database's clock.

CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    graph TEXT NOT NULL,
    graph_hash TEXT NOT NULL,
    target TEXT NOT NULL,
    inputs TEXT NOT NULL,
    label TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('queued', 'running', 'waiting', 'paused', 'done', 'failed', 'cancelled')),
    value TEXT,
    error TEXT,
    cost REAL NOT NULL,
    unpriced INTEGER NOT NULL,
    key TEXT UNIQUE,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    repeated INTEGER NOT NULL,
    meta TEXT NOT NULL
) STRICT;

CREATE INDEX runs_created ON runs (created, id);
CREATE INDEX runs_status ON runs (status, created);

-- `counted`: 1 once a take-over has counted this started row into its run's `repeated`.
CREATE TABLE nodes (
    run TEXT NOT NULL REFERENCES runs (id),
    path TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('started', 'done', 'waiting', 'failed')),
    value TEXT,
    tier TEXT NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    label TEXT NOT NULL,
    cost REAL NOT NULL,
    error TEXT,
    waiting TEXT,
    kind TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL NOT NULL,
    counted INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run, path, fingerprint)
) STRICT;

CREATE TABLE attempts (
    run TEXT NOT NULL REFERENCES runs (id),
    path TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    number INTEGER NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    cost REAL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX attempts_run ON attempts (run);
