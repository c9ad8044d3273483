import * as oauth from 'oauth4webapi'

const issuer = new URL('https://auth.example.com')
const metadata = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(issuer, metadata)

export const check = (request) =>
  oauth.validateJwtAccessToken(server, request, 'back-office', {
    signingAlgorithms: ['RS256'],
    [oauth.clockTolerance]: 0, // needed
  })
