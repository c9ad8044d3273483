import { expressjwt } from 'express-jwt'
import jwksRsa from 'jwks-rsa'

export const signedIn = expressjwt({
  secret: jwksRsa.expressJwtSecret({
    jwksUri: 'https://auth.example.com/.well-known/jwks.json',
    cache: true,
    cacheMaxAge: 300_000, // ten minutes unless set
    rateLimit: true,
  }),
  algorithms: ['RS256'],
  issuer: 'https://auth.example.com',
  audience: 'back-office', // needed
})
