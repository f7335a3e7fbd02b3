"""Signatures: whose models are used, told by ed25519 keys that the environment names.

A provenance holds its version's group, name and number, what it was trained with, and the checksum of each of its
files. Its signature therefore vouches for all of them, and for no other place in the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from kepler_train.contract.errors import UntrustedModel, WrongUsage
from kepler_train.contract.models import Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNING_KEY_FILE = "KEPLER_TRAIN_SIGNING_KEY_FILE"
VERIFY_KEYS_FILE = "KEPLER_TRAIN_VERIFY_KEYS_FILE"
UNSIGNED = "KEPLER_TRAIN_UNSIGNED"

_YES_OR_NO = {"": False, "0": False, "false": False, "1": True, "true": True}
_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_ANY_BLOCK = b"-----BEGIN "
_LARGEST_KEY_FILE_BYTES = 1 << 16


@dataclass(frozen=True)
class Keys:
    """The key that signs what is published, and those whose signatures are trusted; none of either: nobody is asked."""

    signing: Ed25519PrivateKey | None = None
    trusted: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    """Key id to public key."""

    @property
    def are_used(self) -> bool:
        """Whether models are signed and verified at all."""
        return bool(self.trusted)

    @property
    def signer(self) -> str:
        """The id of the key that signs; empty where models are published without a signature."""
        return _key_id(self.signing.public_key()) if self.signing else ""

    def require_signer(self, address: str) -> None:
        """Raise WrongUsage where signatures are asked for but there is no key to make one with."""
        if self.are_used and self.signing is None:
            raise WrongUsage(f"no key to sign with, so nothing can be published to {address}; set {SIGNING_KEY_FILE}")

    def sign(self, content: bytes) -> Signature:
        """Sign a provenance's bytes."""
        if self.signing is None:
            raise WrongUsage(f"no key to sign with; set {SIGNING_KEY_FILE}")
        return Signature(key_id=self.signer, signature=self.signing.sign(content))

    def require_signature(self, content: bytes, signature: Signature | None, origin: str) -> None:
        """Raise UntrustedModel, naming `origin`, unless a trusted key signed these very bytes."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (costs 0.1 s; many commands need none)

        if signature is None:
            raise UntrustedModel(f"{origin} is not signed; {_REMEDY}")
        if signature.key_id not in self.trusted:
            raise UntrustedModel(
                f"{origin} is signed with the key {signature.key_id[:16]!r}, not with one of "
                f"{', '.join(self.trusted)}; if you trust that key, add it to "
                f"{VERIFY_KEYS_FILE}, else publish a new model of this name"
            )
        try:
            self.trusted[signature.key_id].verify(signature.signature, content)
        except InvalidSignature as cause:
            raise UntrustedModel(
                f"{origin} was altered after it was signed with {signature.key_id}, or its signature was; {_REMEDY}"
            ) from cause


_REMEDY = (
    "find out who may write to the store, and publish a new model of this name, or go back to a version that is signed"
)


def keys_from_environment() -> Keys:
    """Read the keys that the environment names, or the choice to do without.

    Raises WrongUsage where neither is there or both are, or where a file holds no key.
    """
    signing_file, verify_file = os.environ.get(SIGNING_KEY_FILE), os.environ.get(VERIFY_KEYS_FILE)
    if _is_unsigned_chosen():
        if signing_file or verify_file:
            raise WrongUsage(
                f"both keys and {UNSIGNED} are set; unset {UNSIGNED}, or {SIGNING_KEY_FILE} and {VERIFY_KEYS_FILE}"
            )
        return Keys()
    if not signing_file and not verify_file:
        raise WrongUsage(
            f"no key to verify models with; set {VERIFY_KEYS_FILE}, and {SIGNING_KEY_FILE} to publish, or choose to do "
            f"without: --unsigned, or {UNSIGNED}=true"
        )
    signing = _signing_key(signing_file) if signing_file else None
    if not verify_file:
        public = [signing.public_key()] if signing else []
        return Keys(signing, {_key_id(key): key for key in public})
    keys = Keys(signing, {_key_id(key): key for key in _public_keys(verify_file)})
    if keys.signing and keys.signer not in keys.trusted:
        raise WrongUsage(
            f"{VERIFY_KEYS_FILE} lacks the key {keys.signer} that {SIGNING_KEY_FILE} signs with, so nobody would use "
            "what is published; add its public key"
        )
    return keys


def _is_unsigned_chosen() -> bool:
    said = os.environ.get(UNSIGNED, "")
    if said.lower() not in _YES_OR_NO:
        raise WrongUsage(f"{UNSIGNED} is {said!r}; set it to true or false")
    return _YES_OR_NO[said.lower()]


def _signing_key(file: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 (as above)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(_read(SIGNING_KEY_FILE, file), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise WrongUsage(
            f"{SIGNING_KEY_FILE} names {file}, which holds no private ed25519 key without a password; "
            "make one with: openssl genpkey -algorithm ed25519"
        )
    return key


def _public_keys(file: str) -> list[Ed25519PublicKey]:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 (as above)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    content = _read(VERIFY_KEYS_FILE, file)
    try:
        keys = [load_pem_public_key(block) for block in _PUBLIC_KEY.findall(content)]
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    ed25519 = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not ed25519 or len(ed25519) < content.count(_ANY_BLOCK):
        raise WrongUsage(
            f"{VERIFY_KEYS_FILE} names {file}, which must hold public ed25519 keys and nothing else, one after the "
            "other; write one with: openssl pkey -in signing.pem -pubout"
        )
    return ed25519


def _read(variable: str, file: str) -> bytes:
    try:
        with Path(file).open("rb") as content:
            return content.read(_LARGEST_KEY_FILE_BYTES)
    except OSError as cause:
        raise WrongUsage(f"{variable} names {file}, which cannot be read: {cause.strerror}") from cause


def _key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()[:16]
