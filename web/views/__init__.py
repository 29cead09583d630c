"""The page's views, a module each: each asks the daemon, and shapes what it says for a template, or as JSON."""

from .page import Page
from .routes import routes

__all__ = ["Page", "routes"]
