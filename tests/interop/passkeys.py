"""Passkeys of authenticators that are not ours, and a verifier that is not ours (py_webauthn) beside the
instances: the same bytes, good and bad, go to both."""

import itertools
import json
import os
from dataclasses import dataclass, field

import argon2
from authenticator import FLAG, PRESENT, SYNCED, VERIFIED, Authenticator, credential, new_key
from fido2.cose import ES256, ES384, RS256, EdDSA
from fido2.utils import websafe_decode, websafe_encode
from setting import ORIGINS, PASSWORD, RP_ID, Pair, bearer, part
from soft_webauthn import SoftWebauthnDevice
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException

ENROLMENT, SECOND_FACTOR, ALONE = "enrolment", "second factor", "alone"


class SoftWebauthn:
    """soft_webauthn's device, which has no PIN, and the page that it lacks."""

    flags = PRESENT

    def __init__(self):
        self.device = SoftWebauthnDevice()

    def another(self):
        return SoftWebauthn()

    def create(self, options, origin=ORIGINS[0], rp_id=RP_ID):
        user = {**options["user"], "id": websafe_decode(options["user"]["id"])}
        return self.ask(self.device.create, {**options, "rp": {"id": rp_id}, "user": user}, origin)

    def get(self, options, origin=ORIGINS[0], rp_id=RP_ID):
        self.device.rp_id = rp_id
        return self.ask(self.device.get, {**options, "rpId": rp_id}, origin)

    def ask(self, device, options, origin):
        options = {**options, "challenge": websafe_decode(options["challenge"])}
        made = device({"publicKey": options}, origin)
        return credential(made["rawId"], **made["response"])


# And whether a passkey of theirs is of the hardware or of software (RFC 8176), since it may be copied.
AUTHENTICATORS = {
    "soft-webauthn": (SoftWebauthn, "hwk"),
    "fido2-es256": (lambda: Authenticator(ES256, ORIGINS[0], SYNCED), "swk"),
    "fido2-rs256": (lambda: Authenticator(RS256, ORIGINS[0], VERIFIED, counter=1), "hwk"),
    "fido2-eddsa": (lambda: Authenticator(EdDSA, ORIGINS[0], VERIFIED | FLAG.BE), "swk"),
}


@dataclass
class Case:
    """How a ceremony differs from the usual one."""

    name: str
    is_good: bool = False
    # The data that the authenticator and its page send instead.
    says: dict = field(default_factory=dict)
    # The options for the page, if not those of the server.
    asked: dict = field(default_factory=dict)
    # Changes a part of the data, after it was signed.
    edit: dict = field(default_factory=dict)

    def suits(self, authenticator):
        """soft_webauthn's device says little else than usual, and not every counter moves."""
        if isinstance(authenticator, SoftWebauthn):
            return self.says.keys() <= {"origin", "rp_id"}
        return "counter" not in self.says or authenticator.counter > 0

    def answer(self, ceremony, options):
        made = ceremony({**options, **self.asked}, **self.says)
        response = made["response"]
        for name, edit in self.edit.items():
            response[name] = websafe_encode(edit(websafe_decode(response[name])))
        return made


def shorter(data):
    return data[:-1]


def longer(data):
    return data + b" "


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


def flagged(flags):
    return lambda data: data[:32] + bytes([flags]) + data[33:]


def another_origin_first(client_data):
    return client_data.replace(b"{", b'{"origin":"https://evil.example",', 1)


def padded_challenge(client_data):
    said = json.loads(client_data)
    return json.dumps({**said, "challenge": said["challenge"] + "="}).encode()


def attested_wrongly(authenticator, signed):
    return authenticator.attest(signed + b" ")


