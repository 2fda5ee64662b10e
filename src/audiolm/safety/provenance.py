"""A signed statement of where a file comes from: C2PA, Content Credentials (extra `[provenance]`).

The metadata of a container can be written by anybody. A C2PA manifest says the same, that a trained
model made the sound, and is signed with a certificate of the user's own: whoever changes file or
manifest breaks the signature. Who takes the manifest out breaks nothing, which is what the mark is
for. `c2pa-python` writes and checks it.
"""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from audiolm._version import __version__
from audiolm.atomic import replacing
from audiolm.audio.metadata import read_metadata
from audiolm.audio.origin import SYNTHETIC, Origin
from audiolm.errors import AudioError, ConfigurationError

_FORMATS = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg"}

_ALGORITHMS = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
"""C2PA's name of the signature, by curve."""


@dataclass(frozen=True)
class Credentials:
    """What a file is signed with."""

    chain: bytes
    """The certificates as PEM, the signer's own first."""
    key: bytes
    """Its private key as PEM, without a password."""
    algorithm: bytes
    """C2PA's name of the signature that goes with the key."""


@dataclass(frozen=True)
class Provenance:
    """What a file's C2PA manifest says, and whether it holds."""

    valid: bool
    """Whether neither file nor manifest was changed since it was signed."""
    trusted: bool
    """Whether the signer's certificate leads to one that the library trusts."""
    signer: str
    """Whom the certificate names."""
    digital_source_types: tuple[str, ...]
    """How the content came about, in IPTC's words."""
    problems: tuple[str, ...]
    """Codes of what does not hold, in C2PA's words."""

    @property
    def synthetic(self) -> bool:
        """Whether it says that a trained model made it."""
        return SYNTHETIC in self.digital_source_types


def read_credentials(certificate: str | PathLike[str], key: str | PathLike[str]) -> Credentials:
    """Certificates and key from PEM files, checked as far as that goes without signing.

    Raises:
        ConfigurationError: a file cannot be read, the key has a password or is of a kind that C2PA
            does not take, or the extra is not installed.
    """
    _package()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    contents = []
    for path in (Path(certificate), Path(key)):
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(
                f"{path}: cannot be read ({error.strerror}); name a PEM file"
            ) from None
    chain, pem = contents
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        raise ConfigurationError(f"{certificate}: holds no certificate; name a chain as PEM")
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0][:80]
        raise ConfigurationError(
            f"{key}: is no private key that can be used ({reason}); name a PEM without password"
        ) from None
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _ALGORITHMS:
        algorithm = _ALGORITHMS[private.curve.name]
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = b"ed25519"
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = b"ps256"
    else:
        raise ConfigurationError(
            f"{key}: C2PA does not take this kind of key; use P-256, P-384, P-521, Ed25519 or RSA"
        )
    plain = private.private_bytes(  # C2PA wants PKCS 8
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Credentials(chain, plain, algorithm)


def sign(
    path: str | PathLike[str], certificate: str | PathLike[str], key: str | PathLike[str]
) -> None:
    """Add a signed C2PA manifest to a .wav or .flac file that this package has made.

    The sound stays as it is, sample for sample; the file is replaced whole or not at all.

    Args:
        path: the file; its metadata say where it comes from.
        certificate: a PEM file with the signer's certificate and those that lead from it to a root.
        key: a PEM file with its private key.

    Raises:
        AudioError: the file cannot be read, or does not say that a model made it.
        ConfigurationError: certificate or key cannot be used, or the extra is not installed.
    """
    sign_with(path, read_credentials(certificate, key))


def sign_with(path: str | PathLike[str], credentials: Credentials) -> None:
    """`sign`, with credentials that have been read."""
    c2pa = _package()
    path = Path(path)
    origin = read_metadata(path).origin
    if origin is None:
        raise AudioError(
            f"{path}: does not say that a model made it, so nothing is signed; give a file that "
            "this package has written"
        )
    if path.suffix.lower() not in _FORMATS:
        raise AudioError(f"{path}: must end in {', '.join(_FORMATS)} to be signed; name it so")
    try:
        # No time stamp: that would ask a server.
        signer = c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(credentials.algorithm, credentials.chain, credentials.key, None)
        )
        with (
            replacing(path) as temporary,
            temporary.open("w+b") as signed,
            path.open("rb") as file,
            signer,
            c2pa.Builder(_manifest(path, origin)) as builder,
        ):
            builder.sign(signer, _FORMATS[path.suffix.lower()], file, signed)
    except c2pa.C2paError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"{path}: could not be signed ({reason}); give a certificate for signing documents or "
            "e-mail, with its chain, and its own key"
        ) from None


def verify(path: str | PathLike[str]) -> Provenance | None:
    """What a file's C2PA manifest says, and whether it holds; None where it has none.

    Raises:
        AudioError: the file is none that can carry one.
        ConfigurationError: the extra is not installed.
    """
    c2pa = _package()
    path = Path(path)
    if path.suffix.lower() not in _FORMATS or not path.is_file():
        raise AudioError(f"{path}: is no {', '.join(_FORMATS)} file; name one")
    try:
        with path.open("rb") as file:
            reader = c2pa.Reader.try_create(_FORMATS[path.suffix.lower()], file)
            if reader is None:
                return None
            with reader:
                said: dict[str, Any] = json.loads(reader.json())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in str(error):
            return None
        reason = " ".join(str(error).split())[:200]
        raise AudioError(
            f"{path}: its C2PA manifest cannot be read ({reason}); ask for another"
        ) from None
    manifest = said["manifests"][said["active_manifest"]]
    actions = [
        action
        for assertion in manifest.get("assertions", [])
        if assertion.get("label", "").startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    problems = tuple(status["code"] for status in said.get("validation_status", []))
    untrusted = "signingCredential.untrusted"
    return Provenance(
        valid=not [code for code in problems if code != untrusted],
        trusted=not problems,
        signer=str(manifest.get("signature_info", {}).get("issuer", "")),
        digital_source_types=tuple(
            action["digitalSourceType"] for action in actions if "digitalSourceType" in action
        ),
        problems=problems,
    )


def _manifest(path: Path, origin: Origin) -> str:
    """What is signed, as JSON."""
    action = {
        "action": "c2pa.created",
        "digitalSourceType": origin.digital_source_type,
        "softwareAgent": {"name": "audiolm", "version": __version__},
        "description": origin.sentence,
    }
    return json.dumps(
        {
            "claim_generator_info": [{"name": "audiolm", "version": __version__}],
            "title": path.name,
            "format": _FORMATS[path.suffix.lower()],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
    )


def _package() -> Any:
    try:
        import c2pa
    except ImportError:
        raise ConfigurationError(
            'provenance: needs c2pa-python; pip install "audiolm[provenance]"'
        ) from None
    return c2pa
