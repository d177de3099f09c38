"""Capture, redact, mark, encode and publish the pictures of one window.

The feed knows neither windows nor guards: it gets one job over a unix channel, and ends when that channel ends.
"""
