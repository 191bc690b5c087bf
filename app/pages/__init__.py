"""Pages for people: playground, usage and documentation. In the browser they use the API with the caller's key."""
