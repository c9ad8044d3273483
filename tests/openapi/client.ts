// A client whose types were generated from docs/openapi.json, on its whole way against a running server.
// That it compiles shows that the description says what a program needs; that it runs, that it is true.

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];
type Code = components["schemas"]["Code"];
type Pair = components["schemas"]["TokenPair"];
type Event = components["schemas"]["ManagedEvent"];

// Node's, without the types of all of Node.
declare const process: { argv: string[] };

const [server, mailbox, appCode] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: server });
const bearer = (pair: Pair) => ({ headers: { Authorization: `Bearer ${pair.accessToken.token}` } });

function check(holds: unknown, what: string): asserts holds {
  if (!holds) throw new Error(what);
  console.log(`  ${what}`);
}

/** The data of an answer that must be one of success, with its type. */
function ok<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(`refused: ${JSON.stringify(answer.error)}`);
  return answer.data;
}

/** Likewise where success has nothing to tell. */
function done(answer: { error?: Problem }): void {
  if (answer.error !== undefined) throw new Error(`refused: ${JSON.stringify(answer.error)}`);
}

async function codeFor(email: string): Promise<string> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const mails: { code: string }[] = await (await fetch(`${mailbox}/mails.json?to=${email}`)).json();
    if (mails[0]) return mails[0].code;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`no mail to ${email}`);
}

await fetch(`${mailbox}/mails`, { method: "DELETE" });
const foo = { email: "foo@bar.com", password: "Secret123" };
const began = ok(await client.POST("/api/v2/signin", { body: foo }));
// The compiler knows which of the two it is from here on.
check(began["2faRequired"] === true && !("accessToken" in began), "foo@bar.com has a code to confirm");
const { token, provider } = began["2faDetails"];
check(provider === "email", "it comes by mail");

const wrong = await client.POST("/api/v2/2fa/confirm", { body: { token, code: "x" } });
const refusal = wrong.error?.status === 401 ? wrong.error.code : undefined;
check(refusal === "invalid_two_factor", "a wrong code is refused by its name");

const code = await codeFor(foo.email);
const first: Pair = ok(await client.POST("/api/v2/2fa/confirm", { body: { token, code } }));
const refreshToken = first.refreshToken.token;
const second = ok(await client.POST("/api/v2/refresh", { body: { refreshToken } }));
check(second.accessToken.token !== first.accessToken.token, "a refresh brings another pair");
const again = ok(await client.POST("/api/v2/refresh", { body: { refreshToken } }));
check(JSON.stringify(again) === JSON.stringify(second), "a repeated one the same");

const session = ok(await client.GET("/api/v2/session", bearer(second)));
check(session.user.email === foo.email, "the session is that user's");

const ops = ok(await client.POST("/api/v2/signin", { body: { ...foo, email: "ops@bar.com" } }));
check(ops["2faRequired"] === false && "accessToken" in ops, "ops@bar.com is signed in at once");
const other = ok(await client.POST("/api/v2/signin", { body: { ...foo, email: "ops@bar.com" } }));
check("accessToken" in other, "and in another place");
const { sessions } = ok(await client.GET("/api/v2/sessions", bearer(ops)));
const elsewhere = sessions.find(({ current }) => !current);
check(elsewhere, "sees both");
const path = { id: elsewhere.id };
const end = () => client.DELETE("/api/v2/sessions/{id}", { ...bearer(ops), params: { path } });
check((await end()).response.status === 204, "ends the other one");
const twice = (await end()).error;
check(twice?.code === "not_found", "which is then not found");
const signout = await client.POST("/api/v2/signout", bearer(ops));
check(signout.response.status === 200, "and signs out");
const after = await client.GET("/api/v2/session", bearer(ops));
check(after.error?.code === "invalid_access_token", "after which its token is refused");
check(after.response.headers.has("WWW-Authenticate"), "with the header that goes with it");

const asked = ok(await client.POST("/api/v2/passkey/options"));
// The browser's own type: it takes the options as they come.
const options: PublicKeyCredentialRequestOptionsJSON = asked.publicKey;
check(options.userVerification === "required", "a passkey that signs in alone has to verify its owner");

