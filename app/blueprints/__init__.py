"""Flask blueprints: image endpoints, tasks, kept images, models, usage, pages, OpenAPI, health and metrics."""
