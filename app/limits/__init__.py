"""Limits of a key: requests and pictures a minute, and calls in flight, in this process or in Redis for several.

`create_rate_limiter` in `limiter.py` is the door.
"""
