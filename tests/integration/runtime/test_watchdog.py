"""A process whose event loop is blocked ends itself and says where it stood."""

from __future__ import annotations

import subprocess
import sys

SERVICE = """
import asyncio, time, uvicorn
from libs.common.runtime.watchdog import WatchedServer

async def app(scope, receive, send):
    pass

async def blocked_for_good():
    await asyncio.sleep(1.5)
    print("blocked", flush=True)
    while True:
        time.sleep(1)

async def main():
    server = WatchedServer(uvicorn.Config(app, port=0, lifespan="off", log_config=None), 2.0)
    asyncio.get_running_loop().create_task({work})
    asyncio.get_running_loop().call_later(4.0, setattr, server, "should_exit", True)
    await server.serve()
    print("ended by itself", flush=True)

asyncio.run(main())
"""


def run(work: str) -> subprocess.CompletedProcess[str]:
    code = SERVICE.replace("{work}", work)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_blocked_loop_ends_the_process() -> None:
    ended = run("blocked_for_good()")
    assert ended.returncode == 1
    assert ended.stdout == "blocked\n"
    assert "in blocked_for_good" in ended.stderr


def test_a_loop_that_turns_is_left_alone() -> None:
    ended = run("asyncio.sleep(9)")
    assert (ended.returncode, ended.stdout) == (0, "ended by itself\n"), ended.stderr
