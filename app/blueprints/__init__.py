"""The endpoints: load, call, return."""
