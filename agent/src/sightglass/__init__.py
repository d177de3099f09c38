"""Maintenance windows for the cameras of a parking gateway."""
