"""Merkle trees as in RFC 6962: roots, and proofs that a leaf or an older tree is part of one.

A leaf's hash is SHA-256 over 0x00 and the leaf, a node's SHA-256 over 0x01 and its two children,
so that no node can pass for a leaf. The root of no leaves is the SHA-256 of nothing. The left
child of n leaves holds the largest power of two below n.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256().digest()
_BLOCK: Final = 1024
_BLOCK_MASK: Final = _BLOCK - 1
_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of one leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its children's hashes."""
    return _sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows at its right edge; it keeps one hash for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf at the end."""
        self._raise_peak(_sha256(b"\x00" + leaf).digest(), 1)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add many leaves: whole blocks of them level by level, which takes half the time."""
        at, end = 0, len(leaves)
        while at < end and self.size & _BLOCK_MASK:
            self.append(leaves[at])
            at += 1
        while end - at >= _BLOCK:
            level = [_sha256(b"\x00" + leaf).digest() for leaf in leaves[at : at + _BLOCK]]
            while len(level) > 1:
                pairs = zip(level[::2], level[1::2], strict=True)
                level = [_sha256(b"\x01" + left + right).digest() for left, right in pairs]
            self._raise_peak(level[0], _BLOCK)
            at += _BLOCK
        for leaf in leaves[at:]:
            self.append(leaf)

    def _raise_peak(self, found: bytes, leaves: int) -> None:
        """Add a whole subtree of `leaves`, a power of two that divides the size."""
        self.size += leaves
        size = self.size // leaves
        while not size & 1:
            found = _sha256(b"\x01" + self._peaks.pop() + found).digest()
            size >>= 1
        self._peaks.append(found)

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over `leaves` (RFC 6962, 2.1)."""
    tree = Tree()
    tree.extend(leaves)
    return tree.root


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf `index`, from the bottom up (RFC 6962, 2.1.1).

    Raises IndexError for an index outside the tree.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_path(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_path(leaves[split:], index - split), root_of(leaves[:split])]


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to, None where it is no path of such a tree
    (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    found, at, last = leaf_hash(leaf), index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def consistency_path(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Return the proof that the first `size` leaves are the beginning of all (RFC 6962, 2.1.2).

    Raises IndexError unless 0 < size <= len(leaves).
    """
    if not 0 < size <= len(leaves):
        raise IndexError(f"no tree of {size} within {len(leaves)}")
    return _subproof(leaves, size, whole=True)


def _subproof(leaves: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(leaves[:split], size, whole=whole), root_of(leaves[split:])]
    return [
        *_subproof(leaves[split:], size - split, whole=False),
        root_of(leaves[:split]),
    ]


def is_consistent(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether `path` proves the old tree to be the new one's beginning (RFC 9162, 2.1.4.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    rest = list(path)
    if old_size & (old_size - 1) == 0:
        rest.insert(0, old_root)
    if not rest:
        return False
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = rest[0]
    for sibling in rest[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is above one."""
    return 1 << (size - 1).bit_length() - 1
