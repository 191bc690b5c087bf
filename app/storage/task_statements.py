"""SQL of the task store, for SQLite and PostgreSQL. `:name` is a parameter."""

from __future__ import annotations

from collections.abc import Sequence

DEAD_SECONDS = 8  # after which a worker that does not beat is taken for dead

TASK_COLUMNS = (
    "id, caller, operation, request_digest, created_at, idempotency_key, is_async, state, http_status, code, headers"
)
_COLUMNS = (
    *TASK_COLUMNS.split(", "),
    *("owner", "attendant", "attendant_worker", "joins", "expires_at", "body", "body_name", "body_size"),
)
_INSERT = f"INSERT INTO tasks ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
_RUNNING = "('queued', 'in_progress')"
_IS_CURRENT = "(expires_at IS NULL OR expires_at > :now)"
_ALIVE = "(SELECT id FROM task_workers WHERE seen_at > :alive_since)"

BEAT = "INSERT INTO task_workers (id, seen_at) VALUES (:worker, :now) ON CONFLICT (id) DO UPDATE SET seen_at = :now"
ADD = f"{_INSERT} ON CONFLICT DO NOTHING RETURNING id"
FREE_KEY = (
    "DELETE FROM tasks WHERE caller = :caller AND idempotency_key = :idempotency_key AND expires_at < :now "
    "RETURNING body_name"
)
OF_KEY = f"SELECT {TASK_COLUMNS} FROM tasks WHERE caller = :caller AND idempotency_key = :idempotency_key"
START = "UPDATE tasks SET state = 'in_progress' WHERE id = :id AND state = 'queued' RETURNING id"
LEAVE = (
    "UPDATE tasks SET attendant = NULL, attendant_worker = NULL WHERE id = :id AND attendant = :attendant RETURNING id"
)
TAKE = (
    "UPDATE tasks SET attendant = :taken, attendant_worker = NULL WHERE id = :id AND attendant = :attendant "
    "RETURNING id"
)
WITHDRAW = "DELETE FROM tasks WHERE id = :id AND attendant IS NULL AND state = 'queued' RETURNING body_name"
DISCARD = "DELETE FROM tasks WHERE id = :id AND joins = 0 RETURNING body_name"
FIND = f"SELECT {TASK_COLUMNS} FROM tasks WHERE id = :id AND caller = :caller AND {_IS_CURRENT}"
NEWEST = (
    f"SELECT {TASK_COLUMNS} FROM tasks WHERE caller = :caller AND {_IS_CURRENT} "
    "ORDER BY created_at DESC, id LIMIT :limit"
)
BODY = "SELECT body, body_name, body_size FROM tasks WHERE id = :id"

# The newest task whose caller is gone, else the newest not joined so often. A caller that is gone is preferred, so that
# a retry does not take the call of another one that still waits. A router that has given up may keep its connection to
# the gateway open: then a call seems to be attended, and a call that a retry has joined may seem to be taken when it
# ends. The next retry of the same caller, which follows within seconds, joins it all the same. An answer whose body was
# removed to make room has nothing to take.
_IS_LEFT = f"(attendant IS NULL OR attendant_worker NOT IN {_ALIVE})"
CLAIMABLE = f"""
SELECT id FROM tasks
WHERE caller = :caller AND request_digest = :request_digest AND idempotency_key IS NULL AND NOT is_async
  AND created_at > :joinable_since AND {_IS_CURRENT}
  AND (state IN {_RUNNING} OR body_size > 0)
  AND ({_IS_LEFT} OR joins < :retry_count AND (state IN {_RUNNING} OR joins > 0 AND expires_at > :rejoinable_until))
ORDER BY CASE WHEN {_IS_LEFT} THEN 0 ELSE 1 END, created_at DESC
LIMIT 1
"""

# The worker that asks is alive, even if its beat was late. A task runs for too long if its answer could not be written
# while its worker lived.
_IS_LOST = f"(owner <> :worker AND owner NOT IN {_ALIVE} OR created_at < :lost_before)"
_IS_EXPIRED = f"expires_at < :now AND state NOT IN {_RUNNING}"
# SQLite sums the sizes in their index: it would read the bodies with the rows.
TOTAL_BYTES = "SELECT coalesce(sum(body_size), 0) AS total FROM tasks"
LOOK = f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE state IN {_RUNNING} AND {_IS_LOST}) AS lost,
       EXISTS (SELECT 1 FROM tasks WHERE {_IS_EXPIRED}) AS expired,
       EXISTS (SELECT 1 FROM task_workers WHERE seen_at < :workers_before) AS workers,
       ({TOTAL_BYTES}) AS total
"""
REMOVE_WORKERS = "DELETE FROM task_workers WHERE seen_at < :workers_before"
OLDEST_BODIES = (
    f"SELECT id, body_size FROM tasks WHERE body_size > 0 AND state NOT IN {_RUNNING} ORDER BY created_at LIMIT :limit"
)
OF_BODY = "SELECT id FROM tasks WHERE body_name = :name"


def finish(names: Sequence[str]) -> str:
    """Insert a task with its answer; of one that is there, set the columns `names`."""
    return f"{_INSERT} ON CONFLICT (id) DO UPDATE SET {_assignments(names)}"


def answer(names: Sequence[str]) -> str:
    """Set the columns `names` of a task that is there."""
    return f"UPDATE tasks SET {_assignments(names)} WHERE id = :id"


def attend(condition: str) -> str:
    return (
        "UPDATE tasks SET attendant = :attendant, attendant_worker = :worker, joins = joins + 1 "
        f"WHERE {condition} RETURNING {TASK_COLUMNS}"
    )


def fail_lost(names: Sequence[str]) -> str:
    """Set the columns `names` of the tasks in `:state` whose worker is dead, or that have run for too long."""
    return f"UPDATE tasks SET state = 'failed', {_assignments(names)} WHERE state = :state AND {_IS_LOST} RETURNING id"


def remove_expired(skip_locked: str) -> str:
    chosen = f"SELECT id FROM tasks WHERE {_IS_EXPIRED} LIMIT :limit {skip_locked}"
    return f"DELETE FROM tasks WHERE id IN ({chosen}) RETURNING body_name"


def running(ids: str) -> str:
    return f"SELECT id FROM tasks WHERE id IN {ids} AND state IN {_RUNNING}"


def body_names(ids: str) -> str:
    return f"SELECT body_name FROM tasks WHERE id IN {ids}"


def forget_bodies(ids: str) -> str:
    return f"UPDATE tasks SET body = NULL, body_name = NULL, body_size = 0 WHERE id IN {ids}"


def id_list(ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A list for `IN`, and its parameters."""
    values = {f"id_{number}": task_id for number, task_id in enumerate(ids)}
    return f"({', '.join(f':{name}' for name in values)})", values


def _assignments(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = :{name}" for name in names)
