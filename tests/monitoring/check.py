"""Asks a real Prometheus, which scrapes a real server, every alert expression and dashboard query.

Each must be answered without an error. Each must also find something, an alert's expression without
the comparison at its end: a query that finds nothing on a busy server has a name wrong.
"""

import argparse
import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
MONITORING = DOCS / "monitoring"

# The values of the dashboard's variables here.
VARIABLES = {"$__rate_interval": "10s", "$job": "backoffice-auth"}

# No series of it begins before somebody has left in the middle of a request.
MAY_BE_EMPTY = "backoffice_auth_requests_abandoned_total"

# How long anything may take that is waited for.
PATIENCE = 40


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.2)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def answers(url):
    try:
        get(url)
        return True
    except OSError:
        return False


@contextmanager
def running(command, folder, log, **options):
    with open(folder / log, "wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, **options)
        try:
            yield process
        except BaseException:
            print((folder / log).read_text(errors="replace")[-3000:])
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


class Server:
    """`backoffice-auth dev`: a server with a database, a mailbox and users."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.public, self.management = free_port(), free_port()

    def running(self):
        listen = {
            "BACKOFFICE_AUTH__HTTP__LISTEN": f"127.0.0.1:{self.public}",
            "BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN": f"127.0.0.1:{self.management}",
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }
        return running([self.program, "dev"], self.folder, "server.log", env=listen)

    def is_ready(self):
        return answers(f"http://127.0.0.1:{self.management}/health/ready")

    def metrics(self):
        return get(f"http://127.0.0.1:{self.management}/metrics")

    def post(self, path, body=None, token=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.public}/api/v2{path}", method="POST")
        request.data = None if body is None else json.dumps(body).encode()
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read() or "{}")
        except urllib.error.HTTPError as refusal:
            return json.loads(refusal.read())

    def use(self):
        """A little of everything that leaves a trace in the metrics."""
        ops = {"email": "ops@bar.com", "password": "Secret123"}
        pair = self.post("/signin", ops)
        if "accessToken" in pair:
            pair = self.post("/refresh", {"refreshToken": pair["refreshToken"]["token"]})
            self.post("/signout", token=pair["accessToken"]["token"])
        self.post("/signin", {**ops, "email": "foo@bar.com"})
        self.post("/signin", {**ops, "password": "wrong"})
        self.post("/nowhere")


class Prometheus:
    def __init__(self, folder, target):
        self.folder, self.port = folder, free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(MONITORING / "alerts.yml")],
            "scrape_configs": [
                {"job_name": "backoffice-auth", "static_configs": [{"targets": [target]}]}
            ],
        }
        # JSON is YAML.
        (folder / "prometheus.json").write_text(json.dumps(config))

    def running(self):
        command = [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.json'}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        return running(command, self.folder, "prometheus.log")

    def api(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            return json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{parameters}: {error.read().decode()}") from error

    def is_up(self):
        return answers(f"http://127.0.0.1:{self.port}/-/ready")

    def finds(self, query):
        return len(self.api("query", query=query)["result"])


def without_comparison(expression):
    """The query of an alert, without its comparison."""
    compared, operator, _ = re.split(r"\s(==|<|>)\s(?=\S+$)", expression.strip())
    assert operator
    return compared


def without_outcome(query):
    """The same about requests of any outcome: a healthy server has answered none with 500 or 503."""
    return re.sub(r'(status|code)(=~|!=|=)"[^"]*",? ?', "", query)


def dashboard_queries():
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    ids, places = set(), set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert panel["id"] not in ids, f"two panels are number {panel['id']}"
        ids.add(panel["id"])
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & places, f"{panel['title']} overlaps"
        places |= cells
        for target in panel.get("targets", []):
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            assert "$" not in query, query
            yield panel["title"], query
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((\w+), \w+\)", variable["definition"])
            yield f"variable {variable['name']}", metric.group(1)


def check_names(what, query, known):
    for name in re.findall(r"\b(?:backoffice_auth|process)_\w+", query):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in known or base in known, f"{what}: there is no metric {name}"


def check_runbooks(rules):
    """Each alert leads to a heading, with at least three steps under it."""
    text = (DOCS / "operations.md").read_text()
    sections = re.split(r"^#+ ", text, flags=re.M)
    by_anchor = {section.split("\n")[0].strip().lower(): section for section in sections}
    for rule in rules:
        anchor = rule["annotations"]["runbook"].removeprefix("docs/operations.md#")
        assert anchor == rule["name"].lower(), rule["name"]
        section = by_anchor.get(anchor)
        assert section, f"{rule['name']}: no heading in docs/operations.md"
        steps = re.findall(r"^\d\. ", section, flags=re.M)
        assert len(steps) >= 3, f"{rule['name']}: {len(steps)} steps"


def check_all(server, prometheus):
    table = (MONITORING / "README.md").read_text()
    known = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.M)) | {"process_start_time_seconds"}
    groups = prometheus.api("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    check_runbooks(rules)
    for rule in rules:
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"
    alerts = [(rule["name"], without_comparison(rule["query"])) for rule in rules]
    queries = list(dashboard_queries())
    empty = []
    for what, query in alerts + queries:
        check_names(what, query, known)
        found = prometheus.finds(query) or prometheus.finds(without_outcome(query))
        if not found and MAY_BE_EMPTY not in query:
            empty.append(f"{what}: {query}")
    assert not empty, "nothing found by\n" + "\n".join(empty)
    firing = prometheus.api("alerts")["alerts"]
    assert not firing, f"alerts on a healthy server: {firing}"
    shown = {line.split()[2] for line in server.metrics().splitlines() if line.startswith("# TYPE ")}
    unused = shown - {name for _, query in alerts + queries for name in re.findall(r"\w+", query)}
    unused = {name for name in unused if not any(f"{name}_" in query for _, query in queries)}
    assert not unused, f"on no panel and in no alert: {unused}"
    print(f"{len(alerts)} alerts and {len(queries)} queries find something, and nothing fires")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--folder", type=Path, required=True)
    arguments.add_argument("--program", required=True)
    given = arguments.parse_args()
    server = Server(given.program, given.folder)
    with server.running():
        wait_for("the server is ready", server.is_ready)
        prometheus = Prometheus(given.folder, f"127.0.0.1:{server.management}")
        with prometheus.running():
            wait_for("Prometheus is ready", prometheus.is_up)
            seen = 'backoffice_auth_mails_total{outcome="sent"} > 0'

            def is_seen():
                server.use()
                return prometheus.finds(seen) and prometheus.finds("up == 1 and up offset 8s == 1")

            wait_for("a while of use was scraped", is_seen)
            check_all(server, prometheus)


if __name__ == "__main__":
    main()
