"""Rate limits and calls in flight of an API key, counted in this process or in a Redis that several processes share.

Entry point: `create_rate_limiter` in `rate_limiter.py`.
"""
