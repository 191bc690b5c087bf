"""Tasks: each call runs to its end, and its answer is kept until somebody has taken it.

A connection, a retry of an SDK, an idempotency key, polling and a stream are five ways of taking an answer. All of them
wait for the same `Task` in the same `TaskStore`.
"""
