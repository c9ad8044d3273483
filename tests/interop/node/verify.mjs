// Verifies access tokens with jose, and knows which sessions have ended.

import { createRemoteJWKSet, jwtVerify } from 'jose'

/** The token is not good: answer 401. */
export class Refused extends Error {}

/** It cannot be told whether the token is good: answer 503. */
export class Unavailable extends Error {}

/** Follows the feed of sessions that ended before their tokens did. */
export class EndedSessions {
  static POLL = 500 // milliseconds; a sign-out is known after this and a round trip
  static TRUSTED = 10_000 // milliseconds without an answer after which nothing is concluded any more

  #ended = new Map()
  #cursor
  #completeAt = -Infinity

  constructor(authUrl, clientId, secret) {
    this.url = new URL('/api/v2/revocations', authUrl)
    const credentials = Buffer.from(`${clientId}:${secret}`).toString('base64')
    this.headers = { authorization: `Basic ${credentials}` }
    this.#follow()
  }

  has(sessionId) {
    if (this.#ended.has(sessionId)) return true
    if (performance.now() - this.#completeAt > EndedSessions.TRUSTED) {
      throw new Unavailable('the feed of ended sessions is not being read')
    }
    return false
  }

  async #follow() {
    try {
      while (await this.#read()); // at once again, until an answer brings nothing new
    } catch {
      // The known entries stay; has() tells when they have grown too old.
    }
    setTimeout(() => this.#follow(), EndedSessions.POLL)
  }

  async #read() {
    const started = performance.now()
    if (this.#cursor) this.url.searchParams.set('since', this.#cursor)
    const response = await fetch(this.url, { headers: this.headers, signal: AbortSignal.timeout(2000) })
    if (response.status !== 200) throw new Error(`the feed answered ${response.status}`)
    const { revocations, cursor } = await response.json()
    const isNews = revocations.some(({ sessionId }) => !this.#ended.has(sessionId))
    for (const [sessionId, expiresAt] of this.#ended) {
      if (expiresAt < Date.now() - 60_000) this.#ended.delete(sessionId)
    }
    for (const { sessionId, expiresAt } of revocations) this.#ended.set(sessionId, Date.parse(expiresAt))
    this.#cursor = cursor
    if (!isNews) this.#completeAt = started
    return isNews
  }
}

export class Verifier {
  constructor(authUrl, issuer, audience, ended, { maxAge = 300, cooldown = 30 } = {}) {
    this.ended = ended
    this.keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', authUrl), {
      cacheMaxAge: maxAge * 1000, // the max-age of the key set
      cooldownDuration: cooldown * 1000, // less than keys.publish_seconds
    })
    this.rules = {
      algorithms: ['RS256'],
      typ: 'at+jwt',
      issuer,
      audience,
      requiredClaims: ['exp', 'iat', 'sub', 'sid', 'jti'],
    }
  }

  /** The claims of a token that is good. */
  async verify(token) {
    let claims
    try {
      claims = (await jwtVerify(token, this.keys, this.rules)).payload
    } catch (error) {
      // An error that is not about the token is about reading the keys.
      const isAboutToken =
        /^ERR_(JW[ST]_|JOSE_|JWKS_(NO|MULTIPLE)_MATCHING)/.test(error.code) && error.code !== 'ERR_JOSE_GENERIC'
      throw new (isAboutToken ? Refused : Unavailable)(error.message)
    }
    if (this.ended.has(claims.sid)) throw new Refused('the session has ended')
    return claims
  }
}
