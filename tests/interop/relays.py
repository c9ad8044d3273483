"""Postfix (with Dovecot behind it) and Exim as the relay between an instance and the mailbox.

Neither is installed. Both run from the folder in which they were unpacked, as somebody who is not root.
Two libraries of the project cwrap (nss_wrapper, uid_wrapper) make them believe that there are their users,
and that they can become them.
"""

import email
import email.policy
import json
import os
import re
import shutil
import signal
import smtplib
import socketserver
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from certificate import make_certificate
from setting import HERE, Instance, Pair, bearer, free_port, wait_for

# The mail server's own names, and a password that only it knows.
ALICE, BOB, SENDER = (f"{name}@office.example" for name in ("alice", "bob", "no-reply"))
NOBODY = "nobody-has-this@office.example"
NAME, SECRET = "backoffice", "9f0b6cf1d1c04b0e"
PORTS = ["USUAL", "GREY", "SMALL", "SLOW", "SILENT", "SELF", "INSIDE"]
# A recipient is put off for this long, in seconds. In the world it is minutes.
GREYLISTED = 4
PASSWORD, NEW_PASSWORD = "amber-Kettle-41", "violet-Anvil-68"

# The headers that the server writes, in this order. They may be neither changed nor doubled.
OURS = {
    "From": r'(Back Office|"Back Office") <no-reply@office\.example>',
    "To": re.escape(ALICE),
    "Subject": r"\S.*",
    "Date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000",
    "Message-ID": r"<[a-p]{40}@office\.example>",
    "Auto-Submitted": "auto-generated",
    "MIME-Version": r"1\.0",
    "Content-Type": r"multipart/alternative;\s+boundary=\"?[a-p]{40}\"?",
}


class Greylist(socketserver.ThreadingTCPServer):
    """Postfix's policy protocol (SMTPD_POLICY_README): new senders have to come again."""

    daemon_threads = allow_reuse_address = True

    def __init__(self):
        self.first_seen = {}
        super().__init__(("127.0.0.1", 0), self.Conversation)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self):
            asked = {}
            for line in self.rfile:
                name, is_attribute, value = line.decode().rstrip("\n").partition("=")
                if is_attribute:
                    asked[name] = value
                    continue
                who = asked["client_address"], asked["sender"], asked["recipient"]
                since = self.server.first_seen.setdefault(who, time.monotonic())
                is_new = time.monotonic() - since < GREYLISTED
                answer = "450 4.2.0 Greylisted, come again" if is_new else "DUNNO"
                self.wfile.write(f"action={answer}\n\n".encode())


