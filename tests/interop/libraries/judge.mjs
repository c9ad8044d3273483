// Shows tokens to each library of this folder, and says what it made of them.
//
//   node judge.mjs FILE...  < {"CASE": "TOKEN", ...}  > {"FILE": {"CASE": "good" or why not, ...}, ...}

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** Throws if the library refuses the token, in the form that it takes. */
async function show(library, token) {
  const headers = { authorization: `Bearer ${token}` }
  if (library.verify) return library.verify(token)
  if (library.check) return library.check(new Request('https://app.example.com/', { headers }))
  if (library.signedIn) {
    const error = await new Promise((next) => library.signedIn({ method: 'GET', headers }, {}, next))
    if (error) throw error
    return
  }
  const { app } = library
  const answer = await (app.inject ? app.inject({ url: '/', headers }) : app.request('/', { headers }))
  const status = answer.statusCode ?? answer.status
  if (status !== 200) throw new Error(`status ${status}`)
}

const files = process.argv.slice(2)
const libraries = []
// One after the other: Node 20 fails if a module is imported by one and required by another at the same time.
for (const file of files) libraries.push(await import(pathToFileURL(file)))
// The input is read only now: the tokens do not grow old while the libraries are loaded.
const cases = Object.entries(JSON.parse(readFileSync(0, 'utf8')))
const verdicts = {}
for (const [at, file] of files.entries()) {
  verdicts[file] = {}
  for (const [name, token] of cases) {
    verdicts[file][name] = await show(libraries[at], token).then(
      () => 'good',
      (error) => String(error.message),
    )
  }
}
console.log(JSON.stringify(verdicts))
process.exit(0)
