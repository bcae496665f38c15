"""Soniq: background jobs that live in PostgreSQL. What handlers and producers need is exported here."""

from soniq.app import Soniq
from soniq.asgi import lifespan
from soniq.errors import SoniqError
from soniq.job import Job, PermanentFailure, Snooze

__version__ = "0.1.0"

__all__ = ["Job", "PermanentFailure", "Snooze", "Soniq", "SoniqError", "lifespan"]
