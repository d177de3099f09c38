"""The agent's interface on a unix socket: routes, the shapes they carry, and who may call."""
