"""Images that are kept and served after MiniMax's own URLs have expired."""
