"""Flask hooks around every request: authentication, limits, error envelope, access log."""
