#!/usr/bin/env python3
"""Tell a container engine whether this container is well (exit 0), by the standard library alone.

A review server is well when it answers, if only to ask for its token. A container that serves
nothing on the port is a run, and is well as long as its process lives, which the engine sees.
"""

from __future__ import annotations

import http.client
import sys

PORT = 8000
PATIENCE_SECONDS = 5.0
SERVER_ERRORS = 500


def is_well(port: int = PORT) -> bool:
    """Ask the server of this container, if there is one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/enter")
        return connection.getresponse().status < SERVER_ERRORS
    except ConnectionRefusedError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(not is_well())
