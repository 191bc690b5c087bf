"""Storage in the database of `DATABASE_URL`: API keys, the ledger and usage."""
