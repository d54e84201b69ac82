"""The gateway's certificate: made, kept, renewed, replaced by the owner's, trusted by clients."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from infra.tls import authority, files, names
from infra.tls.errors import TlsError
from infra.tls.files import Served, served
from infra.tls.trust import client_context

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "desk")
DAY = dt.timedelta(days=1)


def leaf_of(shown: Served) -> x509.Certificate:
    return x509.load_pem_x509_certificate(shown.certificate.read_bytes())


def handshake(server: Served, client: ssl.SSLContext, name: str) -> None:
    """Shake hands in memory; raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting


def test_made_once_and_kept(tmp_path: Path) -> None:
    first = served(tmp_path, NAMES, NOW)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(content) == {"ca.crt", "ca.key", "gateway.crt", "gateway.key"}
    assert served(tmp_path, NAMES, NOW + 100 * DAY) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_keys_are_for_the_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        served(tmp_path, NAMES, NOW)
    finally:
        os.umask(before)
    for name in ("ca.key", "gateway.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_leaf_holds_the_names_and_no_more_than_browsers_take(tmp_path: Path) -> None:
    leaf = leaf_of(served(tmp_path, NAMES, NOW))
    assert names.of_certificate(leaf) == ("localhost", "desk", "127.0.0.1", "::1")
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < 398 * DAY
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.SERVER_AUTH]


def test_renewed_before_it_ends_by_the_same_authority(tmp_path: Path) -> None:
    first = served(tmp_path, NAMES, NOW)
    ca = (tmp_path / "ca.crt").read_bytes()
    key = (tmp_path / "gateway.key").read_bytes()
    later = served(tmp_path, NAMES, NOW + authority.LEAF_LIFE - authority.RENEW_BEFORE + DAY)
    assert later.ends > first.ends
    assert (tmp_path / "ca.crt").read_bytes() == ca
    assert (tmp_path / "gateway.key").read_bytes() != key


def test_the_authority_is_renewed_before_it_ends(tmp_path: Path) -> None:
    served(tmp_path, NAMES, NOW)
    ca = (tmp_path / "ca.crt").read_bytes()
    later = NOW + authority.AUTHORITY_LIFE - authority.RENEW_BEFORE + DAY
    assert served(tmp_path, NAMES, later).ends > later + authority.RENEW_BEFORE
    assert (tmp_path / "ca.crt").read_bytes() != ca


def test_another_name_gets_another_leaf_and_where_needed_another_authority(tmp_path: Path) -> None:
    served(tmp_path, NAMES, NOW)
    ca = (tmp_path / "ca.crt").read_bytes()
    fewer = served(tmp_path, NAMES[:3], NOW)
    assert set(names.of_certificate(leaf_of(fewer))) == set(NAMES[:3])
    assert (tmp_path / "ca.crt").read_bytes() == ca
    more = served(tmp_path, (*NAMES, "desk.example.com", "192.0.2.7"), NOW)
    assert "192.0.2.7" in names.of_certificate(leaf_of(more))
    assert (tmp_path / "ca.crt").read_bytes() != ca


def test_a_lost_key_means_a_new_pair(tmp_path: Path) -> None:
    served(tmp_path, NAMES, NOW)
    (tmp_path / "ca.key").unlink()
    shown = served(tmp_path, NAMES, dt.datetime.now(dt.UTC))
    handshake(shown, client_context(tmp_path, "https://127.0.0.1:1"), "127.0.0.1")


@pytest.mark.parametrize("name", ["ca.crt", "gateway.key"])
def test_a_broken_file_is_named_and_not_replaced(tmp_path: Path, name: str) -> None:
    served(tmp_path, NAMES, NOW)
    (tmp_path / name).write_text("x")
    with pytest.raises(TlsError) as caught:
        served(tmp_path, NAMES, NOW)
    assert str(tmp_path / name)[:-4] in caught.value.remedy
    assert (tmp_path / name).read_text() == "x"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "desk"])
def test_clients_on_this_machine_trust_it(tmp_path: Path, name: str) -> None:
    shown = served(tmp_path, NAMES, dt.datetime.now(dt.UTC))
    handshake(shown, client_context(tmp_path, "https://127.0.0.1:8443"), name)


def test_the_authority_cannot_sign_for_others(tmp_path: Path) -> None:
    """Whoever steals its key gets no further than this gateway."""
    now = dt.datetime.now(dt.UTC)
    ca = authority.make_authority(NAMES, now)
    (tmp_path / "ca.crt").write_bytes(ca.certificate_pem)
    stolen = authority.make_leaf(ca, ("bank.example",), now)
    (tmp_path / "gateway.crt").write_bytes(stolen.certificate_pem)
    (tmp_path / "gateway.key").write_bytes(stolen.key_pem)
    shown = Served(tmp_path / "gateway.crt", tmp_path / "gateway.key", (), now)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        handshake(shown, client_context(tmp_path, "https://127.0.0.1"), "bank.example")


