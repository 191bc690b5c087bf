"""Image generation service, MiniMax payload, OpenAI response."""
