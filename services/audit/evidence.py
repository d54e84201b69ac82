"""Where this installation keeps the anchors of its chain, from settings or from a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.adapters.chain_scan import Evidence
from services.audit.anchors import AnchorError, AnchorKey
from services.audit.logic import Break, Head, Verification
from services.audit.settings import AuditSettings


@dataclass(frozen=True, slots=True)
class Anchorage:
    """A folder of anchors, with the key that signs (None: nobody here can) and the keys that may
    have signed (none: any)."""

    files: AnchorFiles
    key: AnchorKey | None = None
    keys: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: AuditSettings) -> Self | None:
        """Return what the settings say, None where no anchors are kept.

        Raises InvalidInputError for a key that is none.
        """
        if not settings.audit_anchors:
            return None
        seed = settings.audit_key.get_secret_value()
        key = AnchorKey.of(seed) if seed else None
        own = (key.public,) if key else ()
        return cls(
            AnchorFiles(Path(settings.audit_anchors)), key, (*own, *settings.audit_keys_former)
        )

    def evidence(self) -> Evidence:
        """Return what to hold the chain against. Raises AnchorError for broken anchors."""
        return Evidence(self.files.read(self.keys), self.files.hashes)


def anchors_broken(error: AnchorError) -> Verification:
    """Return the outcome of a verification that did not get past the anchors."""
    return Verification(0, Head(), Break(0, "ANCHORS_BROKEN", "anchors as signed", str(error)))


def pinned(keys: Sequence[str]) -> tuple[str, ...]:
    """Return public keys as they stand in anchors."""
    return tuple(key.strip().lower() for key in keys if key.strip())
