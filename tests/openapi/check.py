"""Whether other people's tools understand the description: linters read it, generators make clients of it that run,
real answers fit it, and schemathesis asks the server for everything in it, and for things that are not."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))
from administration import Administration, enrol  # noqa: E402
from authenticator import ES256, Authenticator  # noqa: E402
from openapi_schema_validator import OAS31Validator  # noqa: E402
from setting import (  # noqa: E402
    CLIENT, PASSWORD, SECRET, Instance, Pair, Processes, bearer, wait_for,
)

DESCRIPTION = ROOT / "docs" / "openapi.json"
ENDING_USER = "ends@bar.com"
CHANGING_USER = "changes@bar.com"
ENROLLING_USER = "enrols@bar.com"
PASSKEY_USER = "passkey@bar.com"
MANAGED_USER = "plain@bar.com"
LOCKED_USER = "locked@bar.com"
# Administrators without a second factor so far. That of `dev` has an authenticator app.
DESK, DEPUTY = "desk@bar.com", "deputy@bar.com"
ADMINISTRATOR_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
# On whom schemathesis acts.
MANAGED_IDS = range(5000, 5020)
# Where the page would be that mailed links open, and that asks for passkeys.
PAGE = "http://localhost:8081"
# Of a user who came with this number from an older service.
LEGACY_ID = 4711
MANAGED = {MANAGED_USER: 4712, LOCKED_USER: 4713}

MANY = "1000000"
# Thousands of requests from one address, as one user: limits must not end the run. Hashes are
# cheap, since a debug build would otherwise spend the time on them.
RAISED = {
    **{
        f"BACKOFFICE_AUTH__LIMITS__{name}": MANY
        for name in [
            "SIGNIN__ATTEMPTS",
            "ACCOUNT__ATTEMPTS",
            "ADMINISTRATION__ATTEMPTS",
            "CONFIRM__ATTEMPTS",
            "FORGOT__ATTEMPTS",
            "FORGOT_NETWORK_PER_MINUTE",
            "REFRESH__ATTEMPTS",
            "SIGNIN_NETWORK_PER_MINUTE",
            "SIGNIN_ACCOUNT_FAILURES_PER_HOUR",
            "CONFIRM_FAILURES_PER_ACCOUNT",
            "FLOOD_BURST",
            "FLOOD_PER_SECOND",
        ]
    },
    "BACKOFFICE_AUTH__TOKENS__LEGACY_TTL_SECONDS": "3600",
    "BACKOFFICE_AUTH__LINKS__PASSWORD_URL": f"{PAGE}/",
    "BACKOFFICE_AUTH__PASSKEYS__RP_ID": "localhost",
    "BACKOFFICE_AUTH__PASSKEYS__ORIGINS": PAGE,
    "BACKOFFICE_AUTH__PASSWORDS__MEMORY_KIB": "64",
    "BACKOFFICE_AUTH__PASSWORDS__ITERATIONS": "1",
    "BACKOFFICE_AUTH__INTROSPECTION__CLIENTS": f"{CLIENT}:{hashlib.sha256(SECRET.encode()).hexdigest()}",
}

# Settings of a second instance on the same database, for the refusals that the first one never gives.
STRICT = {
    **RAISED,
    "BACKOFFICE_AUTH__ADMINISTRATION__REQUIRES_MFA": "false",
    "BACKOFFICE_AUTH__LIMITS__ADMINISTRATION__ATTEMPTS": "1",
    "BACKOFFICE_AUTH__LIMITS__CONFIRM_FAILURES_PER_ACCOUNT": "2",
    "BACKOFFICE_AUTH__LIMITS__SIGNIN__ATTEMPTS": "1",
    "BACKOFFICE_AUTH__LINKS__PASSWORD_URL": "",
}


class Checks:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.processes = Processes(self.folder)
        self.instance = Instance("dev")
        self.strict = self.administrator = None

    def tool(self, *argv, **options):
        subprocess.run([str(part) for part in argv], check=True, **options)

    def node(self, name):
        return self.folder / "client" / "node_modules" / ".bin" / name

    def linters(self):
        self.tool(self.options.tools / "openapi-spec-validator", DESCRIPTION)
        quiet = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
        self.tool(self.node("redocly"), "lint", DESCRIPTION, env=quiet, cwd=self.folder)

    def generated_client(self):
        client = self.folder / "client"
        self.tool(self.node("openapi-typescript"), DESCRIPTION, "-o", client / "schema.d.ts")
        self.tool(self.node("tsc"), "-p", client)
        said = (self.folder / "dev.log").read_text()
        mailbox = re.search(r"^  mailbox +(http\S+)$", said, re.MULTILINE).group(1)
        code = totp(ADMINISTRATOR_SECRET)
        self.tool("node", client / "built" / "client.js", self.instance.url, mailbox, code, timeout=60)

    def generated_python_client(self):
        client = self.folder / "client"
        argv = ["openapi-python-client", "generate", "--path", DESCRIPTION, "--output-path", client / "auth_client"]
        argv += ["--config", HERE / "python-client.json", "--meta", "none", "--fail-on-warning"]
        self.tool(self.options.tools / argv[0], *argv[1:])
        argv = ["mypy", "--strict", "--follow-imports=silent", "--cache-dir=/dev/null", "client.py"]
        self.tool(self.options.tools / argv[0], *argv[1:], cwd=client)
        # A code is taken once: this is the next one, which is taken early.
        code = totp(ADMINISTRATOR_SECRET, ahead=1)
        argv = [self.options.tools / "python", "client.py", self.instance.url, code]
        self.tool(*argv, cwd=client, timeout=60)

    def real_answers(self):
        """Every route, with real tokens of every kind: exactly what the description says comes back."""
        description = json.loads(DESCRIPTION.read_text())
        validator = OAS31Validator(description)
        instance, seen = self.instance, set()

        def check(operation, answer):
            path, method = operation
            described = description["paths"][path][method]["responses"].get(str(answer.status))
            assert described is not None, f"{operation}: {answer.status} {answer.body[:300]}"
            seen.add(operation)
            if "$ref" in described:
                described = description["components"]["responses"][described["$ref"].split("/")[-1]]
            media = answer.headers.get("Content-Type", "").split(";")[0]
            content = described.get("content", {})
            assert bool(content) == bool(answer.body), f"{operation}: {answer.body[:300]}"
            if content and "json" in media:
                schema = {**content[media]["schema"]}
                errors = list(validator.evolve(schema=schema).iter_errors(answer.json()))
                assert not errors, f"{operation}: {errors[0].message}: {answer.body[:300]}"
            return answer

        def ask(method, path, headers=(), body=None, operation=None, at=instance):
            answer = at.http(method.upper(), path, headers, body)
            return check((operation or path, method), answer)

        def post(path, body):
            return check((path, "post"), instance.post(path, body))

        credentials = {"email": "ops@bar.com", "password": PASSWORD}
        with_code = {"email": "foo@bar.com", "password": PASSWORD}
        known = self.said().count("The code is")
        challenge = post("/api/v2/signin", with_code).json()["2faDetails"]["token"]
        post("/api/v2/2fa/confirm", {"token": challenge, "code": "000000"})
        post("/api/v2/2fa/confirm", {"token": challenge, "code": 1})
        codes = lambda: re.findall(r"The code is (\d{6})", self.said())  # noqa: E731
        wait_for("the code", lambda: len(codes()) > known)
        code = codes()[-1]
        confirmed = Pair.of(post("/api/v2/2fa/confirm", {"token": challenge, "code": code}))
        for body in [credentials, {**credentials, "password": "wrong"}, {"email": "nobody"}]:
            post("/api/v2/signin", body)
        pair = instance.refresh(instance.signin())
        for token in [pair.refresh, pair.access, "x"]:
            post("/api/v2/refresh", {"refreshToken": token})
        over = instance.signin()
        for _ in range(2):
            ask("post", "/api/v2/signout", bearer(over.access))
        kinds = {"access": pair.access, "refresh": pair.refresh, "over": over.access, "garbage": "x"}
        kinds["legacy"] = self.legacy_token()
        active = {}
        for kind, token in kinds.items():
            answer = check(("/oauth2/introspect", "post"), instance.introspect(token))
            active[kind] = answer.json()["active"]
            for path in ["/api/v2/me", "/api/v2/session", "/api/v2/sessions"]:
                ask("get", path, bearer(token))
        expected = {"access": True, "refresh": False, "over": False, "garbage": False, "legacy": True}
        assert active == expected, active
        check(("/oauth2/introspect", "post"), instance.introspect(pair.access, secret="wrong"))
        check(("/api/v2/revocations", "get"), instance.feed())
        check(("/api/v2/revocations", "get"), instance.feed(secret="wrong"))
        other = "/api/v2/sessions/{id}"
        for session in [confirmed.session, pair.session, pair.session]:
            path = f"/api/v2/sessions/{session}"
            ask("delete", path, bearer(pair.access), operation=other)
        for others in ["true", "false"]:
            path = f"/api/v2/sessions?others={others}"
            ask("delete", path, bearer(pair.access), operation="/api/v2/sessions")
        ask("delete", "/api/v2/sessions", bearer(instance.signin().access))
        post("/api/v2/password/forgot", {"email": "nobody@bar.com"})
        for path in ["/api/v2/password/link", "/api/v2/password/set"]:
            post(path, {"token": "x", "newPassword": "violet-anvil-67"})
        own = bearer(instance.signin(CHANGING_USER).access)
        for current, new in [(PASSWORD, "short"), ("wrong", "violet-anvil-67"), (PASSWORD, "violet-anvil-67")]:
            body = json.dumps({"currentPassword": current, "newPassword": new}).encode()
            ask("post", "/api/v2/me/password", own, body)
        own = bearer(instance.signin(ENROLLING_USER).access)
        app = ask("post", "/api/v2/me/totp", own).json()
        for code in ["000000", 1, totp(app["secret"])]:
            body = json.dumps({"id": app["id"], "code": code}).encode()
            ask("post", "/api/v2/me/totp/confirm", own, body)
        ask("get", "/api/v2/me", own)
        ask("post", "/api/v2/me/recovery-codes", own)
        with_app = {"email": ENROLLING_USER, "password": PASSWORD}
        challenge = post("/api/v2/signin", with_app).json()["2faDetails"]
        assert challenge["provider"] == "totp", challenge
        for _ in range(2):
            ask("delete", "/api/v2/me/totp", own)
        self.passkeys(ask, post)
        self.administration(ask)
        for method in {"get", "post", "put", "delete"} & description["paths"]["/auth/verify"].keys():
            ask(method, "/auth/verify", bearer(instance.signin().access))
            ask(method, "/auth/verify")
        for path, operations in description["paths"].items():
            if "get" in operations and (path, "get") not in seen:
                ask("get", path)
        every = {(path, method) for path, operations in description["paths"].items()
                 for method in operations if method in {"get", "post", "put", "delete"}}
        assert seen == every, f"never asked: {every - seen}"

    def administration(self, ask):
        self.start_strict()
        for address in [DESK, DEPUTY]:
            self.command("user", "administrator", address, "on")
        users = {address: str(number) for address, number in MANAGED.items()}
        administration = Administration(
            ask, self.instance, self.strict, users, lambda address: enrol(self.instance, address, totp)
        )
        self.administrator = administration.run(self.instance.signin().access, DESK, DEPUTY)
        self.processes.stop(self.strict.process)

    def passkeys(self, ask, post):
        """Enrols a passkey, signs in with it after the password and alone, and removes it. Each time one that
        does not verify is sent before it."""
        key, stranger = Authenticator(ES256, PAGE), Authenticator(ES256, "https://elsewhere.example")
        own = bearer(self.instance.signin(PASSKEY_USER).access)

        def statuses(wanted, answers):
            found = [answer.status for answer in answers]
            assert found == wanted, f"{found} instead of {wanted}"

        def add(asked, credential):
            body = {"token": asked["token"], "name": "Phone", "credential": credential}
            return ask("post", "/api/v2/me/passkeys", own, json.dumps(body).encode())

        def use(path, asked):
            stranger.credential_id, stranger.user_handle = key.credential_id, key.user_handle
            answers = []
            for it in [stranger, key]:
                body = {"token": asked["token"], "credential": it.get(asked["publicKey"])}
                answers.append(post(path, body))
            statuses([401, 200], answers)

        asked = ask("post", "/api/v2/me/passkeys/options", own).json()
        made = key.create(asked["publicKey"])
        answers = [add(asked, it) for it in [stranger.create(asked["publicKey"]), made, made]]
        statuses([422, 201, 409], answers)
        added = answers[1].json()
        details = post("/api/v2/signin", {"email": PASSKEY_USER, "password": PASSWORD}).json()["2faDetails"]
        assert details["provider"] == "passkey", details
        use("/api/v2/2fa/confirm", details)
        use("/api/v2/passkey/signin", post("/api/v2/passkey/options", {}).json())
        for _ in range(9):
            statuses([201], [add(asked, key.another().create(asked["publicKey"]))])
        one_more = key.another().create(asked["publicKey"])
        statuses([409, 409], [ask("post", "/api/v2/me/passkeys/options", own), add(asked, one_more)])
        mine = ask("get", "/api/v2/me", own).json()["passkeys"]
        assert len(mine) == 10 and mine[0]["lastUsedAt"], mine
        path = f"/api/v2/me/passkeys/{added['id']}"
        removals = [ask("delete", path, own, operation="/api/v2/me/passkeys/{id}") for _ in range(2)]
        statuses([204, 404], removals)

    def legacy_token(self):
        """An access token of an older service, whose public key is imported for it."""
        key = self.folder / "legacy.pem"
        public = self.folder / "legacy.pub.pem"
        self.tool("openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        self.tool("openssl", "pkey", "-in", key, "-pubout", "-out", public)
        self.command("key", "import", public)
        now = int(time.time())
        claims = {"sub": str(LEGACY_ID), "iss": self.instance.url, "iat": now, "exp": now + 600}
        encode = lambda part: base64.urlsafe_b64encode(part).rstrip(b"=")  # noqa: E731
        signed = b".".join(encode(json.dumps(part).encode()) for part in [{"alg": "RS256"}, claims])
        argv = ["openssl", "dgst", "-sha256", "-sign", key]
        signature = subprocess.run(argv, input=signed, capture_output=True, check=True).stdout
        token = (signed + b"." + encode(signature)).decode()
        wait_for("the key", lambda: self.instance.introspect(token).json()["active"])
        return token

    def said(self):
        return (self.folder / "dev.log").read_text()

    def command(self, *arguments, **options):
        config = self.folder / "dev" / ".dev" / "config.toml"
        environment = {"PATH": os.environ["PATH"], **RAISED}
        argv = [self.options.bin / "backoffice-auth", "--config", config, *arguments]
        self.tool(*argv, env=environment, stdout=subprocess.DEVNULL, **options)

    def schemathesis(self):
        own = self.instance.signin().access
        environment = {
            **os.environ,
            "ACCESS_TOKEN": own,
            "ADMINISTRATOR_TOKEN": self.administrator["Authorization"].split()[1],
            "MANAGED_USERS": ",".join(map(str, MANAGED_IDS)),
            "SERVICE": CLIENT,
            "SERVICE_SECRET": SECRET,
            "SERVER": self.instance.url,
            "ENDING_USER": ENDING_USER,
            "PASSWORD": PASSWORD,
            "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        }
        argv = [
            self.options.tools / "schemathesis",
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            DESCRIPTION,
            f"--url={self.instance.url}",
            "--phases=examples,coverage,fuzzing",
            "--mode=all",
            f"--max-time={self.options.seconds}",
            "--continue-on-failure",
            "--warnings=off",
            "--generation-database=none",
            # The same cases each time: a failure by chance does not tell which change caused it.
            "--seed=1",
            "--no-color",
        ]
        self.tool(*argv, cwd=self.folder, env=environment)
        # A 401 fits each of those operations, so it would not be seen that nothing else came back.
        assert self.instance.session(own).status == 200, "its session was ended on the way"
        answer = self.instance.http("GET", "/api/v2/admin/users", self.administrator)
        assert answer.status == 200, f"its administrator is refused: {answer.body[:300]}"

    def healthy(self):
        """After all that, nothing has gone wrong on our side."""
        log = (self.folder / "dev.log").read_text()
        errors = [line for line in log.splitlines() if " ERROR " in line]
        assert not errors, errors[:5]
        assert self.instance.is_ready(), "it is no longer ready"

    def start_strict(self):
        # Only now: a free port does not stay free for long.
        self.strict = Instance("strict")
        environment = {"PATH": os.environ["PATH"], **self.strict.environment(), **STRICT}
        config = self.folder / "dev" / ".dev" / "config.toml"
        argv = [self.options.bin / "backoffice-auth", "--config", config, "serve"]
        self.strict.process = self.processes.start("strict", argv, env=environment)
        wait_for("the strict instance", self.strict.is_ready)

    def start(self):
        environment = {"PATH": os.environ["PATH"], **self.instance.environment(), **RAISED}
        program = self.options.bin / "backoffice-auth"
        state = self.folder / "dev"
        state.mkdir()
        self.instance.process = self.processes.start(
            "dev", [program, "dev"], cwd=state, env=environment
        )
        wait_for("the server", self.instance.is_ready, 60)
        wait_for("the welcome", lambda: "  mailbox" in (self.folder / "dev.log").read_text())
        users = [
            {"email": ENDING_USER, "passwordHash": HASH, "twoFactor": "off"},
            {"email": CHANGING_USER, "passwordHash": HASH, "twoFactor": "off"},
            {"email": ENROLLING_USER, "passwordHash": HASH, "twoFactor": "off"},
            {"email": PASSKEY_USER, "passwordHash": HASH, "twoFactor": "off"},
            {"email": DESK, "passwordHash": HASH, "twoFactor": "off"},
            {"email": DEPUTY, "passwordHash": HASH, "twoFactor": "off"},
            {"id": LEGACY_ID, "email": "older@bar.com", "passwordHash": HASH, "twoFactor": "off"},
            {"id": MANAGED[MANAGED_USER], "email": MANAGED_USER, "passwordHash": HASH, "twoFactor": "off"},
            {"id": MANAGED[LOCKED_USER], "email": LOCKED_USER, "passwordHash": HASH, "twoFactor": "email"},
            *({"id": number, "email": f"a{number}@bar.com", "passwordHash": HASH} for number in MANAGED_IDS),
        ]
        self.command("user", "import", "-", input="\n".join(map(json.dumps, users)).encode())


def totp(secret, ahead=0):
    """The current code of an app (RFC 6238), or one some steps ahead: six digits of HMAC-SHA-1, a step of thirty
    seconds."""
    step = (int(time.time()) // 30 + ahead).to_bytes(8, "big")
    digest = hmac.digest(base64.b32decode(secret), step, "sha1")
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset:offset + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


# Of that password, under the parameters above.
HASH = "$argon2id$v=19$m=64,t=1,p=1$1LB2QGk3CXBEsdx8OztntA$Ni2cI9GbDv7Rj7KDfikqvu0w/SIpL5GBWaa/Cxbp6ZY"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=75, help="of schemathesis")
    options = parser.parse_args()

    def give_up(number, _):
        raise SystemExit(f"tests/openapi: ended by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(240 + 2 * options.seconds)

    checks = Checks(options)
    started = time.monotonic()
    failed = False
    try:
        checks.start()
        for step in [
            checks.linters,
            checks.generated_client,
            checks.generated_python_client,
            checks.real_answers,
            checks.schemathesis,
            checks.healthy,
        ]:
            print(f"-- {step.__name__.replace('_', ' ')}", flush=True)
            step()
    except BaseException:
        traceback.print_exc()
        failed = True
        for log in sorted(checks.folder.glob("*.log")):
            print(f"\n--- the end of {log.name}\n{checks.processes.log(log.stem)[-3000:]}")
    finally:
        checks.processes.stop_all()
        shutil.rmtree(options.folder, ignore_errors=True)
    print(f"\n{'failed' if failed else 'passed'} in {time.monotonic() - started:.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
