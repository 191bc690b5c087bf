"""Operator commands: `flask --app wsgi db …`, `keys …`, `ledger …`, `usage`."""
