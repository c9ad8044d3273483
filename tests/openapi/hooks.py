"""The hooks of schemathesis: calls that end a session or delete a user get one of their own."""

import base64
import itertools
import json
import os
import re
import urllib.request

import schemathesis

MINE = f"Bearer {os.environ['ACCESS_TOKEN']}"
ADMINISTRATOR = f"Bearer {os.environ['ADMINISTRATOR_TOKEN']}"
USERS = "/api/v2/admin/users"
# They end the session of the token that they come with. It learns the ids of sessions from answers, so the third
# one, too.
ENDING = {
    ("post", "/api/v2/signout"),
    ("delete", "/api/v2/sessions"),
    ("delete", "/api/v2/sessions/{id}"),
}
# Users on whom administrators act, over and over.
managed = itertools.cycle(os.environ["MANAGED_USERS"].split(","))
numbers = itertools.count()


def post(path, body, **headers):
    request = urllib.request.Request(
        f"{os.environ['SERVER']}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def fresh_token():
    body = {"email": os.environ["ENDING_USER"], "password": os.environ["PASSWORD"]}
    return post("/api/v2/signin", body)["accessToken"]["token"]


def claims_of(token):
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def fresh_user():
    body = {"email": f"brief{next(numbers)}@bar.com", "twoFactor": "off"}
    return post(USERS, body, Authorization=ADMINISTRATOR)["id"]


def is_uuid(text):
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", str(text))


def aim(case):
    """At somebody who is there, and whom nobody misses. Numbers of more digits than a few stay: nobody has them."""
    wanted = case.path_parameters
    if not re.fullmatch(r"-?\d{1,9}", str(wanted.get("id"))):
        return
    if is_uuid(wanted.get("sid")):
        claims = claims_of(fresh_token())
        wanted.update(id=claims["sub"], sid=claims["sid"])
    elif case.method.upper() == "DELETE" and "sid" not in wanted:
        wanted["id"] = fresh_user()
    else:
        wanted["id"] = next(managed)


@schemathesis.hook
def before_call(context, case, kwargs):
    # Where it sends another token, or none, it expects a refusal.
    is_mine = case.headers.get("Authorization") == MINE
    path = case.operation.path
    if path.startswith(USERS):
        aim(case)
        if is_mine:
            case.headers["Authorization"] = ADMINISTRATOR
    elif is_mine and (case.operation.method.lower(), path) in ENDING:
        token = fresh_token()
        case.headers["Authorization"] = f"Bearer {token}"
        if is_uuid(case.path_parameters.get("id")):
            case.path_parameters["id"] = claims_of(token)["sid"]