USUAL = Case("as usual", True)
OTHER = b"\7" * 32
OF_BOTH = [
    USUAL,
    Case("the other origin of the list", True, {"origin": ORIGINS[1]}),
    Case("not backed up yet", True, {"flags": VERIFIED | FLAG.BE}),
    Case("extensions", True, {"extensions": {"credProtect": 2}}),
    Case("another challenge", asked={"challenge": websafe_encode(OTHER)}),
    Case("another origin", says={"origin": "https://evil.example"}),
    Case("another page of the domain", says={"origin": f"https://{RP_ID}"}),
    Case("an embedded page", says={"cross_origin": True}),
    Case("another RP ID", says={"rp_id": "evil.example"}),
    Case("nobody there", says={"flags": FLAG.UV}),
    Case("backed up and not eligible", says={"flags": VERIFIED | FLAG.BS}),
    Case("authenticator data: a byte less", says={"edit": shorter}),
    Case("authenticator data: a byte more", says={"edit": longer}),
    Case("authenticator data: 36 bytes", says={"edit": lambda data: data[:36]}),
    Case("authenticator data: no extensions there", says={"edit": flagged(SYNCED | FLAG.ED)}),
    Case("client data: a byte less", edit={"clientDataJSON": shorter}),
]
OF_USE = [
    *OF_BOTH,
    Case("type webauthn.create", says={"type": "webauthn.create"}),
    Case("another key", says={"key": new_key}),
    Case("another id", says={"credential_id": lambda: OTHER}),
    Case("another's handle", says={"user_handle": OTHER}),
    Case("a counter that went back", True, {"counter": 1}),
    Case("signature: a bit flipped", edit={"signature": flipped}),
    Case("signature: a byte more", edit={"signature": longer}),
    Case("authenticator data: a bit flipped", edit={"authenticatorData": flipped}),
    Case("client data: a space more", edit={"clientDataJSON": longer}),
]
CASES = {
    ENROLMENT: [
        *OF_BOTH,
        Case("not verified", True, {"flags": PRESENT}),
        Case("type webauthn.get", says={"type": "webauthn.get"}),
        # No signature is over what is sent here, so these alone may be wrong in it.
        Case("client data: two origins", edit={"clientDataJSON": another_origin_first}),
        Case("client data: a padded challenge", edit={"clientDataJSON": padded_challenge}),
        Case("ES384", says={"algorithm": ES384, "key": new_key}),
        Case("an id of 1023 bytes", True, {"credential_id": lambda: os.urandom(1023)}),
        Case("an id of 1024 bytes", says={"credential_id": lambda: os.urandom(1024)}),
        Case("an id of 0 bytes", says={"credential_id": bytes}),
        Case("no passkey in it", says={"edit": lambda data: flagged(SYNCED)(data[:37])}),
        Case("attestation: a byte less", edit={"attestationObject": shorter}),
        Case("attestation: a byte more", edit={"attestationObject": longer}),
        Case("attestation: by the passkey itself", True, {"statement": Authenticator.attest}),
        Case("attestation: a wrong signature", True, {"statement": attested_wrongly}),
    ],
    SECOND_FACTOR: [
        *OF_USE,
        Case("not verified", True, {"flags": PRESENT}),
        Case("no handle", True, {"user_handle": None}),
    ],
    ALONE: [
        *OF_USE,
        Case("not verified", says={"flags": PRESENT}),
        Case("no handle", says={"user_handle": None}),
    ],
}
UNVERIFIED = Case("an authenticator without a PIN")

# Where py_webauthn decides otherwise than the server: (server, py_webauthn), and why (WebAuthn level 3).
STRICTER, LAXER = ("refused", "good"), ("good", "refused")
DIFFERENCES = {
    # Nobody is to embed these pages (7.1, step 10; 7.2, step 13). py_webauthn leaves that to its caller.
    (ENROLMENT, "an embedded page"): STRICTER,
    (SECOND_FACTOR, "an embedded page"): STRICTER,
    (ALONE, "an embedded page"): STRICTER,
    # 7.1, step 25.
    (ENROLMENT, "an id of 1024 bytes"): STRICTER,
    # No browser names a member twice (5.8.1.1), and readers differ in which of them they take.
    (ENROLMENT, "client data: two origins"): STRICTER,
    # base64url is without padding (section 3).
    (ENROLMENT, "client data: a padded challenge"): STRICTER,
    # It is one item of CBOR (6.5.4), and bytes after it make it none (RFC 8949, appendix F).
    (ENROLMENT, "attestation: a byte more"): STRICTER,
    # `none` was asked for (5.4.7). So a statement is not looked at (7.1, step 21), with any content: no
    # decision of the server rests on it.
    (ENROLMENT, "attestation: a wrong signature"): LAXER,
    # The owner of the passkey (7.2, steps 5 and 6). py_webauthn leaves this check to its caller.
    (SECOND_FACTOR, "another id"): STRICTER,
    (SECOND_FACTOR, "another's handle"): STRICTER,
    (ALONE, "another id"): STRICTER,
    (ALONE, "another's handle"): STRICTER,
    (ALONE, "no handle"): STRICTER,
    # A sign of a copy, and no proof of one (7.2, step 22; 6.1.1): it is recorded, and accepted.
    (SECOND_FACTOR, "a counter that went back"): LAXER,
    (ALONE, "a counter that went back"): LAXER,
}


