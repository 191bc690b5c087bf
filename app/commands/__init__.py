"""What the operator types: `flask --app wsgi db …`, `keys …`, `ledger …`, `usage`."""
