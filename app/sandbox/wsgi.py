"""Entry point of the sandbox: `gunicorn --config app/sandbox/gunicorn.conf.py app.sandbox.wsgi:app`."""

import os

from app.sandbox.accounts import Accounts
from app.sandbox.app import create_sandbox

app = create_sandbox(Accounts.from_environment(os.environ))
