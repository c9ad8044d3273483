"""The administrators' interface, asked as every kind of caller: each route, with each answer that is cheap to get."""

import json

from setting import PASSWORD, Pair, bearer

USERS = "/api/v2/admin/users"
ONE = f"{USERS}/{{id}}"
READS = [("get", USERS), ("get", ONE), ("get", f"{ONE}/sessions"), ("get", f"{ONE}/events")]
# With a body that fits, where one is wanted.
ACTS = {
    ("post", USERS): {"email": "invited@bar.com", "twoFactor": "off"},
    ("delete", ONE): None,
    ("delete", f"{ONE}/sessions/{{sid}}"): None,
    **{
        ("post", f"{ONE}/{name}"): body
        for name, body in {
            "link": None,
            "disable": None,
            "enable": None,
            "unlock": None,
            "signout": None,
            "two-factor": {"twoFactor": "off"},
            "reset-factors": None,
            "email": {"email": "moved@bar.com"},
        }.items()
    },
}
NOBODY = "123456789"
NO_SESSION = "00000000-0000-4000-8000-000000000000"


class Administration:
    """Asks with `ask`, which compares each answer with the description.

    `strict` is a second instance, with few acts to a minute and without links. `users` has the numbers of those who
    are managed, by address; `desk` and `deputy` are administrators without a second factor so far."""

    def __init__(self, ask, instance, strict, users, enrol):
        self.ask, self.instance, self.strict = ask, instance, strict
        self.users, self.enrol = users, enrol
        self.headers = {}

    def __call__(self, status, method, path, body=None, code=None, number="", sid=NO_SESSION, query="", at=None):
        """Asks for one thing; tells what came, which has to be of that status and code."""
        asked = f"{path.format(id=number, sid=sid)}{query}"
        headers = {**self.headers, **({"Content-Type": "application/json"} if body is not None else {})}
        body = json.dumps(body).encode() if body is not None else None
        answer = self.ask(method, asked, headers, body, operation=path, at=at or self.instance)
        assert answer.status == status, f"{method} {asked}: {answer.status} {answer.body[:300]}"
        found = answer.json() if answer.body else None
        assert code is None or found["code"] == code, f"{method} {asked}: {found}"
        return found

    def refuse(self, status, code, operations, number, **more):
        for method, path in operations:
            self(status, method, path, ACTS.get((method, path)), code, number, **more)

    def run(self, token_of_user, desk, deputy):
        every = [*READS, *ACTS]
        of_one = [operation for operation in every if operation[1] != USERS]
        for headers, status, code in [
            ({}, 401, "missing_access_token"),
            (bearer("x"), 401, "invalid_access_token"),
            (bearer(token_of_user), 403, "forbidden"),
            (bearer(self.instance.signin(desk).access), 403, "second_factor_required"),
        ]:
            self.headers = headers
            self.refuse(status, code, every, self.users["plain@bar.com"])
        before, self.headers = self.enrol(desk)
        administrator, self.headers = self.headers, before
        self.refuse(401, "reauthentication_required", every, self.users["plain@bar.com"])
        self.headers = administrator
        for number in [NOBODY, "x"]:
            self.refuse(404, "not_found", of_one, number)
        self.acts(desk)
        self.pages()
        self.person()
        self.shut_out()
        self.obstacles()
        self.headers = bearer(self.instance.signin(deputy).access)
        self.limited()
        self.headers = administrator
        return administrator

    def acts(self, desk):
        """None of them on an administrator, oneself included."""
        myself = self(200, "get", USERS, query=f"?email={desk}")["users"][0]
        assert myself["administrator"] and myself["totp"], myself
        on_one = [operation for operation in ACTS if operation[1] not in (USERS, f"{ONE}/sessions/{{sid}}")]
        self.refuse(403, "forbidden", on_one, myself["id"])

    def pages(self):
        everybody = self(200, "get", USERS, query="?limit=200")
        assert "next" not in everybody, everybody
        found, query = [], "?limit=1&state=active&email=A"
        while query:
            page = self(200, "get", USERS, query=query)
            found += [user["email"] for user in page["users"]]
            query = "next" in page and f"?limit=1&state=active&email=A&after={page['next']}"
        wanted = [user["email"] for user in everybody["users"]
                  if user["email"].startswith("a") and user["state"] == "active"]
        assert found == wanted and len(found) > 1, f"{found} instead of {wanted}"
        for query, fields in [
            ("?limit=0&state=here&email=a%20b&after=!", {"limit", "state", "email", "after"}),
            ("?limit=1&limit=2", {"limit"}),
        ]:
            assert fields == self.fields(USERS, query=query), query

    def fields(self, path, body=None, **more):
        method = "get" if body is None else "post"
        return {error["field"] for error in self(422, method, path, body, "invalid_request", **more)["errors"]}

    def person(self):
        """Invited, mailed to until it is too much, changed, and removed."""
        body = ACTS["post", USERS]
        invited = self(201, "post", USERS, body)
        self(409, "post", USERS, body, "address_taken")
        assert self.fields(USERS, {"twoFactor": "sms"}) == {"email", "twoFactor"}
        one = invited["id"]
        assert invited["state"] == "invited" and self.kinds(one) == ["no_password"], invited
        for _ in range(2):
            self(202, "post", f"{ONE}/link", number=one)
        self(429, "post", f"{ONE}/link", code="too_many_attempts", number=one)
        mails = self(200, "get", ONE, number=one)["mails"]
        assert {mail["kind"] for mail in mails} == {"invitation_link"}, mails
        self(204, "post", f"{ONE}/two-factor", {"twoFactor": "email"}, number=one)
        assert self.fields(f"{ONE}/two-factor", {"twoFactor": 1}, number=one) == {"twoFactor"}
        moved = ACTS["post", f"{ONE}/email"]
        for _ in range(2):
            self(204, "post", f"{ONE}/email", moved, number=one)
        taken = {"email": "plain@bar.com"}
        self(409, "post", f"{ONE}/email", taken, "address_taken", one)
        assert self.fields(f"{ONE}/email", {"email": "moved"}, number=one) == {"email"}
        for act in ["unlock", "reset-factors"]:
            self(204, "post", f"{ONE}/{act}", number=one)
        self(204, "delete", ONE, number=one)
        self(404, "get", ONE, code="not_found", number=one)

    def shut_out(self):
        """A user with sessions: they end one by one, all together, and with the user's being disabled."""
        one, address = self.users["plain@bar.com"], "plain@bar.com"
        first, _ = self.instance.signin(address), self.instance.signin(address)
        listed = self(200, "get", f"{ONE}/sessions", number=one)["sessions"]
        assert len(listed) == 2 and not any(session["current"] for session in listed), listed
        self(204, "delete", f"{ONE}/sessions/{{sid}}", number=one, sid=first.session)
        self(404, "delete", f"{ONE}/sessions/{{sid}}", code="not_found", number=one, sid=first.session)
        for _ in range(2):
            self(204, "post", f"{ONE}/signout", number=one)
        assert self(200, "get", f"{ONE}/sessions", number=one)["sessions"] == []
        for _ in range(2):
            self(204, "post", f"{ONE}/disable", number=one)
        self(409, "post", f"{ONE}/link", code="user_disabled", number=one)
        assert self.kinds(one) == ["disabled"] and "disabledAt" in self(200, "get", ONE, number=one)
        self(204, "post", f"{ONE}/enable", number=one)
        assert self.kinds(one) == []
        events = self(200, "get", f"{ONE}/events", number=one, query="?limit=200")["events"]
        found, query = [], "?limit=2"
        while query:
            page = self(200, "get", f"{ONE}/events", number=one, query=query)
            found += page["events"]
            query = "next" in page and f"?limit=2&after={page['next']}"
        assert found == events and len(found) > 5, f"{found} instead of {events}"
        assert self.fields(f"{ONE}/events", query="?limit=201&after=0", number=one) == {"limit", "after"}

    def kinds(self, number, at=None):
        return [obstacle["kind"] for obstacle in self(200, "get", ONE, number=number, at=at)["obstacles"]]

    def obstacles(self):
        """A user whose password and codes were wrong too often, as the strict instance sees it."""
        address = "locked@bar.com"
        body = {"email": address, "password": PASSWORD}
        challenge = self.instance.post("/api/v2/signin", body).json()["2faDetails"]["token"]
        for _ in range(2):
            self.instance.post("/api/v2/2fa/confirm", {"token": challenge, "code": "x"})
            self.strict.post("/api/v2/signin", {**body, "password": "wrong"})
        number = self.users[address]
        assert {"second_factor_locked", "limited"} <= {*self.kinds(number, self.strict)}
        listed = self(200, "get", USERS, query="?state=locked", at=self.strict)["users"]
        assert [user["id"] for user in listed] == [number], listed

    def limited(self):
        """The first act of the minute is refused where there are no links, all others since there was one."""
        self(404, "post", USERS, ACTS["post", USERS], "not_found", at=self.strict)
        self.refuse(429, "too_many_attempts", ACTS, self.users["plain@bar.com"], at=self.strict)


def enrol(instance, address, totp):
    """The headers of a session that was opened before its user had an authenticator app, and of one opened with it."""
    before = bearer(instance.signin(address).access)
    app = instance.http("POST", "/api/v2/me/totp", before).json()
    body = json.dumps({"id": app["id"], "code": totp(app["secret"])}).encode()
    confirmed = instance.http("POST", "/api/v2/me/totp/confirm", before, body)
    assert confirmed.status == 200, confirmed.body[:300]
    details = instance.post("/api/v2/signin", {"email": address, "password": PASSWORD}).json()["2faDetails"]
    # A code is taken once: this is the next one, which is taken early.
    body = {"token": details["token"], "code": totp(app["secret"], ahead=1)}
    return before, bearer(Pair.of(instance.post("/api/v2/2fa/confirm", body)).access)
