"""How gunicorn runs the gateway: its worker, and the callers' connections."""
