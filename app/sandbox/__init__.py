"""A strict stand-in for MiniMax, as its own WSGI app: for `make run` without a key, and for tests.

The gateway never imports it. It imports only the model catalog of the gateway, so that each checks the other.
Pillow is needed here only.
"""
