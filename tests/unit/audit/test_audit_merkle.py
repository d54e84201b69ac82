"""Merkle trees: known roots, and proofs that hold for what is true and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.merkle import (
    EMPTY_ROOT,
    Tree,
    consistency_path,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root_by_path,
    root_of,
)

# The test data of the certificate-transparency project for RFC 6962.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
leaves = st.lists(st.binary(max_size=4), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_node_is_no_leaf() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("before", [0, 1, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("more", [0, 1, 1024, 2049, 5000])
def test_many_at_once_are_the_same_as_one_by_one(before: int, more: int) -> None:
    made = [number.to_bytes(4, "big") for number in range(before + more)]
    one_by_one, at_once = Tree(), Tree()
    for leaf in made:
        one_by_one.append(leaf)
    at_once.extend(made[:before])
    at_once.extend(made[before:])
    assert (at_once.size, at_once.root) == (before + more, one_by_one.root)


@given(leaves, st.data())
def test_every_leaf_is_proven_and_no_other(all_of: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(all_of) - 1))
    path, root = inclusion_path(all_of, index), root_of(all_of)
    assert root_by_path(all_of[index], index, len(all_of), path) == root
    assert root_by_path(all_of[index] + b"!", index, len(all_of), path) != root
    assert root_by_path(all_of[index], index, len(all_of), [*path, root]) is None
    if path:
        assert root_by_path(all_of[index], index, len(all_of), path[:-1]) != root
    assert root_by_path(all_of[index], len(all_of), len(all_of), path) is None


@given(leaves, st.data())
def test_a_tree_that_grew_is_consistent_and_one_that_was_rewritten_is_not(
    all_of: list[bytes], data: st.DataObject
) -> None:
    size = data.draw(st.integers(1, len(all_of)))
    old, new = root_of(all_of[:size]), root_of(all_of)
    path = consistency_path(all_of, size)
    assert is_consistent(size, old, len(all_of), new, path)
    changed = data.draw(st.integers(0, size - 1))
    other = [*all_of[:changed], all_of[changed] + b"!", *all_of[changed + 1 :]]
    forged = consistency_path(other, size)
    assert not is_consistent(size, old, len(all_of), root_of(other), forged)
    if path:
        assert not is_consistent(size, old, len(all_of), new, path[:-1])
    assert not is_consistent(size, new + b"!", len(all_of), new, path)


def test_what_is_outside_the_tree_has_no_proof() -> None:
    with pytest.raises(IndexError):
        inclusion_path(LEAVES, 8)
    with pytest.raises(IndexError):
        consistency_path(LEAVES, 9)
    assert not is_consistent(0, EMPTY_ROOT, 8, root_of(LEAVES), [])
