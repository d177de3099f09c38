"""uvicorn beside other work in one process, for the agent's API and the console's page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn


class Server(uvicorn.Server):
    """Leaves signals to the process: what SIGTERM ends there is more than this server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
