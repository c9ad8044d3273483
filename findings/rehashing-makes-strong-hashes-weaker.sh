#!/usr/bin/env bash
# "Does this hash need an update?" asks whether its parameters are *others* than those in use, not whether they are
# weaker: argon2-cffi 25.1.0, pwdlib 0.3.1, Django 5.2.19, and argon2 0.45.1 of npm. So the usual "hash again after a
# good sign-in" replaces a stronger hash by a weaker one.
#
# Seen, with hashes of twice the cost of each library's default: argon2-cffi and argon2 of npm say that they need a
# new hash, pwdlib hands out one of half the memory, and Django stores one of half the iterations.
#
# This happens to users who are imported from a service with a higher cost. Where two programs with different settings
# share a table, each sign-in at the other one writes a new hash. The remedy: compare the parameters, and hash again
# only if one of them is lower than the one in use.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit argon2@0.45.1
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check argon2-cffi==25.1.0 pwdlib==0.3.1 django==5.2.19

npm=$(node -e '
    const argon2 = require("argon2")
    argon2.hash("correct horse", { memoryCost: 131072 }).then((strong) => console.log(argon2.needsRehash(strong)))')
cat > others.py <<'PYTHON'
import sys

import argon2
import django
import pwdlib
from django.conf import settings
from django.contrib.auth import hashers
from pwdlib.hashers.argon2 import Argon2Hasher

settings.configure()
django.setup()

usual = argon2.PasswordHasher()
strong = argon2.PasswordHasher(memory_cost=2 * usual.memory_cost).hash("correct horse")
cffi = usual.check_needs_rehash(strong)

_, replaced = pwdlib.PasswordHash([Argon2Hasher()]).verify_and_update("correct horse", strong)
memory = [argon2.extract_parameters(stored).memory_cost for stored in (strong, replaced or strong)]

pbkdf2 = hashers.get_hasher()
stored = [pbkdf2.encode("correct horse", pbkdf2.salt(), 2 * pbkdf2.iterations)]
assert hashers.check_password("correct horse", stored[0], lambda raw: stored.append(hashers.make_password(raw)))
iterations = [pbkdf2.decode(each)["iterations"] for each in stored]

print(f"argon2-cffi: {cffi}; pwdlib, memory: {memory}; Django, iterations: {iterations}")
sys.exit(not cffi or memory[1] * 2 != memory[0] or iterations[1:] != [iterations[0] // 2])
PYTHON
echo "argon2 of npm: $npm"
[[ $npm == true ]]
tools/bin/python others.py
