"""Other people's verifiers, each with the lines that docs/verifying-tokens.md prints, and without.

A line that ends in `needed` is what a verifier's own documents leave out. The files are shown tokens as they
are, when nothing may be wrong, and without those lines, which makes the table in the document.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from setting import HERE, Http, bearer, free_port, wait_for

NEEDED = re.compile(r"^ *# needed:\n.*\n|^.*(?:#|//) needed\n", re.MULTILINE)

# How long ago a token expired that is shown, and what it tells of the leeway if it is the oldest taken.
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


def run_judge(setting, suffix, files, tokens):
    """What the libraries of one language say: {path: {case: verdict}}."""
    argv = {
        ".mjs": ["node", files[0].parent.parent / "judge.mjs"],
        ".py": [setting.tools / "python", "-P", HERE / "libraries" / "judge.py"],
        ".rb": ["ruby", HERE / "libraries" / "judge.rb"],
    }[suffix]
    trust = {name: str(setting.certificate) for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")}
    done = subprocess.run(
        [str(part) for part in [*argv, *files]],
        env={**os.environ, **trust},
        input=json.dumps(tokens),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{suffix}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


def judge_libraries(setting, tokens, edits):
    """{edit: {file: {case: verdict}}}, of a program per language, all at once."""
    # Node looks for packages beside the file that wants them.
    folder = Path(tempfile.mkdtemp(dir=setting.tools.parent / "node"))
    shutil.copy(HERE / "libraries" / "judge.mjs", folder)
    by_language = {}
    for (name, edit), file in itertools.product(edits.items(), LIBRARIES):
        path = folder / name / file
        path.parent.mkdir(exist_ok=True)
        text = edit((HERE / "libraries" / file).read_text())
        path.write_text(text.replace("https://auth.example.com", setting.issuer))
        by_language.setdefault(path.suffix, []).append(path)
    verdicts = {name: {} for name in edits}
    with ThreadPoolExecutor() as pool:
        for said in pool.map(
            lambda language: run_judge(setting, *language, tokens), by_language.items()
        ):
            for path, cases in said.items():
                verdicts[Path(path).parent.name][Path(path).name] = cases
    return verdicts


@contextmanager
def serving(setting, name, argv, port, **options):
    process = setting.processes.start(name, argv, **options)
    http = Http(port)
    try:
        wait_for(name, lambda: setting.answers(http, "/"), 10)
        yield http
    finally:
        setting.processes.stop(process)


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
    return serving(setting, "envoy-jwt", [*argv, "--log-level", "warning"], port)


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
    return serving(setting, "haproxy", ["haproxy", "-f", folder / "haproxy.cfg"], port)


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
    argv = ["apache2", "-X", "-f", folder / "apache.conf"]
    return serving(setting, "apache", argv, port)


PROXIES = {
    "envoy-jwt.yaml": ("Envoy `jwt_authn`", envoy),
    "haproxy.cfg": ("HAProxy", haproxy),
    "apache.conf": ("mod_auth_openidc", apache),
}


def judge_proxies(setting, tokens, edits):
    """The same of proxies, each started for it, so that none holds keys of before."""

    def run(edit, file):
        _, start = PROXIES[file]
        with start(setting, edit) as http:
            statuses = {case: http("GET", "/", bearer(it)).status for case, it in tokens.items()}
        return {case: "good" if it == 200 else f"status {it}" for case, it in statuses.items()}

    with ThreadPoolExecutor() as pool:
        running = {
            name: {file: pool.submit(run, edit, file) for file in PROXIES}
            for name, edit in edits.items()
        }
        return {
            name: {file: job.result() for file, job in jobs.items()}
            for name, jobs in running.items()
        }


def judge(setting, tokens, **edits):
    with ThreadPoolExecutor() as pool:
        parts = [pool.submit(it, setting, tokens, edits) for it in (judge_libraries, judge_proxies)]
        libraries, proxies = (part.result() for part in parts)
    return [libraries[name] | proxies[name] for name in edits]


def wrong(file, said):
    """The cases in which a verifier's verdicts, with the lines, are not as they should be."""

    def is_right(case, verdict):
        if (file, case) in HELPLESS:
            return verdict != "good"  # or the document has to change
        # A token that is not good is no fault of the server's, so 5xx is no way to refuse it.
        return verdict == "good" if case in GOOD else not re.match("good|status 5", verdict)

    return {case: verdict for case, verdict in said.items() if not is_right(case, verdict)}


def cells(without, with_lines):
    """What the table says of a verifier: what it refuses and takes without the lines, and its leeway."""
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
    """The rows of the table in the document, without the versions of what is not pinned."""
    rows = {file: [name(file, pinned), *cells(without[file], with_lines[file])] for file in without}
    return {
        file: "|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|"
        for file, row in rows.items()
    }
