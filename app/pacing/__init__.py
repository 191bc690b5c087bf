"""Key pool: several upstream keys, each kept below its rate, and a fair queue for the calls that must wait.

`KeyPool` hands out a key for a call and records how the call went. A `PacerStore` counts the calls of each key in a
sliding window and orders those that wait: in a SQLite file for the workers of an instance, in Redis for all machines.
"""
