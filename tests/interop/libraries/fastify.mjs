import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import buildGetJwks from 'get-jwks'

const domain = 'https://auth.example.com'
const jwks = buildGetJwks({ issuersWhitelist: [domain] })

export const app = Fastify()
app.setErrorHandler((error, _, reply) => {
  if (error.code === 'JWK_NOT_FOUND') error.statusCode = 401 // needed
  reply.send(error)
})
app.register(fastifyJwt, {
  decode: { complete: true },
  secret: (_, { header: { kid, alg } }) => jwks.getPublicKey({ domain, kid, alg }),
  verify: {
    algorithms: ['RS256'],
    allowedIss: domain,
    allowedAud: 'back-office', // needed
  },
})
app.addHook('onRequest', (request) => request.jwtVerify())
app.get('/', (request) => request.user.sub)
