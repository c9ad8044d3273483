// docs/browser/backoffice-auth.js, on pages with nothing else on them: the effects of tabs, clocks,
// networks and servers on it.

import assert from "node:assert/strict";

import { PASSWORD, accessToken, check, expire, routeFirst, setting, signIn, tab, until } from "./setting.mjs";
import { App } from "./totp.mjs";

const REFRESH = "**/api/v2/refresh";
const refreshes = (profile) =>
  profile.requests.filter((request) => request.url().endsWith("/refresh") && request.method() === "POST");
const kept = (page) => page.evaluate(() => JSON.parse(Object.values(localStorage)[0] ?? "null"));
const withoutLocks = () => Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
const status = async (token) => {
  const headers = { Authorization: `Bearer ${token}` };
  return (await fetch(`${setting.server}/api/v2/session`, { headers })).status;
};
const isSignedIn = (page) => page.evaluate(() => auth.isSignedIn);
const changes = (page) => page.evaluate(() => changes);

/** A server without a grace: there the lock alone keeps tabs apart. */
const strict = once(() => setting.another("strict", { BACKOFFICE_AUTH__TOKENS__REFRESH_GRACE_SECONDS: "0" }));
const shortLived = once(() => setting.another("short", { BACKOFFICE_AUTH__TOKENS__ACCESS_TTL_SECONDS: "12" }));

function once(make) {
  let made;
  return () => (made ??= make());
}

/** So many tabs of one person whose access token has expired meanwhile. */
async function tabsThatWake(context, origin, server, count = 8) {
  const tabs = [];
  for (let number = 0; number < count; number++) tabs.push(await tab(context, origin, server));
  await signIn(tabs[0], setting.user());
  const { access } = await kept(tabs[0]);
  await expire(tabs[0]);
  const { receivedAt } = await kept(tabs[0]);
  for (const page of tabs) {
    await until("all tabs to see the same", async () => (await kept(page))?.receivedAt === receivedAt);
  }
  return { tabs, access };
}

/** All ask at once, and all get one token, which is another one than before. */
async function wakeAtOnce({ tabs, access }) {
  const outcomes = await Promise.all(tabs.map(accessToken));
  const tokens = new Set(outcomes.map(({ value }) => value));
  assert.equal(tokens.size, 1, JSON.stringify(outcomes.map(({ code }) => code)));
  const [token] = tokens;
  assert.ok(token && token !== access);
  for (const page of tabs) {
    await until("the pair to be there", async () => (await kept(page))?.access === token);
    assert.equal(await isSignedIn(page), true);
  }
  return token;
}

check("eight tabs that wake at once get one pair, by one request", async (profile) => {
  const waking = await tabsThatWake(profile.context, setting.allowed, setting.server);
  const token = await wakeAtOnce(waking);
  assert.equal(refreshes(profile).length, 1);
  assert.equal(await status(token), 200);
});

check("eight tabs without locks get one pair too, by the server's grace", async (profile) => {
  await profile.context.addInitScript(withoutLocks);
  await wakeAtOnce(await tabsThatWake(profile.context, setting.allowed, setting.server));
});

// Red, mostly, with `withoutLocks`: a token that is used a second time ends the session.
check("with the lock eight tabs need no grace", async (profile) => {
  await wakeAtOnce(await tabsThatWake(profile.context, setting.allowed, await strict()));
  assert.equal(refreshes(profile).length, 1);
});

check("a page without TLS has no locks, and its tabs stay signed in as well", async ({ context }) => {
  const waking = await tabsThatWake(context, setting.insecure, setting.server, 3);
  assert.equal(await waking.tabs[0].evaluate(() => isSecureContext || "locks" in navigator), false);
  await wakeAtOnce(waking);
});

check("the next tab goes on where a tab died that held the lock", async (profile) => {
  const { tabs, access } = await tabsThatWake(profile.context, setting.allowed, setting.server, 2);
  const [dying, other] = tabs;
  let answered;
  // The server has answered, and the tab never hears of it.
  await dying.route(REFRESH, async (route) => void (answered = await (await route.fetch()).json()));
  dying.evaluate(() => void auth.accessToken());
  await until("the answer", () => answered);
  const waiting = accessToken(other);
  await until("the lock to be waited for", () =>
    other.evaluate(async () => (await navigator.locks.query()).pending.length === 1),
  );
  assert.equal(refreshes(profile).length, 1);
  await dying.close();
  const { value } = await waiting;
  assert.notEqual(value, access);
  assert.equal(value, answered.accessToken.token);
});

