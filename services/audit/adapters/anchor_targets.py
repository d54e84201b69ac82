"""Places outside this machine that every anchor goes to, so that it cannot be taken back here."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import httpx

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from services.audit.adapters.anchor_files import NAME

COMMAND_TIMEOUT_S: Final = 60.0
POST_TIMEOUT_S: Final = 10.0
_IDENTITY: Final = ("-c", "user.name=tradewind audit", "-c", "user.email=audit@localhost")


class Target(Protocol):
    """One place. It may be given a line twice, never out of order."""

    name: str

    async def take(self, lines: Sequence[bytes], delivered: int) -> None:
        """Take the lines after the `delivered` first ones. Raises UnavailableError."""
        ...


class GitTarget:
    """A repository that holds a copy of the file; each delivery is a commit, pushed if there is a
    remote."""

    name = "git"

    def __init__(self, folder: Path) -> None:
        if not (folder / ".git").is_dir():
            raise InvalidInputError(
                f"TRADEWIND_AUDIT_ANCHOR_GIT: {folder} is no Git repository (`git init` makes one)"
            )
        self._folder = folder

    async def take(self, lines: Sequence[bytes], delivered: int) -> None:
        """Commit the file with all lines, and push."""
        path = self._folder / NAME
        known = path.read_bytes() if path.exists() else b""
        whole = b"".join(line + b"\n" for line in lines)
        if not whole.startswith(known):
            raise UnavailableError(f"{path} holds anchors that are not ours: nothing was committed")
        if known != whole:
            path.write_bytes(whole)
        await self._git("add", NAME)
        if await self._git("status", "--porcelain", "--", NAME):
            await self._git(*_IDENTITY, "commit", "-q", "-m", f"Anchors up to {len(lines)}")
        if await self._git("remote"):
            await self._git("push", "-q")

    async def _git(self, *arguments: str) -> str:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}
        try:
            process = await asyncio.create_subprocess_exec(
                "git", *arguments,
                cwd=self._folder,
                env={**environment, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise UnavailableError(f"git: {error.strerror}") from error
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                out, err = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise UnavailableError(f"git {arguments[0]}: no end within its time") from error
        if process.returncode:
            said = err.decode(errors="replace").strip().splitlines()
            raise UnavailableError(f"git: {said[-1] if said else process.returncode}")
        return out.decode(errors="replace").strip()


class PostTarget:
    """An address that each line is posted to; any 2xx is an acknowledgement."""

    name = "post"

    def __init__(self, url: str) -> None:
        self._url = url

    async def take(self, lines: Sequence[bytes], delivered: int) -> None:
        """Post what is new, oldest first."""
        async with httpx.AsyncClient(timeout=POST_TIMEOUT_S, trust_env=False) as client:
            for line in lines[delivered:]:
                try:
                    answer = await client.post(
                        self._url, content=line, headers={"Content-Type": "application/json"}
                    )
                except httpx.HTTPError as error:
                    raise UnavailableError(f"post: {type(error).__name__}") from error
                if not answer.is_success:
                    raise UnavailableError(f"post: answered {answer.status_code}")


class Deliveries:
    """How many lines each target has got, remembered beside the anchors."""

    def __init__(self, folder: Path, targets: Sequence[Target]) -> None:
        self._path = folder / "delivered.json"
        self._targets = targets

    def left(self, lines: int) -> dict[str, int]:
        """Return how many of so many lines each target has not got."""
        done = self._read()
        return {one.name: max(0, lines - done.get(one.name, 0)) for one in self._targets}

    async def deliver(self, lines: Sequence[bytes]) -> list[str]:
        """Bring every target up to date; return the names of those that got something.

        Raises UnavailableError, after all have had their turn, naming those that did not take it.
        """
        failed: list[str] = []
        reached: list[str] = []
        for target in self._targets:
            delivered = self._read().get(target.name, 0)
            if delivered >= len(lines):
                continue
            try:
                await target.take(lines, delivered)
            except UnavailableError as error:
                failed.append(str(error))
                continue
            self._write({**self._read(), target.name: len(lines)})
            reached.append(target.name)
        if failed:
            raise UnavailableError("; ".join(failed))
        return reached

    def _read(self) -> dict[str, int]:
        try:
            found: dict[str, int] = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _write(self, delivered: dict[str, int]) -> None:
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(delivered), encoding="utf-8")
        os.replace(partial, self._path)
