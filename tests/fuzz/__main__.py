"""`make fuzz`: send every service what its OpenAPI allows and forbids, for some minutes."""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from infra.migrate import migrate
from tests.fuzz.findings import Tally
from tests.fuzz.login import Login
from tests.fuzz.service import Effort, control, fuzz, target_as, target_of
from tests.support.servers import running_postgres, running_redis
from tests.support.tokens import make_known
from tests.support.whole import SERVICES, running_whole, served

LONG = Effort(planned=25, random=6, odd=25, pool=1000)


def main() -> int:
    """Run one session; 1 if anything was found."""
    reader = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    reader.add_argument("--minutes", type=float, default=10.0)
    reader.add_argument("--seed", type=int, help="of the first round")
    reader.add_argument("--service", choices=[*SERVICES, "broker_simulator"])
    reader.add_argument("--path", default="", help="only paths that hold this")
    given = reader.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    names = [given.service] if given.service else [*SERVICES, "broker_simulator"]
    print(f"fuzz: SEED={seed} MINUTES={given.minutes:g} {' '.join(names)}", flush=True)
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="tradewind-fuzz-"))
    folder.chmod(0o755)
    try:
        tally = _session(folder, names, seed, given.minutes * 60, given.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(tally.lines()))
    print(f"{tally.requests} requests, {len(tally.found)} kinds of findings")
    return int(bool(tally.found))


def _session(folder: Path, names: list[str], seed: int, seconds: float, path: str) -> Tally:
    tally = Tally()
    with running_postgres(folder) as postgres, running_redis(folder) as redis:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE fuzz")
        database = postgres.url.rsplit("/", 1)[0] + "/fuzz"
        migrate(database)
        make_known(database)
        with running_whole(database, redis.url, folder) as whole, served(control()) as simulator:
            urls = {**whole.urls, "broker_simulator": simulator}
            targets = [target_of(name, urls[name], path) for name in names]
            # Once more as a user: what the operator may not do, and what waits for a second person
            # as soon as there are two.
            login = Login(urls["security"])
            targets += [
                target_as(login, name, urls[name], path) for name in names if name in SERVICES
            ]
            ends = time.monotonic() + seconds
            while True:
                for target in targets:
                    before, began = tally.requests, time.monotonic()
                    fuzz(target, seed, LONG, tally)
                    print(
                        f"seed {seed} {target.name}: {tally.requests - before} requests in"
                        f" {time.monotonic() - began:.0f} s, {len(tally.found)} kinds found so far",
                        flush=True,
                    )
                    if time.monotonic() > ends:
                        return tally
                seed += 1


sys.exit(main())
