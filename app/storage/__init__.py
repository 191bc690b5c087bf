"""What is kept, where `DATABASE_URL` is set: keys, the ledger, usage."""
