"""Signed provenance, with a certificate that nobody trusts, made for the occasion."""

import datetime

import numpy as np
import pytest

from audiolm.audio.files import read
from audiolm.audio.metadata import read_metadata
from audiolm.audio.origin import SYNTHETIC, Origin
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError, ConfigurationError

pytest.importorskip("c2pa", reason="needs the extra [provenance]")
pytest.importorskip("cryptography", reason="needs the extra [provenance]")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from audiolm.cli.main import main
from audiolm.safety.provenance import sign, verify
from tiny import tiny_model

ORIGIN = Origin("speech", "ab" * 32, "continuation", seed=1, prompt_seconds=3.0)
SAMPLES = np.linspace(-0.5, 0.5, 4000).astype(np.float32)


def certificate(name, key, issuer_name, issuer_key, authority):
    now = datetime.datetime.now(datetime.UTC)
    people = [
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, who),
                x509.NameAttribute(NameOID.COMMON_NAME, who),
            ]
        )
        for who in (name, issuer_name)
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(people[0])
        .issuer_name(people[1])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=authority,
                crl_sign=authority,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    """(chain, key): paths of PEM files."""
    folder = tmp_path_factory.mktemp("credentials")
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    chain = [
        certificate("A user", own, "Nobody's root", root, authority=False),
        certificate("Nobody's root", root, "Nobody's root", root, authority=True),
    ]
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(c.public_bytes(pem) for c in chain))
    (folder / "key.pem").write_bytes(
        own.private_bytes(
            pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return folder / "chain.pem", folder / "key.pem"


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_signed_and_verified(tmp_path, credentials, suffix):
    path = tmp_path / f"a.{suffix}"
    Audio(SAMPLES, 16_000, ORIGIN).write(path)
    assert verify(path) is None
    before = read(path).samples
    sign(path, *credentials)
    found = verify(path)
    assert found is not None and found.valid and found.synthetic
    assert found.signer == "A user"
    assert found.digital_source_types == (SYNTHETIC,)
    assert not found.trusted
    assert np.array_equal(read(path).samples, before)
    assert read_metadata(path).origin == ORIGIN
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_one_changed_sample_is_noticed(tmp_path, credentials):
    path = tmp_path / "a.wav"
    Audio(SAMPLES, 16_000, ORIGIN).write(path)
    sign(path, *credentials)
    data = bytearray(path.read_bytes())
    data[data.index(b"data") + 800] ^= 1
    path.write_bytes(data)
    found = verify(path)
    assert found is not None and not found.valid
    assert "assertion.dataHash.mismatch" in found.problems


def test_a_recording_is_not_signed(tmp_path, credentials):
    path = tmp_path / "a.wav"
    Audio(SAMPLES, 16_000).write(path)
    with pytest.raises(AudioError, match=r"a\.wav: does not say that a model made it"):
        sign(path, *credentials)


def test_bad_credentials_leave_the_file_as_it_was(tmp_path, credentials):
    path = tmp_path / "a.wav"
    Audio(SAMPLES, 16_000, ORIGIN).write(path)
    before = path.read_bytes()
    chain, key = credentials
    other = tmp_path / "other.pem"
    for wrong, message in (
        ((tmp_path / "none.pem", key), "cannot be read"),
        ((chain, chain), "is no private key"),
        ((key, key), "holds no certificate"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            sign(path, *wrong)
    other.write_bytes(chain.read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match="could not be signed"):
        sign(path, other, key)
    assert path.read_bytes() == before


def test_what_cannot_be_verified(tmp_path):
    with pytest.raises(AudioError, match="name one"):
        verify(tmp_path / "a.txt")


def test_on_the_command_line(credentials, tmp_path, capsys):
    folder = tmp_path / "model"
    tiny_model().save(folder)
    chain, key = credentials
    asked = ["generate", "--seconds", "0.3", "--model", str(folder), "--quiet"]
    for name, more in (("a.flac", []), ("b.wav", ["--stream"])):
        path = tmp_path / name
        signed = ["--certificate", str(chain), "--key", str(key)]
        assert main([*asked, "-o", str(path), *more, *signed]) == 0
        found = verify(path)
        assert found is not None and found.valid and found.synthetic
    assert main([*asked, "-o", str(tmp_path / "c.wav"), "--key", str(key)]) == 2
    assert "give both, or neither" in capsys.readouterr().err
    assert not (tmp_path / "c.wav").exists()
