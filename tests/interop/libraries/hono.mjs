import { Hono } from 'hono'
import { jwk } from 'hono/jwk'

const signedIn = jwk({
  jwks_uri: 'https://auth.example.com/.well-known/jwks.json',
  alg: ['RS256'],
  verification: {
    iss: 'https://auth.example.com',
    aud: 'back-office', // needed
    typ: 'at+jwt', // needed
    iat: false, // needed
  },
})

export const app = new Hono().use(signedIn).get('/', (c) => c.text(c.get('jwtPayload').sub))
