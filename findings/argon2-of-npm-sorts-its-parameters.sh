#!/usr/bin/env bash
# argon2 0.45.1 of npm writes the parameters of a hash sorted by their names, `m=65536,p=4,t=3`. Up to 0.44.0 it
# wrote `m=65536,t=3,p=4`, the order of Argon2's reference implementation, which reads no other. So a table of users
# can hold both orders, and bindings of C code take only the older one.
#
# Seen, for a hash of 0.45.1 and the right password: argon2-cffi 25.1.0 raises VerificationError("Decoding failed"),
# and PyNaCl 1.6.2 (libsodium) says "Wrong password", like for a wrong one. Both take the same hash with `t` before
# `p`, and both take the one of 0.44.0.
#
# So a program that reads the hashes of others should take the parameters in any order. For a reader that does not,
# write them in the order m, t, p when the table is moved: their order is not part of the hashed data.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit before@npm:argon2@0.44.0 now@npm:argon2@0.45.1
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check argon2-cffi==25.1.0 pynacl==1.6.2

# hash VERSION : a hash of the password "correct horse".
hash() { node -e 'require(process.argv[1]).hash("correct horse").then(console.log)' "$1"; }
before=$(hash before) now=$(hash now)
cat > read.py <<'PYTHON'
import sys

import argon2
import nacl.exceptions
import nacl.pwhash

before, now = sys.argv[1:]
head, sorted_parameters, rest = now.rpartition("m=65536,p=4,t=3")
assert sorted_parameters, f"the parameters are in another order: {now}"
in_order = f"{head}m=65536,t=3,p=4{rest}"
assert "m=65536,t=3,p=4" in before, f"the parameters were in another order: {before}"


def cffi(stored):
    try:
        return argon2.PasswordHasher().verify(stored, "correct horse")
    except argon2.exceptions.VerificationError as error:
        return str(error)


def sodium(stored):
    try:
        return nacl.pwhash.verify(stored.encode(), b"correct horse")
    except nacl.exceptions.InvalidkeyError as error:
        return str(error)


seen = [(cffi(stored), sodium(stored)) for stored in (before, now, in_order)]
print("argon2-cffi and PyNaCl, a hash of 0.44.0: {}; of 0.45.1: {}; of 0.45.1, put in order: {}".format(*seen))
sys.exit(seen != [(True, True), ("Decoding failed", "Wrong password"), (True, True)])
PYTHON
tools/bin/python read.py "$before" "$now"