check("an answer that is lost on its way is got again", async ({ context }) => {
  const { tabs: [page] } = await tabsThatWake(context, setting.allowed, setting.server, 1);
  const lost = [];
  const lose = async (route) => {
    const answer = await route.fetch();
    lost.push((await answer.json()).accessToken.token);
    await route.abort();
  };
  await routeFirst(page, REFRESH, 2, lose);
  const { value } = await accessToken(page);
  assert.deepEqual(lost, [value, value]);
  assert.equal(await isSignedIn(page), true);
});

check("a pair that was made some time ago is as old as the Date of its answer says", async ({ context }) => {
  const { tabs: [page] } = await tabsThatWake(context, setting.allowed, setting.server, 1);
  await page.route(REFRESH, async (route) => {
    const response = await route.fetch();
    const { createdAt } = (await response.json()).accessToken;
    const date = new Date(Date.parse(createdAt) + 20_000).toUTCString();
    await route.fulfill({ response, headers: { ...response.headers(), date } });
  });
  assert.ok((await accessToken(page)).value);
  assert.equal((await kept(page)).life, (900 - 20) * 1000);
});

check("an answer that is lost for longer than the grace signs out, and says so", async ({ context }) => {
  const { tabs: [page, other] } = await tabsThatWake(context, setting.allowed, await strict(), 2);
  await routeFirst(page, REFRESH, 1, async (route) => void (await route.fetch(), await route.abort()));
  assert.equal((await accessToken(page)).code, "signed_out");
  assert.deepEqual(await changes(page), [[true, "signedIn"], [false, "ended"]]);
  await until("the other tab", async () => !(await isSignedIn(other)));
  await until("its notice", async () => (await changes(other)).at(-1)?.[0] === false);
});