def verified(verify, **asked):
    """The verdict of py_webauthn, or `None` if it refused."""
    try:
        return verify(expected_rp_id=RP_ID, expected_origin=ORIGINS, **asked)
    except WebAuthnException:
        return None


class Person:
    """A user, their authenticator, and the data that a service with py_webauthn would keep of its
    passkey."""

    def __init__(self, setting, name, authenticator):
        self.name, self.email, self.authenticator = name, email(name), authenticator
        # The request of one instance is answered to the other.
        self.instances = itertools.cycle([setting.a, setting.b, setting.b, setting.a])
        self.session = setting.a.signin(self.email)
        self.public_key, self.counter = None, 0

    def post(self, path, body=None, headers=()):
        headers = {"Content-Type": "application/json", **dict(headers)}
        body = json.dumps(body).encode() if body else b""
        return next(self.instances).http("POST", f"/api/v2/{path}", headers, body)

    def enrol(self, case, authenticator):
        """The server's answer, and the verdict of py_webauthn."""
        own = bearer(self.session.access)
        asked = self.post("me/passkeys/options", headers=own).json()
        options = asked["publicKey"]
        made = case.answer(authenticator.create, options)
        found = verified(
            verify_registration_response,
            credential=made,
            expected_challenge=websafe_decode(options["challenge"]),
            supported_pub_key_algs=[
                COSEAlgorithmIdentifier(it["alg"]) for it in options["pubKeyCredParams"]
            ],
        )
        body = {"token": asked["token"], "name": case.name, "credential": made}
        return self.post("me/passkeys", body, own), found

    def enrol_another(self, case):
        return self.enrol(case, self.authenticator.another())

    def confirm(self, case):
        asked = self.post("signin", {"email": self.email, "password": PASSWORD}).json()
        return self.use(case, asked["2faDetails"], "2fa/confirm", False)

    def signin_alone(self, case):
        return self.use(case, self.post("passkey/options").json(), "passkey/signin", True)

    def use(self, case, asked, path, is_alone):
        options = asked["publicKey"]
        made = case.answer(self.authenticator.get, options)
        found = verified(
            verify_authentication_response,
            credential=made,
            expected_challenge=websafe_decode(options["challenge"]),
            credential_public_key=self.public_key,
            credential_current_sign_count=self.counter,
            require_user_verification=is_alone,
        )
        if found:
            self.counter = max(self.counter, found.new_sign_count)
        return self.post(path, {"token": asked["token"], "credential": made}), found


def email(name):
    return f"{name}@bar.com"


def import_people(setting):
    """A user for each authenticator, with a password alone."""
    password = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    users = [
        {"email": email(name), "passwordHash": password, "twoFactor": "off"}
        for name in AUTHENTICATORS
    ]
    setting.cli("user", "import", "-", stdin="\n".join(map(json.dumps, users)))


