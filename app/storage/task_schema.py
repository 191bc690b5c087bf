"""Tables of the file of answers: those of `task_tables`, which are a database's, in plain SQL."""

from __future__ import annotations

VERSION = 1
VERSIONS = (0, VERSION)  # that this gateway can go on with: 0 is a new file, or one with the same tables of release 0

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id VARCHAR(32) NOT NULL PRIMARY KEY,
    caller VARCHAR(12) NOT NULL,
    operation VARCHAR(20) NOT NULL,
    request_digest VARCHAR(64) NOT NULL,
    idempotency_key VARCHAR(64),
    is_async BOOLEAN NOT NULL,
    state VARCHAR(12) NOT NULL,
    owner VARCHAR(32) NOT NULL,
    attendant VARCHAR(32),
    attendant_worker VARCHAR(32),
    joins INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    expires_at DATETIME,
    http_status INTEGER,
    code VARCHAR(100),
    headers TEXT,
    body BLOB,
    body_name VARCHAR(80),
    body_size BIGINT NOT NULL,
    CONSTRAINT uq_tasks_idempotency_key UNIQUE (caller, idempotency_key)
);
CREATE INDEX IF NOT EXISTS ix_tasks_caller_time ON tasks (caller, created_at);
CREATE INDEX IF NOT EXISTS ix_tasks_state_owner ON tasks (state, owner);
CREATE INDEX IF NOT EXISTS ix_tasks_expires_at ON tasks (expires_at);
CREATE INDEX IF NOT EXISTS ix_tasks_body_name ON tasks (body_name);
CREATE INDEX IF NOT EXISTS ix_tasks_body_size ON tasks (body_size);
CREATE TABLE IF NOT EXISTS task_workers (id VARCHAR(32) NOT NULL PRIMARY KEY, seen_at DATETIME NOT NULL);
"""
