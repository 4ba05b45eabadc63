"""What processes that a test starts find around them: variables and ports. For the faults beside this folder too."""

import contextlib
import os
import socket


def clean_environment(**extra):
    """Ours without settings that a developer's shell may hold."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GRAPPE_", "AWS_", "AZURE_", "GOOGLE_"))}
    return {**kept, **extra}


def free_ports(count):
    """Ports of this machine that nobody listens on, each another one."""
    with contextlib.ExitStack() as listeners:
        sockets = [listeners.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def free_port_with_twin():
    """A free port whose twin, 10,000 above it, is free too: SeaweedFS takes both."""
    while True:
        with socket.socket() as listener, socket.socket() as twin:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            try:
                twin.bind(("127.0.0.1", port + 10_000))
            except (OSError, OverflowError):
                continue
            return port
