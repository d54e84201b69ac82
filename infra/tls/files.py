"""The files of a folder of certificates: made at first use, renewed before they end."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.tls import authority, own
from infra.tls.authority import Pair
from infra.tls.errors import TlsError
from infra.tls.names import of_certificate
from infra.tls.trust import AUTHORITY, PINNED

AUTHORITY_KEY = "ca.key"
LEAF = "gateway.crt"
LEAF_KEY = "gateway.key"


@dataclass(frozen=True, slots=True)
class Served:
    """What the gateway shows: the files of certificate and key, for whom, until when."""

    certificate: Path
    key: Path
    names: tuple[str, ...]
    ends: dt.datetime

    def content(self) -> bytes:
        """Return what the two files hold, to see when that changes."""
        return self.certificate.read_bytes() + self.key.read_bytes()


def served(
    folder: Path,
    names: Sequence[str],
    now: dt.datetime,
    *,
    own_certificate: Path | None = None,
    own_key: Path | None = None,
) -> Served:
    """Return what the gateway shows: the owner's certificate if there is one, else one of ours.

    Ours is made in `folder` at first use, and anew when it is for other names or ends soon. What
    clients on this machine trust is left in `folder` too. Raises TlsError.
    """
    if own_certificate is None and own_key is None:
        (folder / PINNED).unlink(missing_ok=True)
        return _ours(folder, names, now)
    if own_certificate is None or own_key is None:
        missing = own.CERTIFICATE if own_certificate is None else own.KEY
        raise TlsError(
            f"{own.CERTIFICATE} and {own.KEY} go together, {missing} is missing",
            "set both, or neither: a certificate is made then",
        )
    leaf = own.check(own_certificate, own_key, now)
    write(folder / PINNED, leaf.public_bytes(serialization.Encoding.PEM), 0o644)
    return Served(own_certificate, own_key, of_certificate(leaf), leaf.not_valid_after_utc)


def _ours(folder: Path, names: Sequence[str], now: dt.datetime) -> Served:
    ca = _load(folder / AUTHORITY, folder / AUTHORITY_KEY)
    if ca is None or not authority.may_sign(ca.certificate, names, now):
        ca = authority.make_authority(names, now)
        _store(ca, folder / AUTHORITY, folder / AUTHORITY_KEY)
    leaf = _load(folder / LEAF, folder / LEAF_KEY)
    if (
        leaf is None
        or leaf.certificate.issuer != ca.certificate.subject
        or not (
            _signed_by(leaf.certificate, ca.certificate)
            and authority.fits(leaf.certificate, names, now)
        )
    ):
        leaf = authority.make_leaf(ca, names, now)
        _store(leaf, folder / LEAF, folder / LEAF_KEY)
    ends = leaf.certificate.not_valid_after_utc
    return Served(folder / LEAF, folder / LEAF_KEY, tuple(names), ends)


def _signed_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    identifier = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    own_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return identifier.key_identifier == own_id.digest


def _load(certificate: Path, key: Path) -> Pair | None:
    """Return the pair, None where one of the files is missing; raises TlsError for broken ones."""
    if not certificate.exists() or not key.exists():
        return None
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
        pair = x509.load_pem_x509_certificate(certificate.read_bytes()), private
    except (OSError, ValueError, TypeError) as error:
        raise TlsError(
            f"{certificate} or {key.name} beside it cannot be used: {error}",
            f"delete {certificate} and {key}; they are made anew",
        ) from error
    if not isinstance(pair[1], ec.EllipticCurvePrivateKey) or (
        pair[1].public_key() != pair[0].public_key()
    ):
        raise TlsError(f"{key} does not belong to {certificate}", "delete both; they are made anew")
    return Pair(pair[0], pair[1])


def _store(pair: Pair, certificate: Path, key: Path) -> None:
    # A crash between the two leaves a pair that does not fit; without its key it is made anew.
    key.unlink(missing_ok=True)
    write(certificate, pair.certificate_pem, 0o644)
    write(key, pair.key_pem, 0o600)


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` in one step, never readable by more than `mode` says."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
