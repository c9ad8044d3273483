// Verifies the tokens that come in, a line each, until standard input ends.

import { createInterface } from 'node:readline'

import { EndedSessions, Refused, Unavailable, Verifier } from './verify.mjs'

const { AUTH_URL, CLIENT_ID, CLIENT_SECRET, ISSUER, AUDIENCE, JWKS_MAX_AGE, JWKS_COOLDOWN } = process.env
const ended = new EndedSessions(AUTH_URL, CLIENT_ID, CLIENT_SECRET)
const verifier = new Verifier(AUTH_URL, ISSUER, AUDIENCE, ended, {
  maxAge: Number(JWKS_MAX_AGE),
  cooldown: Number(JWKS_COOLDOWN),
})

async function judge(token) {
  try {
    return { outcome: 'good', detail: (await verifier.verify(token)).sid }
  } catch (error) {
    if (error instanceof Refused) return { outcome: 'refused', detail: error.message }
    if (error instanceof Unavailable) return { outcome: 'unavailable', detail: error.message }
    throw error
  }
}

createInterface({ input: process.stdin })
  .on('line', async (line) => {
    const [number, token] = line.split(' ')
    console.log(JSON.stringify({ number: Number(number), ...(await judge(token)) }))
  })
  .on('close', () => process.exit(0))
