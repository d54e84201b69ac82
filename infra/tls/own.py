"""A certificate of the owner's: checked before a server is given it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from infra.tls.errors import TlsError
from infra.tls.names import of_certificate

CERTIFICATE = "TRADEWIND_TLS_CERT"
KEY = "TRADEWIND_TLS_KEY"


def check(certificate: Path, key: Path, now: dt.datetime) -> x509.Certificate:
    """Return the certificate, which comes first in its file; raises TlsError saying what is wrong.

    Both files can be read, hold what they should, belong together, and today is within the
    certificate's time.
    """
    chain = _certificates(certificate)
    leaf = chain[0]
    private = _private_key(key)
    if _public_bytes(leaf.public_key()) != _public_bytes(private.public_key()):
        raise TlsError(
            f"{KEY}={key} is not the key of the first certificate in {certificate}",
            "put the server's own certificate first in the file, those of its issuers after it",
        )
    if leaf.not_valid_after_utc <= now:
        raise TlsError(
            f"{CERTIFICATE}={certificate} ended at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            "renew it, or leave both settings away: one is made then",
        )
    if leaf.not_valid_before_utc > now:
        raise TlsError(
            f"{CERTIFICATE}={certificate} begins at "
            f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only",
            "is the clock of this machine right?",
        )
    if not of_certificate(leaf):
        raise TlsError(
            f"{CERTIFICATE}={certificate} names no host (subjectAltName), and no client takes it",
            "have it issued with the host names of the gateway",
        )
    return leaf


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(
            f"{setting}={path} cannot be read: {error.strerror or error}",
            "give the path of a PEM file that the user who runs this may read",
        ) from error


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, CERTIFICATE))
    except ValueError as error:
        raise TlsError(
            f"{CERTIFICATE}={path} holds no certificate in PEM: {error}",
            "it begins with -----BEGIN CERTIFICATE-----",
        ) from error


def _private_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(_read(path, KEY), password=None)
    except TypeError as error:
        raise TlsError(
            f"{KEY}={path} is encrypted", "the gateway cannot ask for a password: decrypt it"
        ) from error
    except ValueError as error:
        raise TlsError(
            f"{KEY}={path} holds no private key in PEM: {error}",
            "it begins with -----BEGIN PRIVATE KEY-----",
        ) from error


def _public_bytes(key: object) -> bytes:
    der, spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = key.public_bytes(der, spki)  # type: ignore[attr-defined]
    return made
