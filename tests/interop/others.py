"""Other people's verifiers, each with the lines that docs/verifying-tokens.md prints, and without.

The documents of a verifier leave out the lines that end in `needed`. The files are run unchanged, when
nothing may be wrong, and without those lines, which gives the table in the document.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setting import HERE, Http, bearer, free_port, wait_for

NEEDED = re.compile(r"^ *# needed:\n.*\n|^.*(?:#|//) needed\n", re.MULTILINE)

# The seconds since a shown token expired, and the leeway that follows if it is the oldest that is accepted.
EXPIRED = {3: "3 s", 15: "30 s", 45: "60 s", 250: "5 minutes", 850: "15 minutes", 2000: "no end"}
TAKES = {
    "an older refresh token": "refresh tokens under a key of the set",
    "another audience": "another audience",
    "another issuer": "another issuer",
    "a refresh token": "refresh tokens",
}
AHEAD = "a clock ahead of ours"
REFUSES = {"good": "every token", AHEAD: "an `iat` ahead of its clock"}
GOOD = ["good", AHEAD, "the key before", "an ended session"]
# No line of its settings helps: it has one leeway for `iat` and `exp`.
HELPLESS = {("simplejwt.py", AHEAD)}


def without_needed(text):
    return NEEDED.sub("", text)


# The file, and the packages whose lines it has.
LIBRARIES = {
    "jose.mjs": ["jose"],
    "oauth4webapi.mjs": ["oauth4webapi"],
    "express-jwt.mjs": ["express-jwt", "jwks-rsa"],
    "fastify.mjs": ["@fastify/jwt", "get-jwks"],
    "hono.mjs": ["hono"],
    "aws-jwt-verify.mjs": ["aws-jwt-verify"],
    "pyjwt.py": ["PyJWT"],
    "authlib.py": ["Authlib"],
    "joserfc.py": ["joserfc"],
    "python-jose.py": ["python-jose"],
    "simplejwt.py": ["djangorestframework-simplejwt"],
    "ruby-jwt.rb": ["ruby-jwt"],
}


def indented(text, around, word):
    spaces = " " * len(around.split(word)[0].splitlines()[-1])
    return around.replace(word, text.replace("\n", f"\n{spaces}"))


def envoy(setting, edit):
    """jwt_authn, which reads the key set itself."""
    port = free_port()
    lines = edit((HERE / "proxies" / "envoy-jwt.yaml").read_text())
    around = indented(lines, (HERE / "proxies" / "envoy-around.yaml").read_text(), "EXT_AUTHZ")
    text = around.replace("https://auth.example.com/", "http://auth/")
    text = text.replace("https://auth.example.com", setting.issuer)
    file = setting.fresh_folder("envoy-jwt") / "envoy.yaml"
    file.write_text(setting.fill_in(text, port))
    argv = [setting.tools / "envoy", "-c", file, "--concurrency", "1", "--disable-hot-restart"]
    return port, [*argv, "--log-level", "warning"]


def haproxy(setting, edit):
    """A file per key, and a line for each."""
    port, folder = free_port(), setting.fresh_folder("haproxy")
    lines = edit((HERE / "proxies" / "haproxy.cfg").read_text())
    lines = lines.replace("https://auth.example.com", setting.issuer)
    signed = next(line for line in lines.splitlines() if line.startswith("acl signed"))
    keys = setting.a.http("GET", "/.well-known/jwks.json").json()["keys"]
    acls = []
    for kid in (key["kid"] for key in keys):
        pem = setting.a.http("GET", f"/.well-known/jwks/{kid}.pem")
        (folder / f"{kid}.pem").write_bytes(pem.body)
        acls.append(signed.replace("/etc/haproxy/keys/KID.pem", str(folder / f"{kid}.pem")))
    (folder / "haproxy.cfg").write_text(f"""
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
frontend app
  bind 127.0.0.1:{port}
  {lines.replace(signed, chr(10).join(acls))}
  default_backend app
backend app
  server app 127.0.0.1:{setting.app.port}
""")
    return port, ["haproxy", "-f", folder / "haproxy.cfg"]


def apache(setting, edit):
    """mod_auth_openidc as a resource server."""
    port, folder = free_port(), setting.fresh_folder("apache")
    lines = edit((HERE / "proxies" / "apache.conf").read_text())
    lines = lines.replace("https://auth.example.com", setting.issuer)
    modules = "mpm_event authn_core authz_core authz_user auth_openidc proxy proxy_http".split()
    load = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules
    )
    (folder / "apache.conf").write_text(f"""
