"""A strict stand-in for MiniMax, as its own WSGI app: for `make run` without a key, and for tests.

The gateway never imports it, and it imports nothing of the gateway: each is a check on the other. Pillow is
needed here only.
"""
