#!/usr/bin/env bash
# @simplewebauthn/server 14.0.3: the options that it makes for a browser ask for user verification as `preferred`, and
# its verification of the answer requires it. Both are defaults of one library, for registration and for sign-in. So
# an authenticator that cannot verify its user (a security key without a PIN, as `preferred` allows) is used as it was
# asked to, and then refused.
#
# Seen, for a registration without the flag UV, from an authenticator in this script: "User verification was required,
# but user could not be verified"; with `requireUserVerification: false` it is good.
#
# The remedy: set both, `userVerification: 'required'` in the options where a passkey is the only factor, so that the
# browser asks for a PIN, or `requireUserVerification: false` where it is the second one.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{}' > package.json
npm install --silent --no-fund --no-audit @simplewebauthn/server@14.0.3

cat > register.mjs <<'JS'
import {
  generateAuthenticationOptions, generateRegistrationOptions, verifyRegistrationResponse,
} from '@simplewebauthn/server'
import { isoCBOR } from '@simplewebauthn/server/helpers'
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'

const rpID = 'example.com'
const options = await generateRegistrationOptions({ rpName: 'Example', rpID, userName: 'alice' })
const asked = [
  options.authenticatorSelection.userVerification,
  (await generateAuthenticationOptions({ rpID })).userVerification,
]

// An authenticator that asks for a touch (UP), knows no PIN (no UV), and has made a credential (AT).
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { x, y } = publicKey.export({ format: 'jwk' })
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64url'))
const key = isoCBOR.encode(new Map([[1, 2], [3, -7], [-1, 1], [-2, bytes(x)], [-3, bytes(y)]]))
const id = randomBytes(16)
const authData = Buffer.concat([
  createHash('sha256').update(rpID).digest(), Buffer.from([0x41]), Buffer.alloc(4), // UP and AT, counter
  Buffer.alloc(16), Buffer.from([0, id.length]), id, key,
])
const attestation = new Map([['fmt', 'none'], ['attStmt', new Map()], ['authData', new Uint8Array(authData)]])
const origin = `https://${rpID}`
const clientData = { type: 'webauthn.create', challenge: options.challenge, origin, crossOrigin: false }
const response = {
  id: id.toString('base64url'),
  rawId: id.toString('base64url'),
  type: 'public-key',
  clientExtensionResults: {},
  response: {
    clientDataJSON: Buffer.from(JSON.stringify(clientData)).toString('base64url'),
    attestationObject: Buffer.from(isoCBOR.encode(attestation)).toString('base64url'),
  },
}

const verify = (rules) =>
  verifyRegistrationResponse({
    response, expectedChallenge: options.challenge, expectedOrigin: origin, expectedRPID: rpID, ...rules,
  }).then(({ verified }) => verified, (error) => error.message)
const usual = await verify({})
const told = await verify({ requireUserVerification: false })
console.log(`asked for: ${asked}; verified: ${usual}; with requireUserVerification: false: ${told}`)
const isSo = asked.every((wish) => wish === 'preferred') && /verification was required/.test(usual) && told === true
process.exit(isSo ? 0 : 1)
JS
node register.mjs
