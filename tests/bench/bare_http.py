"""The yardstick for accepting: aiohttp alone, which reads the body, parses it and answers. `python -m
tests.bench.bare_http PORT`.
"""

import sys

import orjson
import uvloop
from aiohttp import web


async def _accept(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=b'{"ok":true}', content_type="application/json")


if __name__ == "__main__":
    uvloop.install()
    bare = web.Application()
    bare.router.add_post("/hook", _accept)
    web.run_app(bare, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)