def whole_way(c, person, kind):
    """Enrols a passkey, and signs in with it after the password and, where it may, alone."""
    is_verified = bool(person.authenticator.flags & FLAG.UV)
    answer, found = person.enrol(USUAL, person.authenticator)
    c.equal(f"{person.name}: enrolled", (answer.status, bool(found)), (201, True))
    person.public_key, person.counter = found.credential_public_key, found.sign_count
    told = {name: answer.json()[name] for name in ("synced", "alone")}
    c.equal(f"{person.name}: enrolled as", told, {"synced": kind == "swk", "alone": is_verified})
    ways = {person.confirm: ["pwd", kind, "user", "mfa"]}
    if is_verified:
        ways[person.signin_alone] = [kind, "user", "mfa"]
    for way, methods in ways.items():
        answer, found = way(USUAL)
        c.check(f"{person.name}: {methods}, verified", found)
        access = Pair.of(answer).access
        c.equal(f"{person.name}: amr", part(access, 1)["amr"], methods)
        for instance in (c.setting.a, c.setting.b):
            session = instance.session(access).json()["session"]
            c.equal(f"{person.name}: amr, {instance.name}", session["amr"], methods)


def judge(c, person):
    """Sends every case to both: {(ceremony, case): verdicts}, and the refusals of each ceremony."""
    verdicts, refusals = {}, {ceremony: set() for ceremony in CASES}
    can_alone = person.authenticator.flags & FLAG.UV
    for ceremony, send in {
        ENROLMENT: person.enrol_another,
        SECOND_FACTOR: person.confirm,
        ALONE: person.signin_alone,
    }.items():
        cases = CASES[ceremony] if can_alone or ceremony != ALONE else [UNVERIFIED]
        for case in cases:
            if not case.suits(person.authenticator):
                continue
            answer, found = send(case)
            is_good = answer.status == (201 if ceremony == ENROLMENT else 200)
            c.equal(f"{person.name}: {ceremony}, {case.name}", is_good, case.is_good)
            said = tuple("good" if it else "refused" for it in (is_good, found))
            verdicts[ceremony, case.name] = said
            if not is_good:
                number = answer.json()["requestId"].encode()
                refusals[ceremony].add((answer.status, answer.body.replace(number, b"")))
    return verdicts, refusals


def compare_refusals(c, refusals):
    """Nobody learns from an answer why a passkey was refused."""
    for ceremony, wanted in {
        ENROLMENT: (422, "invalid_request", ["credential"]),
        SECOND_FACTOR: (401, "invalid_two_factor", []),
        ALONE: (401, "invalid_passkey", []),
    }.items():
        c.equal(f"{ceremony}: refusals that differ", len(refusals[ceremony]), 1)
        for status, body in refusals[ceremony]:
            problem = json.loads(body)
            fields = [error["field"] for error in problem.get("errors", [])]
            c.equal(f"{ceremony}: the refusal", (status, problem["code"], fields), wanted)


def print_table(judged):
    """[{(ceremony, case): verdicts}], a line for each case and verdict."""
    lines = {}
    for (ceremony, case), said in itertools.chain(*(it.items() for it in judged)):
        lines.setdefault((case, said), []).append(ceremony)
    print(f"  {'case':41}{'server':9}{'py_webauthn':13}asked")
    for (case, said), ceremonies in sorted(lines.items(), key=lambda line: line[0][1]):
        times = ", ".join(f"{it} {ceremonies.count(it)}" for it in CASES if it in ceremonies)
        print(f"  {case:41}{said[0]:9}{said[1]:13}{times}")


def passkeys(c):
    """Other people's authenticators enrol and sign in, and other people's verifier agrees with the instances
    on valid data, with the listed exceptions."""
    import_people(c.setting)
    judged, refusals = [], {ceremony: set() for ceremony in CASES}
    for name, (make, kind) in AUTHENTICATORS.items():
        person = Person(c.setting, name, make())
        whole_way(c, person, kind)
        verdicts, refused = judge(c, person)
        judged.append(verdicts)
        for ceremony, answers in refused.items():
            refusals[ceremony] |= answers
    print_table(judged)
    differ = {case: said for it in judged for case, said in it.items() if said[0] != said[1]}
    for case in differ.keys() | DIFFERENCES.keys():
        c.equal(f"py_webauthn, {case}", differ.get(case), DIFFERENCES.get(case))
    compare_refusals(c, refusals)
