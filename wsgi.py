"""The entry point for gunicorn (`gunicorn wsgi:app`) and other WSGI servers."""

from app import create_app
from app.config import Settings
from app.logs import configure_logging

settings = Settings.from_env()
configure_logging(settings.log_level)
app = create_app(settings)
