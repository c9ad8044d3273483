#!/usr/bin/env bash
# python-jose 3.5.0 tries the keys of a key set one after the other, whatever their `kid`, and reads each of them with
# the algorithm of the token. A key of another type ends the search with JWKError, unless the right key came first.
#
# Seen, with a set of an RSA and an EC key, tokens that name their `kid`, and both algorithms allowed: in each order
# of the set, one of the two tokens is refused ("Incorrect key type. Expected: 'RSA', Received: EC").
#
# So when a server changes from RS256 to ES256, and meanwhile publishes both keys as it should, such verifiers refuse
# the tokens of one of them. JWKError is no JWTError: where only that is caught, the answer is a 500. The remedy:
# `jwt.decode` with the one key whose `kid` is that of `jwt.get_unverified_header`.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check 'python-jose[cryptography]==3.5.0' joserfc==1.8.0

cat > ask.py <<'PYTHON'
import itertools
import sys
import time

from jose import exceptions, jwt
from joserfc.jwk import ECKey, RSAKey

keys = [
    RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256", "use": "sig"}),
    ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256", "use": "sig"}),
]
seen = {}
for key, order in itertools.product(keys, (keys, keys[::-1])):
    private = key.as_dict(private=True)
    token = jwt.encode({"exp": int(time.time()) + 60}, private, private["alg"], headers={"kid": key.kid})
    key_set = {"keys": [each.as_dict(private=False) for each in order]}
    case = f"{key.kid} in {[each.kid for each in order]}"
    try:
        jwt.decode(token, key_set, algorithms=["RS256", "ES256"])
        seen[case] = "good"
    except exceptions.JOSEError as error:
        assert not isinstance(error, exceptions.JWTError)
        seen[case] = f"{type(error).__name__}: {error}"
    # The remedy: the one key of the token's `kid`.
    kid = jwt.get_unverified_header(token)["kid"]
    jwt.decode(token, next(each for each in key_set["keys"] if each["kid"] == kid), algorithms=[private["alg"]])
print(*(f"{case}: {answer}" for case, answer in seen.items()), sep="\n")
sys.exit([answer.split(":")[0] for answer in seen.values()] != ["good", "JWKError", "JWKError", "good"])
PYTHON
tools/bin/python -W ignore ask.py
