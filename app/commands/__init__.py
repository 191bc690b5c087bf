"""Operator commands: `flask --app wsgi db …`, `images …`, `keys …`, `ledger …`, `usage`."""
