// Shows tokens to each library of this folder, and says what it made of them.
//
//   node judge.mjs FILE...   < {"name of the case": "token", ...}   > {"FILE": {"name of the case": "good" | reason}}

import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

/** Throws if the library refuses the token, in whatever form it takes one. */
async function show(library, token) {
  const headers = { authorization: `Bearer ${token}` }
  if (library.verify) return library.verify(token)
  if (library.check) return library.check(new Request('https://app.example.com/', { headers }))
  if (library.signedIn) {
    const error = await new Promise((next) => library.signedIn({ method: 'GET', headers }, {}, next))
    if (error) throw error
    return
  }
  const answer = library.app.inject ? await library.app.inject({ url: '/', headers }) : await library.app.request('/', { headers })
  const status = answer.statusCode ?? answer.status
  if (status !== 200) throw new Error(`status ${status}`)
}

const cases = Object.entries(JSON.parse(readFileSync(0, 'utf8')))
const verdicts = {}
for (const file of process.argv.slice(2)) {
  const library = await import(pathToFileURL(file))
  const said = (verdicts[file] = {})
  for (const [name, token] of cases) {
    said[name] = await show(library, token).then(
      () => 'good',
      (error) => String(error.message),
    )
  }
}
console.log(JSON.stringify(verdicts))
process.exit(0)
