"""All that knows MiniMax's wire: how it is called, what it answers, what its codes mean."""
