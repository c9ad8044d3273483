"""Verifies the tokens that come in, a line each, until standard input ends."""

import json
import os
import sys

from verify import EndedSessions, Refused, Unavailable, Verifier

env = os.environ
ended = EndedSessions(env["AUTH_URL"], env["CLIENT_ID"], env["CLIENT_SECRET"])
verifier = Verifier(
    env["AUTH_URL"],
    env["ISSUER"],
    env["AUDIENCE"],
    ended,
    max_age=float(env["JWKS_MAX_AGE"]),
    cooldown=float(env["JWKS_COOLDOWN"]),
)
for line in sys.stdin:
    number, token = line.rstrip("\n").split(" ", 1)
    try:
        claims = verifier.verify(token)
        answer = {"outcome": "good", "detail": claims["sid"]}
    except Refused as error:
        answer = {"outcome": "refused", "detail": str(error)}
    except Unavailable as error:
        answer = {"outcome": "unavailable", "detail": str(error)}
    print(json.dumps({"number": int(number), **answer}), flush=True)
