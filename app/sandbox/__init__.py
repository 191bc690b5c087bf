"""A strict stand-in for MiniMax, as its own WSGI app: for `make run` without a key, and for tests.

The gateway never imports it. Of the gateway it imports the model catalog only, so that each is a check on the other.
Pillow is needed here only.
"""
