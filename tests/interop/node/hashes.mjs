// Writes exports with hashes that each library has made of one password: node hashes.mjs FOLDER PASSWORD

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hash as argon2 } from '@node-rs/argon2'
import { PasswordHasher } from 'aspnetcore-identity-password-hasher/build/PasswordHasher.js'
import bcrypt from 'bcryptjs'
import { hashPassword } from 'better-auth/crypto'
import { FirebaseScrypt } from 'firebase-scrypt'

const [folder, password] = process.argv.slice(2)

const people = [
  { id: 'u1', email: 'better-auth@example.com', password: await hashPassword(password) },
  { id: 'u2', email: 'npm-bcryptjs@example.com', password: await bcrypt.hash(password, 10) },
  { id: 'u3', email: 'npm-argon2@example.com', password: await argon2(password, { parallelism: 4 }) },
  { id: 'u4', email: 'better-auth-social@example.com', password: null },
]
writeFileSync(join(folder, 'better-auth.json'), JSON.stringify(people))

const aspnet = new PasswordHasher()
const identities = [
  ['3000', 'aspnet-3@example.com', await aspnet.hashPasswordV3(password)],
  ['3001', 'aspnet-2@example.com', await aspnet.hashPasswordV2(password)],
]
writeFileSync(join(folder, 'aspnet.csv'), ['Id,Email,PasswordHash', ...identities].join('\n'))

const project = {
  signerKey: randomBytes(64).toString('base64'),
  saltSeparator: 'Bw==',
  rounds: 8,
  memCost: 14,
}
const salt = randomBytes(12).toString('base64')
const passwordHash = await new FirebaseScrypt(project).hash(password, salt)
const users = [
  { localId: 'a', email: 'firebase@example.com', emailVerified: true, passwordHash, salt, providerUserInfo: [] },
  { localId: 'b', email: 'firebase-google@example.com', emailVerified: true, providerUserInfo: [] },
]
writeFileSync(join(folder, 'firebase.json'), JSON.stringify({ users }, null, 2))
writeFileSync(
  join(folder, 'firebase-config'),
  `hash_config {
  algorithm: SCRYPT,
  base64_signer_key: ${project.signerKey},
  base64_salt_separator: ${project.saltSeparator},
  rounds: ${project.rounds},
  mem_cost: ${project.memCost},
}
`,
)