check("tokens are renewed ahead of their expiry, and nobody waits for it", async (profile) => {
  const page = await tab(profile.context, setting.allowed, await shortLived());
  await signIn(page, setting.user());
  const seen = await page.evaluate(async () => {
    const seen = [];
    const end = performance.now() + 11_000;
    while (performance.now() < end) {
      const asked = performance.now();
      const token = await auth.accessToken();
      const waited = performance.now() - asked;
      const { exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
      seen.push({ token, waited, left: exp * 1000 - Date.now() });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return seen;
  });
  assert.equal(new Set(seen.map(({ token }) => token)).size, 2);
  assert.equal(refreshes(profile).length, 1);
  assert.ok(Math.min(...seen.map(({ left }) => left)) > 500, "a token was handed out at its end");
});

for (const [words, days] of [["a day ahead", 1], ["a day behind", -1]]) {
  check(`a clock that is ${words} changes nothing`, async (profile) => {
    const clock = { time: Date.now() + days * 86_400_000 };
    const page = await tab(profile.context, setting.allowed, setting.server, { clock });
    await signIn(page, setting.user());
    const first = (await accessToken(page)).value;
    await page.clock.fastForward("13:00");
    assert.equal((await accessToken(page)).value, first);
    assert.equal(refreshes(profile).length, 0);
    await page.clock.fastForward("01:30");
    assert.equal((await accessToken(page)).value, first, "there is time, so it is not waited for");
    await until("the next", async () => (await kept(page)).access !== first);
    assert.equal(refreshes(profile).length, 1);
  });
}

check("a clock that is set back while the page is open makes no token younger", async (profile) => {
  const page = await tab(profile.context, setting.allowed, setting.server, { clock: { time: Date.now() } });
  await signIn(page, setting.user());
  const first = (await accessToken(page)).value;
  await page.clock.fastForward("20:00");
  await page.clock.setSystemTime(Date.now() - 3_600_000);
  assert.notEqual((await accessToken(page)).value, first);
});

check("after a laptop's sleep the page that is shown renews its token by itself", async (profile) => {
  const page = await tab(profile.context, setting.allowed, setting.server, { clock: { time: Date.now() } });
  await signIn(page, setting.user());
  const { access } = await kept(page);
  // Timers that were due meanwhile fire once, late, as they do after a sleep.
  await page.clock.fastForward("08:00:00");
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await until("the next", async () => (await kept(page)).access !== access);
  assert.equal(refreshes(profile).length, 1);
});

check("a 503 is tried again, later each time, and no sooner than it says", async (profile) => {
  const { tabs: [page] } = await tabsThatWake(profile.context, setting.allowed, setting.server, 1);
  const at = [];
  const busy = (route) => {
    at.push(performance.now());
    const body = JSON.stringify({ status: 503, code: "unavailable", detail: "…", retryAfter: 1 });
    const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" };
    return route.fulfill({ status: 503, headers, body });
  };
  await routeFirst(page, REFRESH, 3, busy);
  assert.ok((await accessToken(page)).value);
  assert.equal(at.length, 3);
  assert.ok(at.every((time, index) => index === 0 || time - at[index - 1] > 950), `${at}`);
  assert.equal(refreshes(profile).length, 4);
});

check("a 429 is told at once, and until it ends no tab asks again", async (profile) => {
  const { tabs } = await tabsThatWake(profile.context, setting.allowed, setting.server, 2);
  await profile.context.route(REFRESH, (route) => {
    const body = JSON.stringify({ status: 429, code: "too_many_attempts", detail: "…", retryAfter: 300 });
    const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" };
    return route.fulfill({ status: 429, headers, body });
  });
  for (const page of [tabs[0], tabs[0], tabs[1]]) {
    const { code, retryAfter } = await accessToken(page);
    assert.equal(code, "too_many_attempts");
    assert.ok(retryAfter > 290 && retryAfter <= 300);
  }
  assert.equal(refreshes(profile).length, 1);
  assert.equal(await isSignedIn(tabs[1]), true);
});

check("who asks while the network is gone gets a token when it is back", async ({ context }) => {
  const { tabs: [page] } = await tabsThatWake(context, setting.allowed, setting.server, 1);
  await context.setOffline(true);
  const waiting = accessToken(page);
  assert.equal(await page.evaluate(() => outcome(auth.accessToken({ signal: AbortSignal.timeout(300) }))).then(({ name }) => name), "TimeoutError");
  assert.equal(await isSignedIn(page), true);
  await context.setOffline(false);
  assert.ok((await waiting).value);
});

check("something in between that answers in the server's place signs nobody out", async ({ context }) => {
  const { tabs: [page] } = await tabsThatWake(context, setting.allowed, setting.server, 1);
  const portal = (status, body) => (route) =>
    route.fulfill({ status, headers: { "Access-Control-Allow-Origin": "*", "Content-Type": "text/html" }, body });
  await routeFirst(page, REFRESH, 1, portal(200, "<h1>Welcome to our café</h1>"));
  await routeFirst(page, REFRESH, 1, portal(401, "<h1>Sign in to our café</h1>"));
  await routeFirst(page, REFRESH, 1, portal(200, "{}"));
  assert.ok((await accessToken(page)).value);
});

check("a token that a service refuses is replaced once, and a session that is over is noticed", async (profile) => {
  const page = await tab(profile.context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  const ask = () => page.evaluate(() => outcome(auth.fetch("/api/v2/session").then((answer) => answer.status)));
  await routeFirst(page, "**/api/v2/session", 1, (route) => route.fulfill({ status: 401, headers: { "Access-Control-Allow-Origin": "*" } }));
  assert.equal((await ask()).value, 200);
  // The browser tells of a request in its own time.
  await until("the refresh", async () => refreshes(profile).length > 0);
  assert.equal(refreshes(profile).length, 1);
  const { access } = await kept(page);
  const bearer = { Authorization: `Bearer ${access}` };
  await fetch(`${setting.server}/api/v2/signout`, { method: "POST", headers: bearer });
  assert.equal((await ask()).code, "signed_out");
  assert.deepEqual((await changes(page)).at(-1), [false, "ended"]);
});

check("the token goes to nobody but the server and the apis that were named", async (profile) => {
  const page = await tab(profile.context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  const asked = profile.requests.length;
  const outcome = await page.evaluate((url) => outcome(auth.fetch(url)), `${setting.refused}/`);
  assert.equal(outcome.name, "TypeError");
  assert.equal(profile.requests.length, asked);
});

/** Answers calls to a path with JSON, and notes what was sent. */
async function answering(page, path, status, body) {
  const sent = [];
  await page.route(`**/api/v2${path}`, (route) => {
    sent.push([route.request().method(), route.request().postDataJSON()]);
    const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": status < 400 ? "application/json" : "application/problem+json" };
    return route.fulfill({ status, headers, body: body && JSON.stringify(body) });
  });
  return sent;
}

check("a challenge tells all that can confirm it, whatever the words mean", async ({ context }) => {
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user()];
  const expiresAt = new Date(Date.now() + 600_000).toISOString();
  const details = { token: "t", provider: "pigeon", providers: ["pigeon", "totp", "recovery_code"], expiresAt };
  await answering(page, "/signin", 200, { "2faRequired": true, "2faDetails": details });
  const { provider, providers } = await signIn(page, email);
  assert.deepEqual([provider, providers], ["pigeon", details.providers]);
});

check("a recovery code is sent as it was typed, without spaces, and brings what is left of them", async ({ context }) => {
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user({ twoFactor: "email" })];
  const challenge = await signIn(page, email);
  const confirm = (code) => page.evaluate(([challenge, code]) => auth.confirm(challenge, code), [challenge, code]);
  const sent = [];
  await page.route("**/api/v2/2fa/confirm", async (route) => {
    sent.push(route.request().postDataJSON().code);
    const response = await route.fetch({ postData: JSON.stringify({ token: challenge.token, code: await setting.code(email) }) });
    await route.fulfill({ response, json: { ...(await response.json()), recoveryCodesLeft: 0 } });
  });
  assert.deepEqual(await confirm(" abcd-efgh jkmn pqrs "), { recoveryCodesLeft: 0 });
  assert.deepEqual(sent, ["abcd-efghjkmnpqrs"]);
  assert.equal(await isSignedIn(page), true);
});

check("an app that replaces another one brings no recovery codes while there are some", async ({ context }) => {
  const page = await tab(context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  const sent = await answering(page, "/me/totp/confirm", 200, {});
  assert.deepEqual(await page.evaluate(() => outcome(auth.confirmTotp("id-1", "123 456"))), { value: [] });
  assert.deepEqual(sent, [["POST", { id: "id-1", code: "123456" }]]);
});

check("an app is set up, recovery codes are made, and both go, by calls of the module", async ({ context }) => {
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user()];
  await signIn(page, email);
  const { id, secret, uri, qr, expiresIn } = await page.evaluate(() => auth.beginTotp());
  assert.match(secret, /^[A-Z2-7]{32}$/);
  assert.ok(uri.startsWith("otpauth://totp/") && uri.includes(secret), uri);
  assert.ok(qr.path.startsWith("M") && qr.size > 20);
  assert.ok(expiresIn > 590 && expiresIn <= 600, `${expiresIn}`);
  const app = new App(secret);
  const confirm = (code) => page.evaluate(([id, code]) => outcome(auth.confirmTotp(id, code)), [id, code]);
  assert.equal((await confirm(app.wrongCode())).code, "invalid_two_factor");
  const { value: codes } = await confirm(await app.code());
  assert.equal(codes.length, 10);
  const { totp, recoveryCodesLeft } = await page.evaluate(() => auth.me());
  assert.ok(totp.createdAt);
  assert.equal(recoveryCodesLeft, 10);
  const renewed = await page.evaluate(() => auth.makeRecoveryCodes());
  assert.equal(renewed.length, 10);
  assert.ok(!renewed.includes(codes[0]));
  await page.evaluate(() => auth.removeTotp());
  assert.equal((await page.evaluate(() => auth.me())).totp, undefined);
  assert.equal((await page.evaluate(() => outcome(auth.makeRecoveryCodes()))).code, "not_found");
  assert.deepEqual(await changes(page), [[true, "signedIn"]]);
});

check("a server that takes no authenticator apps lets nobody begin to set one up", async ({ context }) => {
  const server = await setting.another("without-apps", { BACKOFFICE_AUTH__TWO_FACTOR__TOTP: "false" });
  const page = await tab(context, setting.allowed, server);
  await signIn(page, setting.user());
  const { code } = await page.evaluate(() => outcome(auth.beginTotp()));
  assert.ok(["method_not_allowed", "not_found"].includes(code), code);
});

const signInAgain = (page, email, password = PASSWORD) =>
  page.evaluate(([email, password]) => outcome(auth.signInAgain(email, password)), [email, password]);

check("a step-up takes the session's place in all tabs, tells none of them, and ends the old session", async ({ context }) => {
  const [page, other, email] = [await tab(context, setting.allowed, setting.server), await tab(context, setting.allowed, setting.server), setting.user()];
  await signIn(page, email);
  await until("its notice", async () => (await changes(other)).length === 1);
  const { access } = await kept(page);
  assert.deepEqual(await signInAgain(page, email), { value: null });
  const added = (await kept(page)).access;
  assert.notEqual(added, access);
  assert.equal(await status(access), 401);
  await until("the other tab", async () => (await kept(other))?.access === added);
  assert.equal((await accessToken(other)).value, added);
  await page.evaluate(() => auth.signOut());
  await until("the end", async () => (await changes(other)).at(-1)?.[0] === false);
  for (const each of [page, other]) assert.deepEqual(await changes(each), [[true, "signedIn"], [false, "signedOut"]]);
});

check("a step-up with a mailed code is one, too", async ({ context }) => {
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user({ twoFactor: "email" })];
  const confirm = (challenge, code) => page.evaluate(([challenge, code]) => auth.confirm(challenge, code), [challenge, code]);
  const first = await signIn(page, email);
  assert.deepEqual([first.provider, first.providers, first.isStepUp], ["email", ["email"], false]);
  await confirm(first, await setting.code(email));
  const { access } = await kept(page);
  const { value: again } = await signInAgain(page, email);
  assert.equal((await kept(page)).access, access, "nothing changes before the code is confirmed");
  await confirm(again, await setting.code(email, 2));
  assert.equal(await status(access), 401);
  assert.equal(await status((await kept(page)).access), 200);
  assert.deepEqual(await changes(page), [[true, "signedIn"]]);
});

// Red without the question whose session it is.
check("a step-up that signed in somebody else is none", async (profile) => {
  const [page, email, other] = [await tab(profile.context, setting.allowed, setting.server), setting.user(), setting.user()];
  await signIn(page, email);
  const { access } = await kept(page);
  const answered = page.waitForResponse((answer) => answer.url().endsWith("/signin"));
  assert.equal((await signInAgain(page, other)).code, "another_person");
  assert.equal((await kept(page)).access, access);
  assert.equal(await status(access), 200);
  assert.equal(await status((await (await answered).json()).accessToken.token), 401);
});

check("a step-up without a session, or with a wrong password, changes nothing", async ({ context }) => {
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user()];
  assert.equal((await signInAgain(page, email)).code, "signed_out");
  await signIn(page, email);
  const { access } = await kept(page);
  assert.equal((await signInAgain(page, email, "wrong")).code, "invalid_credentials");
  assert.equal((await kept(page)).access, access);
});