ServerRoot {folder}
ServerName localhost
PidFile {folder}/pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
{load}
{"User nobody" if os.geteuid() == 0 else ""}
{"Group nogroup" if os.geteuid() == 0 else ""}
DefaultRuntimeDir {folder}
Mutex pthread
OIDCCABundlePath {setting.certificate}
{lines}
ProxyPass / http://127.0.0.1:{setting.app.port}/
""")
    return port, ["apache2", "-X", "-f", folder / "apache.conf"]


PROXIES = {
    "envoy-jwt.yaml": ("Envoy `jwt_authn`", envoy),
    "haproxy.cfg": ("HAProxy", haproxy),
    "apache.conf": ("mod_auth_openidc", apache),
}


class Judges:
    """Every verifier, started with the files as `edits` make them, and so without keys of before."""

    def __init__(self, setting, **edits):
        self.setting, self.edits = setting, edits
        self.programs = [self.start_program(*language) for language in self.write().items()]
        self.proxies = {
            (name, file): self.start_proxy(file, edit)
            for name, edit in edits.items()
            for file in PROXIES
        }

    def write(self):
        """{the end of the names: the files of this language}."""
        # Node looks for packages beside the file that wants them.
        folder = Path(tempfile.mkdtemp(dir=self.setting.tools.parent / "node"))
        shutil.copy(HERE / "libraries" / "judge.mjs", folder)
        by_language = {}
        for (name, edit), file in itertools.product(self.edits.items(), LIBRARIES):
            path = folder / name / file
            path.parent.mkdir(exist_ok=True)
            text = edit((HERE / "libraries" / file).read_text())
            path.write_text(text.replace("https://auth.example.com", self.setting.issuer))
            by_language.setdefault(path.suffix, []).append(path)
        return by_language

    def start_program(self, suffix, files):
        argv = {
            ".mjs": ["node", files[0].parent.parent / "judge.mjs"],
            ".py": [self.setting.tools / "python", "-P", HERE / "libraries" / "judge.py"],
            ".rb": ["ruby", HERE / "libraries" / "judge.rb"],
        }[suffix]
        trust = dict.fromkeys(
            ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(self.setting.certificate)
        )
        return self.setting.processes.start(
            f"judge{suffix}",
            [*argv, *files],
            env={**os.environ, **trust},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start_proxy(self, file, edit):
        port, argv = PROXIES[file][1](self.setting, edit)
        return Http(port), self.setting.processes.start(file, argv)

    def wait(self):
        for (_, file), (http, _) in self.proxies.items():
            wait_for(file, lambda: self.setting.answers(http, "/"))

    def ask(self, tokens):
        """[{file: {case: verdict}}], one for each edit; they end with it."""
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(self.ask_program, program, tokens) for program in self.programs]
            for (name, file), (http, process) in self.proxies.items():
                asked.append(pool.submit(self.ask_proxy, name, file, http, process, tokens))
        verdicts = {name: {} for name in self.edits}
        for name, file, said in itertools.chain(*(job.result() for job in asked)):
            verdicts[name][file] = said
        return list(verdicts.values())

    def ask_program(self, program, tokens):
        answer, _ = program.communicate(json.dumps(tokens), timeout=60)
        assert self.setting.processes.stop(program) == 0, f"{program.name} failed"
        return [
            (Path(it).parent.name, Path(it).name, said) for it, said in json.loads(answer).items()
        ]

    def ask_proxy(self, name, file, http, process, tokens):
        statuses = {case: http("GET", "/", bearer(it)).status for case, it in tokens.items()}
        self.setting.processes.stop(process)
        said = {case: "good" if it == 200 else f"status {it}" for case, it in statuses.items()}
        return [(name, file, said)]


def wrong(file, said):
    """The cases in which a verifier's verdicts, with the lines, are not as they should be."""

    def is_right(case, verdict):
        if (file, case) in HELPLESS:
            return verdict != "good"  # or the document has to change
        # A token that is not good is no fault of the server's, so 5xx is no way to refuse it.
        return verdict == "good" if case in GOOD else not re.match("good|status 5", verdict)

    return {case: verdict for case, verdict in said.items() if not is_right(case, verdict)}


def cells(without, with_lines):
    """The cells of a verifier in the table: its wrong verdicts without the lines, and its leeway."""
    said = without if without["good"] == "good" else with_lines
    refuses = next((text for case, text in REFUSES.items() if without[case] != "good"), "")
    takes = [text for case, text in TAKES.items() if without[case] == "good"]
    taken = [text for ago, text in EXPIRED.items() if said[f"expired for {ago} s"] == "good"]
    return [refuses, ", ".join(takes), taken[-1] if taken else "none"]


def name(file, pinned):
    """A verifier as the table names it: with its version if that is pinned here."""
    if file in PROXIES:
        return PROXIES[file][0]
    return ", ".join(f"{it} {pinned.get(it, '')}".strip() for it in LIBRARIES[file])


def table(with_lines, without, pinned):
    """The rows of the table in the document, without the versions of tools that are not pinned."""
    rows = {file: [name(file, pinned), *cells(without[file], with_lines[file])] for file in without}
    return {
        file: "|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|"
        for file, row in rows.items()
    }
