#!/usr/bin/env bash
# Secrets of 80 bits, the 16 letters that many authenticator apps were set up with, are refused by otplib 13.5.0 of
# npm (at least 128 bits) and pyotp 2.12.1 of PyPI (at least 112 bits). otplib 12 made such secrets unless told
# otherwise, so an upgrade alone locks people out. otpauth 9.5.2 of npm takes them.
#
# Seen, for a secret that otplib 12.0.1 made: otplib 13 and pyotp raise errors for the secret, before any code is
# looked at; otpauth makes the code that otplib 12 makes, and so do the other two with these remedies:
# `createGuardrails({ MIN_SECRET_BYTES: 10 })`, and a subclass with `min_secret_length_bits = 80`.
#
# RFC 4226 asks for at least 128 bits and recommends 160, so new secrets should have those. But the secrets in people's
# apps have the length that they were made with: look for short ones before an upgrade, or a move to another library.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit before@npm:otplib@12.0.1 now@npm:otplib@13.5.0 otpauth@9.5.2
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check pyotp==2.12.1

cat > node.mjs <<'JS'
import before from 'before'
import { createGuardrails, generate } from 'now'
import { TOTP } from 'otpauth'

const at = 1_800_000_000
const secret = before.authenticator.generateSecret()
const code = before.authenticator.clone({ epoch: at * 1000 }).generate(secret)
const refusal = await generate({ secret, epoch: at }).then(() => 'none', (error) => error.message)
const told = await generate({ secret, epoch: at, guardrails: createGuardrails({ MIN_SECRET_BYTES: 10 }) })
const other = new TOTP({ secret }).generate({ timestamp: at * 1000 })
console.error(`otplib 13: ${refusal}`)
if (!refusal.includes('at least 16 bytes') || told !== code || other !== code) process.exit(1)
console.log(secret, code)
JS
cat > python.py <<'PYTHON'
import sys

import pyotp


class Lenient(pyotp.TOTP):
    min_secret_length_bits = 80


secret, code = sys.argv[1:]
try:
    refusal = pyotp.TOTP(secret).at(1_800_000_000)
except ValueError as error:
    refusal = str(error)
print(f"pyotp: {refusal}")
sys.exit("at least 112 bits" not in refusal or Lenient(secret).at(1_800_000_000) != code)
PYTHON
made=$(node node.mjs)
read -r secret code <<< "$made"
tools/bin/python python.py "$secret" "$code"
