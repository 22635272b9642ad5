"""An S3-compatible server for the tests of storage, in this process: moto's, which speaks S3 over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from moto.server import ThreadedMotoServer

BUCKET = "penstock-tests"


@asynccontextmanager
async def serving_s3() -> AsyncIterator[str]:
    """The URL of a server that has a bucket, while the block runs."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    try:
        async with aiohttp.ClientSession() as session, session.put(f"{url}/{BUCKET}") as made:
            assert made.status == 200, await made.text()
        yield url
    finally:
        server.stop()
