"""An authenticator and its page in software: fido2's data classes, signed by `cryptography`. They also say what
none would."""

import copy
import os
from types import SimpleNamespace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cbor
from fido2.cose import ES256, ES384, RS256, EdDSA
from fido2.utils import sha256, websafe_decode, websafe_encode
from fido2.webauthn import Aaguid, AttestedCredentialData, AuthenticatorData, CollectedClientData

FLAG = AuthenticatorData.FLAG
# A key without a PIN, one with it, and a passkey that is on several devices.
PRESENT, VERIFIED, SYNCED = FLAG.UP, FLAG.UP | FLAG.UV, FLAG.UP | FLAG.UV | FLAG.BE | FLAG.BS


def new_key(algorithm):
    return {
        ES256: lambda: ec.generate_private_key(ec.SECP256R1()),
        ES384: lambda: ec.generate_private_key(ec.SECP384R1()),
        RS256: lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        EdDSA: ed25519.Ed25519PrivateKey.generate,
    }[algorithm]()


def sign(algorithm, key, message):
    return {
        ES256: lambda: key.sign(message, ec.ECDSA(hashes.SHA256())),
        ES384: lambda: key.sign(message, ec.ECDSA(hashes.SHA384())),
        RS256: lambda: key.sign(message, padding.PKCS1v15(), hashes.SHA256()),
        EdDSA: lambda: key.sign(message),
    }[algorithm]()


def credential(credential_id, **response):
    """A credential as `PublicKeyCredential.toJSON()` writes it."""
    return {
        "id": websafe_encode(credential_id),
        "rawId": websafe_encode(credential_id),
        "type": "public-key",
        "clientExtensionResults": {},
        "response": {name: it and websafe_encode(it) for name, it in response.items()},
    }


class Authenticator:
    """One passkey. The data of it and of its page can be replaced in each ceremony."""

    def __init__(self, algorithm, origin, flags=VERIFIED, counter=0):
        self.algorithm, self.origin, self.flags, self.counter = algorithm, origin, flags, counter
        self.key, self.credential_id = new_key(algorithm), os.urandom(32)
        self.user_handle = None

    def another(self):
        """Another passkey under the same key."""
        other = copy.copy(self)
        other.credential_id = os.urandom(32)
        return other

    def says(self, kind, challenge, rp_id, other):
        own = {
            "type": kind,
            "challenge": challenge,
            "origin": self.origin,
            "cross_origin": False,
            "rp_id": rp_id,
            "flags": self.flags,
            "counter": self.counter,
            "extensions": None,
            "edit": bytes,  # changes the authenticator data before they are signed
            "credential_id": lambda: self.credential_id,
            "user_handle": self.user_handle,
            "algorithm": self.algorithm,
            "key": lambda _: self.key,
            "statement": lambda *_: ("none", {}),
        }
        assert own.keys() >= other.keys(), other
        says = SimpleNamespace(**(own | other))
        says.credential_id, says.key = says.credential_id(), says.key(says.algorithm)
        page = (says.type, says.challenge, says.origin, says.cross_origin)
        says.client_data = CollectedClientData.create(*page)
        return says

    def data(self, says, attested=b""):
        flags = says.flags | FLAG.AT * bool(attested) | FLAG.ED * (says.extensions is not None)
        rp = sha256(says.rp_id.encode())
        data = AuthenticatorData.create(rp, flags, says.counter, attested, says.extensions)
        return says.edit(bytes(data))

    def create(self, options, **other):
        """Answers `PublicKeyCredentialCreationOptionsJSON`."""
        self.user_handle = websafe_decode(options["user"]["id"])
        says = self.says("webauthn.create", options["challenge"], options["rp"]["id"], other)
        public = says.algorithm.from_cryptography_key(says.key.public_key())
        attested = AttestedCredentialData.create(Aaguid.NONE, says.credential_id, public)
        data = self.data(says, attested)
        fmt, statement = says.statement(self, data + says.client_data.hash)
        return credential(
            says.credential_id,
            clientDataJSON=says.client_data,
            attestationObject=cbor.encode({"fmt": fmt, "authData": data, "attStmt": statement}),
        )

    def get(self, options, **other):
        """Answers `PublicKeyCredentialRequestOptionsJSON`."""
        self.counter += self.counter > 0
        says = self.says("webauthn.get", options["challenge"], options["rpId"], other)
        data = self.data(says)
        return credential(
            says.credential_id,
            clientDataJSON=says.client_data,
            authenticatorData=data,
            signature=sign(says.algorithm, says.key, data + says.client_data.hash),
            userHandle=says.user_handle,
        )

    def attest(self, signed):
        """The statement of an authenticator that attests with the passkey itself."""
        signature = sign(self.algorithm, self.key, signed)
        return "packed", {"alg": self.algorithm.ALGORITHM, "sig": signature}