// Likewise what it gives: in TypeScript 5.9 `toJSON()` has no type, so these are written out.
type Registration = {
  id: string; rawId: string; type: "public-key"; clientExtensionResults: object;
  response: { clientDataJSON: string; attestationObject: string; transports: string[] };
};
type Assertion = {
  id: string; rawId: string; type: "public-key"; clientExtensionResults: object;
  response: { clientDataJSON: string; authenticatorData: string; signature: string; userHandle?: string };
};
const bytes = { clientDataJSON: "", authenticatorData: "", signature: "" };
const credential: Assertion = { id: "", rawId: "", type: "public-key", clientExtensionResults: {}, response: bytes };
const stranger = await client.POST("/api/v2/passkey/signin", { body: { token: asked.token, credential } });
check(stranger.error?.code === "invalid_passkey", "an unknown one does not");
const unknown = await client.POST("/api/v2/2fa/confirm", { body: { token, credential } });
check(unknown.error?.code === "invalid_two_factor", "nor does it confirm");
const add = async (made: Registration) => {
  const wanted = ok(await client.POST("/api/v2/me/passkeys/options", bearer(second)));
  const creation: PublicKeyCredentialCreationOptionsJSON = wanted.publicKey;
  check(creation.attestation === "none", "what a browser is to make");
  return client.POST("/api/v2/me/passkeys", { ...bearer(second), body: { token: wanted.token, name: "Phone", credential: made } });
};
const made: Registration = { ...credential, response: { ...bytes, attestationObject: "", transports: [] } };
check((await add(made)).error?.code === "invalid_request", "one that does not verify is not added");

const malformed = await client.POST("/api/v2/signin", { body: { email: "", password: "" } });
const invalid = malformed.error?.code === "invalid_request" ? malformed.error : undefined;
const fields = invalid?.errors?.map(({ field }) => field);
check(fields?.join() === "email,password", "a 422 names the fields");

// The support desk.
const admin = ok(await client.POST("/api/v2/signin", { body: { ...foo, email: "admin@bar.com" } }));
check(!("accessToken" in admin) && admin["2faDetails"].provider === "totp", "admin@bar.com has an authenticator app");
const confirmation = { token: admin["2faDetails"].token, code: appCode };
const desk = bearer(ok(await client.POST("/api/v2/2fa/confirm", { body: confirmation })));

/** Page by page, newest first. */
async function* eventsOf(id: string): AsyncGenerator<Event> {
  const query: { limit: number; after?: string } = { limit: 2 };
  for (;;) {
    const params = { path: { id }, query };
    const page = ok(await client.GET("/api/v2/admin/users/{id}/events", { ...desk, params }));
    yield* page.events;
    if (!page.next) return;
    query.after = page.next;
  }
}

const search = { query: { email: "FOO@", state: "active", limit: 2 } } as const;
const { users } = ok(await client.GET("/api/v2/admin/users", { ...desk, params: search }));
const found = users[0];
check(users.length === 1 && found?.email === foo.email, "finds a user by the beginning of the address");
const caller = { ...desk, params: { path: { id: found.id } } };
const before = ok(await client.GET("/api/v2/admin/users/{id}", caller));
const mail = before.mails.find(({ kind }) => kind === "sign_in_code");
check(mail && before.obstacles.length === 0, "sees that nothing stands in the way, and the code that was mailed");

done(await client.POST("/api/v2/admin/users/{id}/disable", caller));
const disabled = ok(await client.GET("/api/v2/admin/users/{id}", caller));
const since = disabled.obstacles.map((it) => (it.kind === "disabled" ? it.since : undefined));
check(since[0] !== undefined && since[0] === disabled.disabledAt, "disables the user, and sees since when");
const link = await client.POST("/api/v2/admin/users/{id}/link", caller);
check(link.error?.code === "user_disabled", "who gets no link then");
done(await client.POST("/api/v2/admin/users/{id}/enable", caller));
done(await client.POST("/api/v2/admin/users/{id}/signout", caller));
const live = ok(await client.GET("/api/v2/admin/users/{id}/sessions", caller));
check(live.sessions.length === 0, "enables the user, who has no session left");

const events: Event[] = [];
for await (const event of eventsOf(found.id)) events.push(event);
const told = events.filter(({ actor }) => actor?.startsWith("user:")).map(({ reason }) => reason);
check(events.length > 2 && told.includes("disabled"), "reads on in the events, its own acts among them");

const invite = () => client.POST("/api/v2/admin/users", { ...desk, body: { email: "new@bar.com", twoFactor: "off" } });
const invited = ok(await invite());
check(invited.state === "invited" && invited.twoFactor === "off", "invites a new user");
check((await invite()).error?.code === "address_taken", "once");

// Every code has a sentence, or this does not compile: a new one asks for its words.
const sentences: Record<Code, string> = {
  malformed_request: "", invalid_credentials: "", invalid_two_factor: "", invalid_passkey: "",
  invalid_link: "", invalid_refresh_token: "", missing_access_token: "", invalid_access_token: "",
  reauthentication_required: "", invalid_client: "", forbidden_origin: "", forbidden: "",
  second_factor_required: "", wrong_password: "", not_found: "", method_not_allowed: "", request_timeout: "",
  address_taken: "", user_disabled: "", passkey_known: "", too_many_passkeys: "",
  body_too_large: "", unsupported_media_type: "", invalid_request: "", too_many_attempts: "",
  head_too_large: "", internal: "", unavailable: "", overloaded: "",
};
check(Object.keys(sentences).length > 0, "and every code is known to the compiler");
