"""`python -m` this module PORT: uvicorn, as the receiver runs it, around an app that does nothing.

What a request costs before anything is done with it: neither read, nor let in, nor kept.
"""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send


async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer an empty 200."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        answer,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        log_level="error",
    )


if __name__ == "__main__":
    main()
