"""Flask blueprints: image endpoints, models, usage, health and metrics."""
