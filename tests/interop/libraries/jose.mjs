import { createRemoteJWKSet, jwtVerify } from 'jose'

const keys = createRemoteJWKSet(new URL('https://auth.example.com/.well-known/jwks.json'), {
  cacheMaxAge: 300_000, // ten minutes unless set
})

export const verify = (token) =>
  jwtVerify(token, keys, {
    algorithms: ['RS256'],
    issuer: 'https://auth.example.com',
    audience: 'back-office', // needed
    typ: 'at+jwt', // needed
  })
