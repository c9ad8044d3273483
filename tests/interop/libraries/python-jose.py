import functools
import json
import time
from urllib.request import urlopen

from jose import jwt


@functools.lru_cache(maxsize=1)
def read_keys(five_minutes):
    with urlopen("https://auth.example.com/.well-known/jwks.json", timeout=3) as answer:
        return json.load(answer)


def verify(token):
    return jwt.decode(
        token,
        read_keys(time.monotonic() // 300),
        algorithms=["RS256"],
        issuer="https://auth.example.com",
        audience="back-office",  # needed
    )
