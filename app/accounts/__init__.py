"""Interfaces used by the service layer (API keys, rate limiting, billing) and their no-op implementations.

`app/storage` and `app/limits` hold the implementations that need a database or Redis.
"""