check("an answer of a refresh that comes after a step-up does not bring the old session back", async ({ context }) => {
  await context.addInitScript(withoutLocks);
  const [page, email] = [await tab(context, setting.allowed, setting.server), setting.user()];
  await signIn(page, email);
  let goOn;
  const isHeld = new Promise((resolve) => {
    routeFirst(page, REFRESH, 1, async (route) => {
      const answer = await route.fetch();
      resolve();
      await new Promise((going) => (goOn = going));
      await route.fulfill({ response: answer });
    });
  });
  const { access } = await kept(page);
  const waiting = page.evaluate((refused) => outcome(auth.accessToken({ refused })), access);
  await isHeld;
  await signInAgain(page, email);
  const added = (await kept(page)).access;
  goOn();
  assert.equal((await waiting).value, added);
  assert.equal((await kept(page)).access, added);
  assert.equal(await status(added), 200);
});

check("a call that wants a fresh session is not refreshed, and told as it is", async (profile) => {
  const page = await tab(profile.context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  await page.route("**/api/v2/me", (route) =>
    route.fulfill({
      status: 401,
      headers: {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "WWW-Authenticate",
        "Content-Type": "application/problem+json",
        "WWW-Authenticate": 'Bearer error="insufficient_user_authentication", max_age="900"',
      },
      body: JSON.stringify({ status: 401, code: "reauthentication_required", detail: "…" }),
    }),
  );
  assert.equal((await page.evaluate(() => outcome(auth.fetch("/api/v2/me").then(({ status }) => status)))).value, 401);
  assert.equal((await page.evaluate(() => outcome(auth.me()))).code, "reauthentication_required");
  assert.equal(refreshes(profile).length, 0);
});

check("a page of an origin that is not allowed gets no answer", async ({ context }) => {
  const page = await tab(context, setting.refused, setting.server);
  const email = setting.user();
  const refused = await page.evaluate((email) => outcome(auth.signIn(email, "Secret123")), email);
  assert.equal(refused.code, "network");
  const allowed = await tab(context, setting.allowed, setting.server);
  await signIn(allowed, email);
  assert.equal(await isSignedIn(allowed), true);
});

check("a page of an origin that is not allowed spends none of its visitors' attempts", async ({ context }) => {
  const page = await tab(context, setting.refused, setting.server);
  const email = setting.user();
  const body = JSON.stringify({ email, password: "wrong" });
  await page.evaluate(async ([url, body]) => {
    // A form needs no preflight: the browser sends it, and keeps the answer from the page.
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    for (let count = 0; count < 8; count++) await fetch(url, { method: "POST", mode: "no-cors", headers, body });
  }, [`${setting.server}/api/v2/signin`, body]);
  const allowed = await tab(context, setting.allowed, setting.server);
  await signIn(allowed, email);
  assert.equal(await isSignedIn(allowed), true);
});

check("a page reads from a refusal what it needs, across origins", async ({ context }) => {
  const page = await tab(context, setting.allowed, setting.server);
  const headers = await page.evaluate(async (server) => {
    const answer = await fetch(`${server}/api/v2/refresh`, { method: "POST", body: '{"refreshToken": "x"}', headers: { "Content-Type": "application/json" } });
    return [...answer.headers.keys()];
  }, setting.server);
  for (const name of ["date", "www-authenticate", "x-request-id"]) assert.ok(headers.includes(name), `${headers}`);
});

check("an answer of a refresh that comes after a sign-out brings nobody back", async ({ context }) => {
  const { tabs: [page, other] } = await tabsThatWake(context, setting.allowed, setting.server, 2);
  let goOn;
  const isHeld = new Promise((resolve) => {
    routeFirst(page, REFRESH, 1, async (route) => {
      const answer = await route.fetch();
      resolve();
      await new Promise((going) => (goOn = going));
      await route.fulfill({ response: answer });
    });
  });
  const waiting = accessToken(page);
  await isHeld;
  // Its own refresh would wait for the lock: this is a sign-out that cannot reach the server.
  await other.route("**/api/v2/**", (route) => route.abort());
  await other.evaluate(() => auth.signOut());
  await until("the first tab to know", async () => !(await isSignedIn(page)));
  goOn();
  assert.equal((await waiting).code, "signed_out");
  assert.equal(await kept(page), null);
});

check("a sign-out without a network signs out here, and says that the server does not know", async ({ context }) => {
  const page = await tab(context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  await context.setOffline(true);
  assert.equal(await page.evaluate(() => auth.signOut()), false);
  assert.equal(await kept(page), null);
});

check("a browser that forbids storage keeps the session as long as the page", async ({ context }) => {
  await context.addInitScript(() => {
    for (const name of ["getItem", "setItem", "removeItem"]) {
      Storage.prototype[name] = () => {
        throw new DOMException("no", "SecurityError");
      };
    }
  });
  const page = await tab(context, setting.allowed, setting.server);
  await signIn(page, setting.user());
  assert.ok((await accessToken(page)).value);
});

check("tokens in memory are gone with the page", async ({ context }) => {
  const page = await tab(context, setting.allowed, setting.server, { store: "memory" });
  await signIn(page, setting.user());
  assert.ok((await accessToken(page)).value);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  const other = await tab(context, setting.allowed, setting.server, { store: "memory" });
  assert.equal(await isSignedIn(other), false);
});