class Relay:
    """A relay with a port for each way to behave, and the mailboxes behind it."""

    def __init__(self, setting):
        self.setting, self.running = setting, []
        self.folder = setting.fresh_folder(self.name.lower())
        self.unpacked = setting.tools.parent / "relays"
        self.ports = {name: free_port() for name in PORTS}
        self.whom = ["nobody", "nogroup"] if os.geteuid() == 0 else []
        if not self.whom:
            self.whom = subprocess.check_output(["id", "-unr"], text=True).split()
            self.whom += subprocess.check_output(["id", "-gnr"], text=True).split()
        for name in ("alice", "bob"):
            (self.folder / "mail" / name).mkdir(parents=True)
        self.authority = (setting.certificate, setting.certificate_key)
        self.certificate, self.key = make_certificate(self.folder, "relay", self.authority)
        for file in self.authority:
            shutil.copy(file, self.folder)
        self.write_users()

    def write_users(self):
        uid, gid = (
            subprocess.check_output(["id", flag, self.whom[0]], text=True).strip()
            for flag in ("-u", "-g")
        )
        # Postfix asks for the first name of its number; the others must be somebody else's.
        users = {"root": (0, 0), "postfix": (uid, gid), "Debian-exim": (uid, gid), "nobody": (1, 1)}
        groups = {"root": 0, "postfix": gid, "Debian-exim": gid, "postdrop": 2}
        (self.folder / "passwd").write_text(
            "".join(f"{name}:x:{u}:{g}::/:/bin/sh\n" for name, (u, g) in users.items())
        )
        (self.folder / "group").write_text(
            "".join(f"{name}:x:{g}:\n" for name, g in groups.items())
        )

    def write(self, source, target, **more):
        """A file of the folder `relays`, with everything filled in."""
        text = (HERE / "relays" / source).read_text()
        values = {
            "FOLDER": self.folder,
            "UNPACKED": self.unpacked,
            "CERTIFICATE": self.certificate,
            "KEY": self.key,
            "AUTHORITY": self.folder / self.authority[0].name,
            "AUTHORITY_KEY": self.folder / self.authority[1].name,
            "USER": self.whom[0],
            "GROUP": self.whom[1],
            "SECRET": SECRET,
            "GREYLISTED": GREYLISTED,
            **{f"{name}_PORT": port for name, port in self.ports.items()},
            **more,
        }
        text = re.sub(r"@([A-Z_]+)@", lambda it: str(values[it[1]]), text)
        (self.folder / target).write_text(text)

    def give_away(self):
        """Makes the folder that of the user under whom all runs."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", ":".join(self.whom), self.folder], check=True)

    def start(self, name, argv, wrapped=True):
        user = [f"--reuid={self.whom[0]}", f"--regid={self.whom[1]}", "--clear-groups"]
        libraries = [self.unpacked / "usr/lib/postfix", *self.unpacked.glob("usr/lib/*-linux-*")]
        wrapper = {
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "LD_PRELOAD": "libnss_wrapper.so libuid_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(self.folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.folder / "group"),
            "UID_WRAPPER": "1",
            "UID_WRAPPER_ROOT": "1",
        }
        around = ["env", *(f"{name}={value}" for name, value in wrapper.items())] if wrapped else []
        as_whom = ["setpriv", *user] if os.geteuid() == 0 else []
        argv = [*as_whom, *around, *argv]
        self.running.append(self.setting.processes.start(name, argv, start_new_session=True))

    def stop(self):
        """Ends all that it started as well: Exim would leave the conversations that wait."""
        for process in self.running:
            os.killpg(process.pid, signal.SIGTERM)
            self.setting.processes.stop(process)

    def greets(self):
        try:
            with smtplib.SMTP("127.0.0.1", self.ports["INSIDE"], timeout=5):
                return True
        except OSError:
            return False

    def mails(self, owner):
        """The mails of a mailbox, oldest first."""
        folder = self.folder / "mail" / owner.partition("@")[0] / "Maildir" / "new"
        files = sorted(folder.glob("*"), key=lambda file: file.stat().st_mtime_ns)
        return [
            email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            for file in files
        ]

    def settings(self, port="USUAL", section="SMTP", **more):
        values = {
            "HOST": "localhost",
            "PORT": str(self.ports[port]),
            "TLS": "starttls",
            "CA_FILE": str(self.setting.certificate),
            "USERNAME": NAME,
            "PASSWORD": SECRET,
            **more,
        }
        return {f"BACKOFFICE_AUTH__MAIL__{section}__{name}": it for name, it in values.items()}


class Postfix(Relay):
    name = "Postfix"
    # Its words to an address that it does not know, and whether they are final for the server.
    unknown, is_final = "550 5.1.1 <(address)>: Recipient address rejected", True
    too_big = "552 5.3.4"
    added = {"Return-Path", "Delivered-To", "Received"}

    def __init__(self, setting):
        super().__init__(setting)
        queues = "active bounce defer deferred hold incoming maildrop pid private public"
        for name in queues.split():
            (self.folder / "queue" / name).mkdir(parents=True)
        (self.folder / "data").mkdir()
        (self.folder / "dovecot").mkdir()
        greylist = Greylist()
        self.write("main.cf", "main.cf")
        self.write("master.cf", "master.cf", POLICY_PORT=greylist.server_address[1])
        self.write("dovecot.conf", "dovecot.conf")
        self.write("vacation.sieve", "mail/alice/vacation.sieve")
        # It waits for a file that has just changed to settle.
        os.utime(self.folder / "main.cf", (0, 0))
        self.give_away()
        self.start("dovecot", ["dovecot", "-F", "-c", self.folder / "dovecot.conf"], wrapped=False)
        wait_for("Dovecot", (self.folder / "dovecot" / "auth").exists)
        program = self.unpacked / "usr/lib/postfix/sbin/master"
        self.start("postfix", [program, "-d", "-c", self.folder])

    def log(self):
        return (self.folder / "mail.log").read_text()


class Exim(Relay):
    name = "Exim"
    unknown, is_final = "550 Unrouteable address", False
    too_big = "552 Message size exceeds maximum permitted"
    added = {"Return-path", "Envelope-to", "Delivery-date", "Received"}

    def __init__(self, setting):
        super().__init__(setting)
        (self.folder / "spool").mkdir()
        self.write("exim.conf", "exim.conf")
        self.write("vacation.filter", "vacation.filter")
        (self.folder / "mail" / "alice" / ".vacation.msg").write_text("I am away until Monday.")
        self.give_away()
        # It trusts nobody else's.
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run([*as_root, "chown", "root", self.folder / "exim.conf"], check=True)
        # A setuid program is not told of a library.
        program = self.unpacked / "usr/sbin/exim4"
        program.chmod(0o755)
        self.start("exim", [program, "-C", self.folder / "exim.conf", "-bdf", "-q1s"])

    def log(self):
        return (self.folder / "main.log").read_text()


class Server:
    """An instance with a database of its own, since instances on the same one share their mails."""

    starting = threading.Lock()

    def __init__(self, setting, name, **mail):
        # One at a time: a start is much work, and the database waits for none of them long.
        with self.starting:
            self.start(setting, name, mail)

    def start(self, setting, name, mail):
        self.setting, self.instance = setting, Instance(f"mails-{name}".lower())
        url = setting.database_url()
        database = f"relays_{name}".lower()
        self.url = f"{url.rpartition('/')[0]}/{database}"
        self.psql(url, f"CREATE DATABASE {database}")
        self.environment = {
            "BACKOFFICE_AUTH__DATABASE__URL": self.url,
            "BACKOFFICE_AUTH__DATABASE__MAX_CONNECTIONS": "4",
            "BACKOFFICE_AUTH__LINKS__PASSWORD_URL": "https://office.example.com/password",
            "BACKOFFICE_AUTH__MAIL__FROM": f"Back Office <{SENDER}>",
            **mail,
        }
        setting.start_instance(self.instance, **self.environment)
        for user in (ALICE, BOB, NOBODY):
            said = self.run("user", "create", user, "--password-stdin", stdin=PASSWORD)
            assert said.returncode == 0, said

    def psql(self, url, statement):
        argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement]
        return subprocess.check_output(argv, text=True).strip()

    def run(self, *arguments, stdin=""):
        return run(self.setting, self.environment, *arguments, stdin=stdin)

    def challenge(self, user):
        body = {"email": user, "password": PASSWORD}
        return self.instance.post("/api/v2/signin", body).json()["2faDetails"]["token"]

    def outbox(self, token, columns):
        """The row of the outbox for the mail of a sign-in."""
        statement = f"SELECT {columns} FROM outbox WHERE challenge_id = '{token}'"
        return self.psql(self.url, statement).split("|")


def run(setting, environment, *arguments, stdin=""):
    """One command, with any exit status."""
    return subprocess.run(
        [setting.binary, "--config", setting.config, *arguments],
        env={**setting.base, **environment},
        cwd=setting.folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def trial(relay, to=BOB, port="USUAL", **more):
    """The output of `config check --smtp` about a relay, and the time that it waited."""
    started = time.monotonic()
    environment = {
        "BACKOFFICE_AUTH__MAIL__FROM": f"Back Office <{SENDER}>",
        **relay.settings(port, **more),
    }
    done = run(relay.setting, environment, "config", "check", "--smtp", to)
    lines = (done.stdout + done.stderr).splitlines()
    said = "\n".join(line for line in lines if not line.startswith("warning: "))
    return done.returncode, said, time.monotonic() - started


def trials(c, relay):
    """A test mail to each port, and the settings that an operator is told to check where it is not
    taken."""
    credentials = "check mail.smtp.username and mail.smtp.password"
    network = "check mail.smtp.host, port, tls and ca_file"
    cases = {
        "put off": ({"port": "GREY"}, 1, "wait some minutes"),
        "as usual": ({}, 0, "took the test mail: 250"),
        "slow": ({"port": "SLOW"}, 0, "took the test mail: 250"),
        "public authorities": ({"CA_FILE": ""}, 1, network),
        "an authority as a relay": ({"port": "SELF"}, 1, "CaUsedAsEndEntity"),
        "wrong password": ({"PASSWORD": "wrong"}, 1, credentials),
        "no password": ({"USERNAME": "", "PASSWORD": ""}, 1, "did not take the test mail: 5"),
        "in the clear": ({"TLS": "none"}, 1, credentials),
        "unknown address": ({"to": NOBODY}, 1, relay.unknown),
        "unknown address, with the word for it": (
            {"to": NOBODY, "port": "SMALL"},
            1,
            "try another address",
        ),
        "too big": ({"port": "SMALL"}, 1, relay.too_big),
    }
    with ThreadPoolExecutor(3) as pool:
        asked = {name: pool.submit(trial, relay, **case[0]) for name, case in cases.items()}
    for name, (_, status, told) in cases.items():
        returned, said, took = asked[name].result()
        c.check(f"{relay.name}, {name}", returned == status and told in said, (returned, said))
        c.check(f"{relay.name}, {name}: no password is told", SECRET not in said, said)
        if name == "slow":
            c.check(f"{relay.name} greets late", took >= 4, took)
        if c.options.verbose:
            print(f"  {relay.name}, {name}: {said.strip()}")


def arriving(relay, number):
    wait_for(f"mail {number} at {relay.name}", lambda: len(relay.mails(ALICE)) >= number, 30)
    return relay.mails(ALICE)[number - 1]


def code_in(mail):
    return re.search(r"^\s*(\d{6})\s*$", mail.get_body(("plain",)).get_content(), re.MULTILINE)[1]


def greylisting(c, relay, server):
    """The first attempt is refused for now; the code comes and works. Later mails come at once."""
    started = time.monotonic()
    token = server.challenge(ALICE)
    code = code_in(arriving(relay, 1))
    took = time.monotonic() - started
    answer = server.instance.post("/api/v2/2fa/confirm", {"token": token, "code": code})
    pair = Pair.of(answer)
    wait_for("its outcome", lambda: server.outbox(token, "sent_at IS NULL") == ["f"])
    attempts = int(server.outbox(token, "attempts")[0])
    # Exim counts whole seconds, so its four can be little more than three.
    was_put_off = attempts > 1 and took > GREYLISTED - 1
    c.check(f"{relay.name}: the mail was put off", was_put_off, (attempts, took))
    print(f"  {relay.name} greylists for {GREYLISTED} s: attempt {attempts} came, after {took:.0f} s")
    asked = server.instance.post("/api/v2/password/forgot", {"email": ALICE})
    c.equal(f"{relay.name}: a link is asked for", asked.status, 202)
    arriving(relay, 2)
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    headers = {"Content-Type": "application/json", **bearer(pair.access)}
    changed = server.instance.http(
        "POST", "/api/v2/me/password", headers, json.dumps(body).encode()
    )
    c.check(f"{relay.name}: another password", changed.status < 300, changed.body)
    arriving(relay, 3)


def headers(c, relay):
    """The headers that were added on the way. None of ours was changed."""
    for mail in relay.mails(ALICE):
        what = f"{relay.name}, {mail['Subject'][:20]}"
        for name, pattern in OURS.items():
            found = [str(it) for it in mail.get_all(name, [])]
            c.check(f"{what}: {name}", len(found) == 1 and re.fullmatch(pattern, found[0]), found)
        c.equal(f"{what}: the order", [name for name in mail.keys() if name in OURS], list(OURS))
        c.equal(f"{what}: added", set(mail.keys()) - set(OURS), relay.added)
        c.equal(f"{what}: the sender of the envelope", mail["Return-Path"], f"<{SENDER}>")
        parts = [it.get_content_type() for it in mail.iter_parts()]
        c.equal(f"{what}: the parts", parts, ["text/plain", "text/html"])
        # 7bit and quoted-printable need nothing of a relay.
        encodings = {str(it["Content-Transfer-Encoding"]) for it in mail.iter_parts()}
        c.check(f"{what}: the encodings", encodings <= {"7bit", "quoted-printable"}, encodings)
        received = " ".join(mail.get_all("Received"))
        c.check(f"{what}: came over TLS, signed in", "esmtpsa" in received.lower(), received)


def vacation(c, relay):
    """Alice is away. That answers no mail of ours, and the same mail without Auto-Submitted."""
    control = relay.mails(ALICE)[0]
    for name in ("Auto-Submitted", "Message-ID", *relay.added):
        del control[name]
    control["Message-ID"] = f"<{uuid.uuid4()}@office.example>"
    with smtplib.SMTP("127.0.0.1", relay.ports["INSIDE"]) as smtp:
        smtp.send_message(control, SENDER, [ALICE])
    wait_for(f"the answer of {relay.name}", lambda: relay.mails(SENDER), 15)
    answers = [(it["In-Reply-To"], it["Auto-Submitted"]) for it in relay.mails(SENDER)]
    c.equal(f"{relay.name}: answered", [it for it, _ in answers], [control["Message-ID"]])
    c.check(f"{relay.name}: says what it is", answers[0][1].startswith("auto-replied"), answers)


def unknown_address(c, relay, server, token):
    """Given up at once if the relay says 5.1.1; else tried until the code is over."""
    tried = 1 if relay.is_final else 3
    wait_for("attempts", lambda: int(server.outbox(token, "attempts")[0]) >= tried, 20)
    wait_for("a reply", lambda: server.outbox(token, "last_reply IS NULL") == ["f"])
    if relay.is_final:
        wait_for("its end", lambda: server.outbox(token, "given_up_at IS NULL") == ["f"])
    reply, over, attempts = server.outbox(token, "last_reply, given_up_at IS NOT NULL, attempts")
    c.check(f"{relay.name}: the reply", reply.startswith(relay.unknown), reply)
    c.equal(f"{relay.name}: given up", over == "t", relay.is_final)
    if relay.is_final:
        c.equal(f"{relay.name}: attempts", attempts, "1")


def alone(c, relay):
    """An instance with this relay alone, which greylists."""
    server = Server(c.setting, relay.name, **relay.settings("GREY"))
    unknown = server.challenge(NOBODY)
    greylisting(c, relay, server)
    headers(c, relay)
    vacation(c, relay)
    unknown_address(c, relay, server, unknown)
    c.setting.processes.stop(server.instance.process)


def with_a_substitute(c, relay, other):
    """A relay that does not greet for 20 s loses the mail to the other one, in the same attempt."""
    settings = {**relay.settings("SILENT"), **other.settings(section="FALLBACK")}
    server = Server(c.setting, f"{relay.name}_silent", **settings)
    started = time.monotonic()
    token = server.challenge(BOB)

    def came():
        return [it for it in other.mails(BOB) if not it["Subject"].startswith("Test: ")]

    wait_for(f"the mail over {other.name}", came, 40)
    took = time.monotonic() - started
    c.check(f"{relay.name} is waited for", 20 <= took < 35, took)
    wait_for("its outcome", lambda: server.outbox(token, "sent_at IS NULL") == ["f"])
    attempts, reply = server.outbox(token, "attempts, last_reply")
    told = f"before that the relay took too long (localhost:{relay.ports['SILENT']})"
    c.equal(f"{relay.name}: attempts", attempts, "1")
    c.check(f"{relay.name}: what is told", told in reply, reply)
    print(f"  {relay.name} does not greet: after {took:.0f} s the mail is with {other.name}")
    c.setting.processes.stop(server.instance.process)


def table(postfix, exim):
    """The headers of a mail with a code, as each delivered them."""

    def plain(value):
        return " ".join(str(value).split(";")[0].split())

    mails = [relay.mails(ALICE)[0] for relay in (postfix, exim)]
    names = {name.lower(): name for mail in reversed(mails) for name in mail.keys()}
    print("  | header | Postfix, Dovecot | Exim |\n  |---|---|---|")
    for name in names.values():
        found = [[plain(it) for it in mail.get_all(name, [])] for mail in mails]
        cells = ["<br>".join(it) for it in found]
        print(f"  | {name} | {cells[0]} | {cells[1]} |")


def relays(c):
    """Postfix and Exim between an instance and the mailbox."""
    setting = c.setting
    if os.geteuid() != 0 and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        print("  not checked: Exim reads no configuration that root does not own")
        return
    with ThreadPoolExecutor(8) as pool:
        postfix, exim = pool.map(lambda relay: relay(setting), (Postfix, Exim))
        pairs = [(postfix, exim), (exim, postfix)]
        try:
            for relay, _ in pairs:
                wait_for(relay.name, relay.greets)
            # The job that waits for longest comes first.
            for job in [
                *(pool.submit(with_a_substitute, c, relay, other) for relay, other in pairs),
                *(pool.submit(trials, c, relay) for relay, _ in pairs),
                *(pool.submit(alone, c, relay) for relay, _ in pairs),
            ]:
                job.result()
            table(postfix, exim)
        finally:
            for relay in (postfix, exim):
                relay.stop()
                (setting.logs / f"{relay.name.lower()}-mail.log").write_text(relay.log())
