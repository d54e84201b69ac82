"""A process whose event loop is blocked ends itself and says where it stood."""

from __future__ import annotations

import subprocess
import sys

# The loop sets the timer back once a second; one that turns is looked at for longer than the limit.
SERVICE = """
import asyncio, time, uvicorn
from libs.common.runtime.watchdog import WatchedServer

async def app(scope, receive, send):
    pass

async def blocked_for_good():
    await asyncio.sleep(0.3)
    print("blocked", flush=True)
    while True:
        time.sleep(1)

async def main():
    server = WatchedServer(uvicorn.Config(app, port=0, lifespan="off", log_config=None), 2.0)
    asyncio.get_running_loop().create_task({work})
    asyncio.get_running_loop().call_later(2.7, setattr, server, "should_exit", True)
    await server.serve()
    print("ended by itself", flush=True)

asyncio.run(main())
"""


def begun(work: str) -> subprocess.Popen[str]:
    code = SERVICE.replace("{work}", work)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_blocked_loop_ends_the_process_and_one_that_turns_is_left_alone() -> None:
    with begun("blocked_for_good()") as stuck, begun("asyncio.sleep(9)") as turning:
        try:
            told, why = stuck.communicate(timeout=60)
            said, wrong = turning.communicate(timeout=60)
        finally:
            stuck.kill()
            turning.kill()
    assert stuck.returncode == 1
    assert told == "blocked\n"
    assert "in blocked_for_good" in why
    assert (turning.returncode, said) == (0, "ended by itself\n"), wrong
