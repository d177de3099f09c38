"""The window's gateway and its clean-up, for those who attack it."""

from tests.lab.window.conftest import converged, site

__all__ = ["converged", "site"]
