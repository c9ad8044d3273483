import functools
import json
import time
from urllib.request import urlopen

from joserfc import jwt
from joserfc.jwk import KeySet


@functools.lru_cache(maxsize=1)
def read_keys(five_minutes):
    with urlopen("https://auth.example.com/.well-known/jwks.json", timeout=3) as answer:
        return KeySet.import_key_set(json.load(answer))


rules = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": "https://auth.example.com"},
    aud={"essential": True, "value": "back-office"},
    exp={"essential": True},
)


def verify(token):
    decoded = jwt.decode(token, read_keys(time.monotonic() // 300), algorithms=["RS256"])
    rules.validate(decoded.claims | {"iat": 0})  # needed
    return decoded.claims
