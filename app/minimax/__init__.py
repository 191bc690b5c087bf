"""MiniMax client: the upstream call, its responses and its error codes."""
