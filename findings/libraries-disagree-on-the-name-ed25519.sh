#!/usr/bin/env bash
# RFC 9864 (2025) deprecates the `alg` "EdDSA" for JWTs: the same signature is now called "Ed25519". jose 6.2.18,
# joserfc 1.8.0 and jwcrypto 1.6.1 take both names. PyJWT 2.15.1 and fast-jwt 6.3.6 know the old one alone, and
# jsonwebtoken 9.0.3 neither.
#
# Seen, with one key and two tokens that differ in `alg`. Also seen: a JWK that says `"alg": "Ed25519"` cannot be used
# by PyJWT for a token of either name.
#
# So a server that signs with Ed25519 reaches most verifiers if its tokens say "EdDSA", and no key of its set says
# another name.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit jose@6.2.18 fast-jwt@6.3.6 jsonwebtoken@9.0.3
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check 'pyjwt[crypto]==2.15.1' joserfc==1.8.0 jwcrypto==1.6.1

cat > node.mjs <<'JS'
import { createVerifier } from 'fast-jwt'
import { exportJWK, exportSPKI, generateKeyPair, jwtVerify, SignJWT } from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { writeFileSync } from 'node:fs'

const { publicKey, privateKey } = await generateKeyPair('Ed25519')
const pem = await exportSPKI(publicKey)
const tokens = {}
for (const alg of ['EdDSA', 'Ed25519']) {
  const token = await new SignJWT({ sub: '17' }).setProtectedHeader({ alg }).setExpirationTime('1m').sign(privateKey)
  tokens[alg] = token
  const libraries = {
    jose: () => jwtVerify(token, publicKey),
    'fast-jwt': () => createVerifier({ key: pem })(token),
    jsonwebtoken: () => jsonwebtoken.verify(token, pem),
  }
  for (const [name, verify] of Object.entries(libraries)) {
    const answer = await (async () => verify())().then(() => 'takes', () => 'refuses')
    console.log(`${name} ${answer} ${alg}`)
  }
}
writeFileSync('made.json', JSON.stringify({ jwk: await exportJWK(publicKey), tokens }))
JS
cat > python.py <<'PYTHON'
import json

import jwcrypto.jwk
import jwcrypto.jwt
import jwt
from joserfc import jwk as rfc_jwk
from joserfc import jwt as rfc_jwt

made = json.load(open("made.json"))
key = made["jwk"]
libraries = {
    "PyJWT": lambda token, alg: jwt.decode(token, jwt.PyJWK(key), [alg]),
    "PyJWT, of a key with alg,": lambda token, alg: jwt.decode(token, jwt.PyJWK(key | {"alg": "Ed25519"}), [alg]),
    "joserfc": lambda token, alg: rfc_jwt.decode(token, rfc_jwk.import_key(key), [alg]),
    "jwcrypto": lambda token, alg: jwcrypto.jwt.JWT(jwt=token, key=jwcrypto.jwk.JWK(**key), algs=[alg]),
}
for alg, token in made["tokens"].items():
    for name, verify in libraries.items():
        try:
            verify(token, alg)
            print(name, "takes", alg)
        except Exception:
            print(name, "refuses", alg)
PYTHON
{ node node.mjs && tools/bin/python -W ignore python.py; } | LC_ALL=C sort | tee seen
diff seen - <<'SEEN'
PyJWT refuses Ed25519
PyJWT takes EdDSA
PyJWT, of a key with alg, refuses Ed25519
PyJWT, of a key with alg, refuses EdDSA
fast-jwt refuses Ed25519
fast-jwt takes EdDSA
jose takes Ed25519
jose takes EdDSA
joserfc takes Ed25519
joserfc takes EdDSA
jsonwebtoken refuses Ed25519
jsonwebtoken refuses EdDSA
jwcrypto takes Ed25519
jwcrypto takes EdDSA
SEEN
