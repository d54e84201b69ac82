"""A certificate authority for one installation, and what it signs.

Whoever adds the authority to a browser trusts its key with more than this gateway, so it is bound
by name constraints (RFC 5280, 4.2.1.10): it can sign for the names of this gateway and no others.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.tls.names import address_of, as_general, of_certificate

AUTHORITY_LIFE = dt.timedelta(days=3650)
LEAF_LIFE = dt.timedelta(days=397)
"""Browsers refuse what lives longer than 398 days."""
RENEW_BEFORE = dt.timedelta(days=200)
BACKDATED = dt.timedelta(hours=1)
"""A client's clock may be late."""
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Return the key as PEM, unencrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def make_authority(names: Sequence[str], now: dt.datetime) -> Pair:
    """Return a new authority that can sign for `names` and no others."""
    key = ec.generate_private_key(ec.SECP256R1())
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:6]
    subject = _subject(f"Tradewind authority {mark}")
    builder = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def make_leaf(authority: Pair, names: Sequence[str], now: dt.datetime) -> Pair:
    """Return a certificate for `names`, signed by `authority`."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    life = min(LEAF_LIFE, issuer.not_valid_after_utc - now)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(_subject(names[0]), issuer.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(as_general(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(by, critical=False)
    )
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def may_sign(authority: x509.Certificate, names: Sequence[str], now: dt.datetime) -> bool:
    """Tell whether `authority` lives long enough and is permitted to sign for all `names`."""
    if authority.not_valid_after_utc - now < RENEW_BEFORE:
        return False
    constraints = authority.extensions.get_extension_for_class(x509.NameConstraints)
    permitted = constraints.value.permitted_subtrees or []
    hosts = {part.value for part in permitted if isinstance(part, x509.DNSName)}
    networks = [part.value for part in permitted if isinstance(part, x509.IPAddress)]
    for name in names:
        address = address_of(name)
        if address is None and name.removeprefix("*.") not in hosts:
            return False
        if address is not None and not any(
            address in network
            for network in networks
            if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
        ):
            return False
    return True


def fits(leaf: x509.Certificate, names: Sequence[str], now: dt.datetime) -> bool:
    """Tell whether `leaf` is for exactly these names and still lives long enough."""
    return set(of_certificate(leaf)) == set(names) and (
        leaf.not_valid_after_utc - now >= RENEW_BEFORE
    )


def _permitted(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        address = address_of(name)
        if address is None:
            found.append(x509.DNSName(name.removeprefix("*.")))
        elif isinstance(address, ipaddress.IPv4Address) and address in LOOPBACK:
            found.append(x509.IPAddress(LOOPBACK))
        else:
            found.append(x509.IPAddress(ipaddress.ip_network(address)))
    return found


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tradewind"),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    life: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