def own_pair(
    folder: Path,
    *,
    begins: dt.datetime | None = None,
    ends: dt.datetime | None = None,
    alternative: tuple[str, ...] = ("desk.example.com",),
) -> tuple[Path, Path]:
    """A certificate as somebody else would have issued it."""
    key = rsa.generate_private_key(65_537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "desk.example.com")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(begins or now - DAY)
        .not_valid_after(ends or now + DAY)
    )
    if alternative:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(names.as_general(alternative)), critical=False
        )
    pem = serialization.Encoding.PEM
    (folder / "own.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "own.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "own.crt", folder / "own.key"


def use(folder: Path, certificate: Path, key: Path) -> Served:
    now = dt.datetime.now(dt.UTC)
    return served(folder, NAMES, now, own_certificate=certificate, own_key=key)


def test_the_owners_certificate_is_shown_as_it_is_and_known_by_a_pin(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path)
    shown = use(tmp_path, certificate, key)
    assert (shown.certificate, shown.key) == (certificate, key)
    assert shown.names == ("desk.example.com",)
    handshake(shown, client_context(tmp_path, "https://127.0.0.1:8443"), "127.0.0.1")
    made = served(tmp_path, NAMES, dt.datetime.now(dt.UTC))
    assert not (tmp_path / "pinned.crt").exists()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(shown, client_context(tmp_path, "https://127.0.0.1:8443"), "127.0.0.1")
    handshake(made, client_context(tmp_path, "https://127.0.0.1:8443"), "127.0.0.1")


def test_a_pin_is_that_certificate_and_no_other_of_the_same_name(tmp_path: Path) -> None:
    use(tmp_path, *own_pair(tmp_path))
    other = tmp_path / "other"
    other.mkdir()
    certificate, key = own_pair(other)
    stranger = Served(certificate, key, (), NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(stranger, client_context(tmp_path, "https://127.0.0.1:8443"), "127.0.0.1")


def refusal(folder: Path, certificate: Path, key: Path) -> str:
    with pytest.raises(TlsError) as caught:
        use(folder, certificate, key)
    assert caught.value.remedy
    assert not (folder / files.LEAF).exists()
    return str(caught.value)


def test_what_is_wrong_with_the_owners_files_is_said(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path)
    missing = tmp_path / "missing"
    text = tmp_path / "text"
    text.write_text("hello")
    assert f"TRADEWIND_TLS_CERT={missing} cannot be read" in refusal(tmp_path, missing, key)
    assert f"TRADEWIND_TLS_KEY={missing} cannot be read" in refusal(tmp_path, certificate, missing)
    assert "holds no certificate in PEM" in refusal(tmp_path, text, key)
    assert "holds no private key in PEM" in refusal(tmp_path, certificate, text)
    other = tmp_path / "other.key"
    other.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    assert "is not the key of the first certificate" in refusal(tmp_path, certificate, other)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "is encrypted" in refusal(tmp_path, certificate, key)


def test_times_and_names_are_checked(tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    ended = own_pair(tmp_path, begins=now - 2 * DAY, ends=now - DAY)
    assert " ended at " in refusal(tmp_path, *ended)
    early = own_pair(tmp_path, begins=now + DAY, ends=now + 2 * DAY)
    assert " begins at " in refusal(tmp_path, *early)
    assert "names no host" in refusal(tmp_path, *own_pair(tmp_path, alternative=()))


def test_one_of_the_two_settings_is_not_enough(tmp_path: Path) -> None:
    certificate, _ = own_pair(tmp_path)
    with pytest.raises(TlsError, match="TRADEWIND_TLS_KEY is missing"):
        served(tmp_path, NAMES, NOW, own_certificate=certificate)


@pytest.mark.parametrize("text", ["a b", "-x", "x_y.example", "1.2.3.4/8", "*", "a.*.b", "x" * 64])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(TlsError):
        names.parse(text)


def test_names_are_read_with_their_spaces_and_case() -> None:
    assert names.parse(" Desk.Example.COM. ,192.0.2.7,::2,*.x.example,desk.example.com") == (
        "desk.example.com", "192.0.2.7", "::2", "*.x.example",
    )  # fmt: skip


def test_a_file_that_is_named_to_be_trusted_must_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_TLS_CA", str(tmp_path / "none"))
    with pytest.raises(TlsError, match="no certificate that could be trusted"):
        client_context(tmp_path, "https://desk.example.com")
    served(tmp_path, NAMES, NOW)
    monkeypatch.setenv("TRADEWIND_TLS_CA", str(tmp_path / "ca.crt"))
    assert client_context(tmp_path, "https://desk.example.com").get_ca_certs()
