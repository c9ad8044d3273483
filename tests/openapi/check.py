"""Whether the description is what others take it for: linters read it, a generator makes a client of it
that runs, and schemathesis asks the server for everything in it, and for what is not."""

import argparse
import hashlib
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
from setting import CLIENT, PASSWORD, SECRET, Instance, Processes, wait_for  # noqa: E402

DESCRIPTION = ROOT / "docs" / "openapi.json"
ENDING_USER = "ends@bar.com"

MANY = "1000000"
# Thousands of requests from one address, as one user: what is counted must not end the run. Hashes are
# cheap, since a debug build would otherwise spend the time on them.
RAISED = {
    **{
        f"BACKOFFICE_AUTH__LIMITS__{name}": MANY
        for name in [
            "SIGNIN__ATTEMPTS",
            "CONFIRM__ATTEMPTS",
            "REFRESH__ATTEMPTS",
            "SIGNIN_NETWORK_PER_MINUTE",
            "SIGNIN_ACCOUNT_FAILURES_PER_HOUR",
            "CONFIRM_FAILURES_PER_ACCOUNT",
            "FLOOD_BURST",
            "FLOOD_PER_SECOND",
        ]
    },
    "BACKOFFICE_AUTH__PASSWORDS__MEMORY_KIB": "64",
    "BACKOFFICE_AUTH__PASSWORDS__ITERATIONS": "1",
    "BACKOFFICE_AUTH__INTROSPECTION__CLIENTS": f"{CLIENT}:{hashlib.sha256(SECRET.encode()).hexdigest()}",
}


class Checks:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.processes = Processes(self.folder)
        self.instance = Instance("dev")

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
        self.tool("node", client / "built" / "client.js", self.instance.url, mailbox, timeout=60)

    def schemathesis(self):
        environment = {
            **os.environ,
            "ACCESS_TOKEN": self.instance.signin().access,
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
            # The same cases each time: what fails by chance tells nobody whose change it was.
            "--seed=1",
            "--no-color",
        ]
        self.tool(*argv, cwd=self.folder, env=environment)

    def healthy(self):
        """After all that, nothing has gone wrong on our side."""
        log = (self.folder / "dev.log").read_text()
        errors = [line for line in log.splitlines() if " ERROR " in line]
        assert not errors, errors[:5]
        assert self.instance.is_ready(), "it is no longer ready"

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
        line = f'{{"email": "{ENDING_USER}", "passwordHash": "{HASH}", "twoFactor": "off"}}'
        argv = [program, "--config", state / ".dev" / "config.toml", "user", "import", "-"]
        self.tool(*argv, input=line.encode())


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
            checks.schemathesis,
            checks.healthy,
        ]:
            print(f"-- {step.__name__.replace('_', ' ')}", flush=True)
            step()
    except BaseException:
        traceback.print_exc()
        failed = True
        print(f"\n--- the end of dev.log\n{checks.processes.log('dev')[-3000:]}")
    finally:
        checks.processes.stop_all()
        shutil.rmtree(options.folder, ignore_errors=True)
    print(f"\n{'failed' if failed else 'passed'} in {time.monotonic() - started:.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
