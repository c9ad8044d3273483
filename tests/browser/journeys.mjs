// The journeys of people with their own account, from one end to the other, with keys alone. The same in every engine.

import assert from "node:assert/strict";

import { PASSWORD, setting, until } from "./setting.mjs";
import { App } from "./totp.mjs";

const GOOD = "correct horse battery staple";

/** The journeys that `main.test.mjs` runs in each engine. */
export const journeys = [];

function journey(name, body, { needs } = {}) {
  journeys.push([
    name,
    async (engine) => {
      const people = [];
      /** Somebody with a browser of their own. */
      const person = async () => {
        const profile = await engine.profile();
        people.push(profile);
        return new Person(profile);
      };
      try {
        await body(person);
      } finally {
        for (const profile of people) await profile.close();
      }
    },
    needs,
  ]);
}

/** Finds elements that can be seen and reached, by their names. Runs in the page. */
const IN_PAGE = {
  isSeen: (element) => element.checkVisibility(),
  field: (label) =>
    [...document.querySelectorAll("label")].find((each) => each.textContent === label && each.checkVisibility())
      ?.control,
  button: (name) =>
    [...document.querySelectorAll("button, a[href]")].find(
      (each) => (each.getAttribute("aria-label") ?? each.textContent) === name && each.checkVisibility(),
    ),
};
const finding = (kind, name, then) => `async () => {
  const found = (${IN_PAGE[kind]})(${JSON.stringify(name)});
  return found ? (${then})(found) : null;
}`;

/** One tab of somebody's browser. */
class Person {
  constructor(profile) {
    this.profile = profile;
  }

  async open(url) {
    this.tab ??= await this.profile.tab();
    await this.tab.goto(url);
    return this;
  }

  /** The same person in another tab. */
  async another(url) {
    return new Person(this.profile).open(url);
  }

  /** Before a page is opened: the kind of authenticator that she has. */
  async has(kind) {
    this.tab ??= await this.profile.tab();
    return this.tab.authenticator(kind);
  }

  /** Something of a field or a button that can be seen, once it can. */
  of(kind, name, then = "() => true") {
    return until(`${kind} ${name}`, () => this.#see(finding(kind, name, then)));
  }

  async fill(label, text) {
    await this.of("field", label, "(field) => { field.focus(); field.select(); return true; }");
    await this.tab.keys(text);
    assert.equal(await this.of("field", label, "(field) => ({ value: field.value })").then(({ value }) => value), text);
  }

  /**
   * With the keyboard, as soon as the page is ready to be told something. A link is followed by the page: a
   * key would be answered by one that is gone.
   */
  async press(name) {
    const pressed = await this.of("button", name, `(button) => {
      if (document.querySelector('form[aria-busy="true"]')) return false;
      button.focus();
      if (button.matches("a")) return setTimeout(() => button.click()), "followed";
      return document.activeElement === button;
    }`);
    if (pressed !== "followed") await this.tab.press("Enter");
  }

  sees(text) {
    return until(`"${text}"`, () => this.#see((text) => document.body.innerText.includes(text), text));
  }

  /** A page that is on its way to another one shows nothing. */
  #see(body, ...values) {
    return this.tab.run(body, ...values).catch(() => null);
  }

  async signIn(email, password = PASSWORD) {
    await this.fill("Email address", email);
    await this.fill("Password", password);
    await this.press("Sign in");
  }

  async hasAccount(email) {
    await this.sees("This browser");
    assert.equal(await this.tab.run(() => document.getElementById("who").textContent), email);
  }

  focused() {
    return this.tab.run(() => document.activeElement.id);
  }

  /** From the account to one's recovery codes: the app of a phone, which has shown one code. */
  async setsUpApp() {
    await this.press("Set up an authenticator app");
    const app = await this.scans();
    await this.fill("Six-digit code", await app.code());
    await this.press("Confirm");
    await this.sees("The authenticator app is set up.");
    return app;
  }

  /** The app that the page shows the secret of. */
  async scans() {
    const isShown = () => this.tab.run(() => document.getElementById("totp-key").checkVisibility());
    await until("the key", isShown);
    return new App(await this.tab.run(() => document.getElementById("totp-key").textContent));
  }

  /** From the account to one's recovery codes, which are kept. */
  async addsPasskey(name) {
    await this.press("Add a passkey");
    await this.fill("Name", name);
    await this.press("Add a passkey");
    return this.keepsCodes("Sign in with it now");
  }

  /** The recovery codes that are shown, which are kept then. */
  async keepsCodes(next = "This browser") {
    await this.sees("Your recovery codes");
    const codes = await this.tab.run(() => [...document.querySelectorAll("#recovery-codes li")].map((each) => each.textContent));
    await this.press("I have kept them");
    await this.sees(next);
    assert.equal(await this.tab.run((code) => document.body.textContent.includes(code), codes[0]), false);
    return codes;
  }

  async signOut() {
    await this.press("Sign out");
    await this.sees("You are signed out.");
  }
}

journey("a forgotten password is set anew by a mailed link, which works once", async (person) => {
  const [she, email] = [await person(), setting.user()];
  await she.open(setting.page);
  await she.fill("Email address", email);
  await she.press("Forgot your password?");
  await until("the focus", async () => (await she.focused()) === "forgot-email");
  await she.press("Send the link");
  await she.sees(`If ${email} has an account, a link is on its way there.`);
  const link = await setting.link(email);
  assert.ok(link.startsWith(setting.passwordPage), link);
  await she.open(link);
  const [, token] = link.split("#");
  await she.of("field", "New password");
  assert.equal(await she.tab.run(() => location.href), setting.passwordPage);
  assert.equal(await she.tab.run((token) => document.documentElement.outerHTML.includes(token), token), false);
  assert.equal(await she.of("field", "Email address", "(field) => field.value"), email);

  await she.fill("New password", "password");
  await she.press("Set the password");
  await she.sees("Check what is marked below.");
  assert.equal(await she.focused(), "new-password");
  assert.match(await she.tab.run(() => document.getElementById("new-password-error").textContent), /^The password is among the most common ones\.$/);
  await she.fill("New password", GOOD);
  await she.press("Set the password");
  await she.sees("Your password is set");
  await she.press("Go to sign-in");
  await she.signIn(email, GOOD);
  await she.hasAccount(email);

  await she.open(link);
  await she.sees("This link does not work");
  await she.press("Ask for another link");
  await she.of("button", "Send the link");
  assert.equal(await she.tab.run(() => location.hash), "");
});

journey("an address that has no account is answered like any other", async (person) => {
  const he = await (await person()).open(setting.page);
  await he.press("Forgot your password?");
  await he.press("Send the link");
  await he.sees("Enter your email address.");
  await he.fill("Email address", "nobody@bar.com");
  await he.press("Send the link");
  await he.sees("If nobody@bar.com has an account, a link is on its way there.");
});

journey("an invitation leads to a password, and the password to the account", async (person) => {
  const email = `invited-${crypto.randomUUID().slice(0, 8)}@bar.com`;
  await setting.command(["user", "invite", email]);
  const she = await (await person()).open(await setting.link(email));
  await she.sees("Welcome to the Back Office.");
  assert.equal(await she.of("field", "Email address", "(field) => field.value"), email);
  await she.fill("New password", GOOD);
  await she.press("Set the password");
  await she.sees("Your password is set");
  await she.press("Go to sign-in");
  await she.signIn(email, GOOD);
  await she.fill("Six-digit code", await setting.code(email));
  await she.press("Confirm");
  await she.hasAccount(email);
});

journey("a link works while its owner, or somebody else, is signed in", async (person) => {
  const [she, mine, other] = [await person(), setting.user(), setting.user()];
  await she.open(setting.page);
  await she.signIn(mine);
  await she.hasAccount(mine);
  await setting.command(["user", "link", other]);
  await she.open(await setting.link(other));
  await she.fill("New password", GOOD);
  await she.press("Set the password");
  await she.sees(`In this browser ${mine} is signed in.`);
  await setting.command(["user", "link", mine]);
  await she.open(await setting.link(mine));
  await she.fill("New password", GOOD);
  await she.press("Set the password");
  await she.press("Go to sign-in");
  await she.signIn(mine, GOOD);
  await she.hasAccount(mine);
});

journey("who changes the password stays, and all others have to sign in again", async (person) => {
  const [she, thief, email] = [await person(), await person(), setting.user()];
  for (const each of [she, thief]) {
    await each.open(setting.page);
    await each.signIn(email);
    await each.hasAccount(email);
  }
  await she.press("Change the password");
  await she.fill("Current password", "wrong");
  await she.fill("New password", GOOD);
  await she.press("Change the password");
  await she.sees("This is not your current password.");
  assert.equal(await she.focused(), "current-password");
  await she.fill("Current password", PASSWORD);
  await she.fill("New password", "password");
  await she.press("Change the password");
  await she.sees("Check what is marked below.");
  assert.equal(await she.focused(), "new-password");
  await she.fill("New password", GOOD);
  await she.press("Change the password");
  await she.sees("Your password is changed. All other sessions are over.");
  await she.open(setting.page);
  await she.hasAccount(email);
  await thief.open(setting.page);
  await thief.sees("You have been signed out. Sign in again.");
  await thief.signIn(email);
  await thief.sees("The email address or the password is wrong.");
});

journey("all other sessions are ended at once, and this one lives on", async (person) => {
  const [she, other, email] = [await person(), await person(), setting.user()];
  for (const each of [other, she]) {
    await each.open(setting.page);
    await each.signIn(email);
    await each.hasAccount(email);
  }
  await she.press("Sign out all others");
  await she.sees("All other sessions are over.");
  assert.equal(await she.tab.run(() => document.querySelectorAll("#sessions li").length), 1);
  await other.open(setting.page);
  await other.sees("You have been signed out. Sign in again.");
  await she.open(setting.page);
  await she.hasAccount(email);
});

journey("a password can be looked at, and is hidden again when it is sent", async (person) => {
  const she = await (await person()).open(setting.page);
  const type = () => she.tab.run(() => document.getElementById("password").type);
  await she.fill("Password", "wrong");
  await she.press("Show password");
  assert.equal(await type(), "text");
  assert.equal(await she.of("button", "Show password", "(button) => button.ariaPressed"), "true");
  await she.press("Show password");
  assert.equal(await type(), "password");
  await she.press("Show password");
  await she.press("Sign in");
  await she.sees("Enter your email address.");
  assert.equal(await type(), "password");
});

/** The next call to a path is answered as if the session were no longer fresh. */
const makeStale = (she, path) =>
  she.tab.run((path) => {
    const send = globalThis.fetch;
    globalThis.fetch = async (input, init) => {
      if (!String(input).includes(path)) return send(input, init);
      globalThis.fetch = send;
      const body = { status: 401, code: "reauthentication_required", detail: "…", requestId: "id-1" };
      const headers = { "Content-Type": "application/problem+json" };
      return new Response(JSON.stringify(body), { status: 401, headers });
    };
  }, path);

journey("who has to show that it is still them signs in again, and the change is made", async (person) => {
  const [she, other, email] = [await person(), await person(), setting.user({ twoFactor: "email" })];
  for (const [each, mails] of [[other, 1], [she, 2]]) {
    await each.open(setting.page);
    await each.signIn(email);
    await each.fill("Six-digit code", await setting.code(email, mails));
    await each.press("Confirm");
    await each.hasAccount(email);
  }
  const second = await she.another(setting.page);
  await second.hasAccount(email);
  const sessions = () => she.tab.run(() => document.querySelectorAll("#sessions li").length);
  assert.equal(await sessions(), 2);
  await makeStale(she, "/sessions?others=true");
  await she.press("Sign out all others");
  await she.sees("For this change the server has to know that it is still you.");
  assert.equal(await she.of("field", "Email address", "(field) => field.value"), email);
  await she.fill("Password", PASSWORD);
  await she.press("Sign in again");
  await she.fill("Six-digit code", await setting.code(email, 3));
  await she.press("Confirm");
  await she.sees("All other sessions are over.");
  // The session that was replaced is none of those that are left.
  assert.equal(await sessions(), 1);
  await other.open(setting.page);
  await other.sees("You have been signed out. Sign in again.");
  // The second tab never noticed.
  await second.press("Change the password");
  await second.of("field", "New password");
  await second.press("Cancel");
  await second.open(setting.page);
  await second.hasAccount(email);
});

journey("an authenticator app is set up, ends all other sessions, and is asked for instead of a mail", async (person) => {
  const [she, thief, email] = [await person(), await person(), setting.user({ twoFactor: "email" })];
  for (const [each, mails] of [[thief, 1], [she, 2]]) {
    await each.open(setting.page);
    await each.signIn(email);
    await each.fill("Six-digit code", await setting.code(email, mails));
    await each.press("Confirm");
    await each.hasAccount(email);
  }
  await she.press("Set up an authenticator app");
  await she.sees("Scan the picture with an authenticator app on your phone.");
  const app = await she.scans();
  assert.equal(await she.focused(), "enrol-title");
  const { path, box, uri } = await she.tab.run(() => ({
    path: document.getElementById("qr-path").getAttribute("d"),
    box: document.getElementById("qr").getAttribute("viewBox"),
    uri: document.getElementById("open-app").href,
  }));
  assert.match(path, /^M[\dhvzM ,.-]+$/);
  assert.match(box, /^0 0 \d+ \d+$/);
  assert.equal(new URL(uri).searchParams.get("secret"), app.secret);
  await she.fill("Six-digit code", app.wrongCode());
  await she.press("Confirm");
  await she.sees("check that the phone shows the right time");
  assert.equal(await she.focused(), "enrol-code");
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.sees("The authenticator app is set up. All other sessions are over.");
  const codes = await she.keepsCodes();
  assert.equal(new Set(codes).size, 10);
  for (const code of codes) assert.match(code, /^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/);
  await she.sees("Unused recovery codes: 10");
  await thief.open(setting.page);
  await thief.sees("You have been signed out. Sign in again.");

  await she.signOut();
  const mails = await setting.codesTo(email);
  await she.signIn(email);
  await she.sees(`Enter what your authenticator app shows for ${email}.`);
  assert.equal(await she.tab.run(() => document.getElementById("resend").checkVisibility()), false);
  await she.fill("Six-digit code", app.wrongCode());
  await she.press("Confirm");
  await she.sees("Wait for the next one.");
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.hasAccount(email);
  assert.equal(await setting.codesTo(email), mails);
});

journey("who has lost the phone signs in with a recovery code, which works once, and sets up another app", async (person) => {
  const [she, email] = [await person(), setting.user()];
  await she.open(setting.page);
  await she.signIn(email);
  await she.hasAccount(email);
  const lost = await she.setsUpApp();
  const [first, second] = await she.keepsCodes();
  await she.signOut();
  await she.signIn(email);
  await she.press("Use a recovery code");
  await until("the focus", async () => (await she.focused()) === "recovery-code");
  await she.press("Confirm");
  await she.sees("Enter one of your recovery codes.");
  await she.fill("Recovery code", first.toLowerCase().replaceAll("-", " "));
  await she.press("Confirm");
  await she.sees("That recovery code is used up. Unused codes: 9.");
  await she.hasAccount(email);
  await she.sees("Unused recovery codes: 9");

  await she.press("Set up another app");
  await she.sees("The app from before works until then, and no longer.");
  const app = await she.scans();
  assert.notEqual(app.secret, lost.secret);
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.sees("The authenticator app is set up.");
  await she.sees("Unused recovery codes: 9");

  await she.signOut();
  await she.signIn(email);
  await she.press("Use a recovery code");
  await she.fill("Recovery code", first);
  await she.press("Confirm");
  await she.sees("The code was not accepted.");
  assert.equal(await she.focused(), "recovery-code");
  await she.press("Back to the other code");
  await she.fill("Six-digit code", await lost.code());
  await she.press("Confirm");
  await she.sees("The code was not accepted.");
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.hasAccount(email);

  await she.press("New recovery codes");
  await she.press("Make new codes");
  const renewed = await she.keepsCodes();
  assert.equal(renewed.length, 10);
  await she.signOut();
  await she.signIn(email);
  await she.press("Use a recovery code");
  await she.fill("Recovery code", second);
  await she.press("Confirm");
  await she.sees("The code was not accepted.");
  await she.fill("Recovery code", renewed[9]);
  await she.press("Confirm");
  await she.sees("Unused codes: 9.");
});

journey("an app is removed when that is confirmed, and a code comes by mail again", async (person) => {
  const [she, email] = [await person(), setting.user({ twoFactor: "email" })];
  await she.open(setting.page);
  await she.signIn(email);
  await she.fill("Six-digit code", await setting.code(email));
  await she.press("Confirm");
  await she.hasAccount(email);
  await she.setsUpApp();
  await she.keepsCodes();
  await she.press("Remove the app");
  await she.sees("From the next sign-in on, a code comes by mail instead.");
  await she.press("Cancel");
  await she.sees("Authenticator app, since");
  await she.press("Remove the app");
  await she.sees("Remove the authenticator app?");
  await she.press("Remove the app");
  await she.sees("The authenticator app is removed. All other sessions are over.");
  await she.sees("A code by mail at each sign-in");
  await she.of("button", "Set up an authenticator app");
  await she.signOut();
  await she.signIn(email);
  await she.sees(`A code is on its way to ${email}.`);
  await she.fill("Six-digit code", await setting.code(email, 2));
  await she.press("Confirm");
  await she.hasAccount(email);
});

journey("who signed in long ago signs in again before an app is set up or removed", async (person) => {
  const [she, email] = [await person(), setting.user()];
  await she.open(setting.page);
  await she.signIn(email);
  await she.hasAccount(email);
  await setting.age(email);
  await she.press("Set up an authenticator app");
  await she.sees("For this change the server has to know that it is still you.");
  await she.fill("Password", PASSWORD);
  await she.press("Sign in again");
  const app = await she.scans();
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.keepsCodes();
  await setting.age(email);
  await she.press("Remove the app");
  await she.sees("Remove the authenticator app?");
  await she.press("Remove the app");
  await she.sees("For this change the server has to know that it is still you.");
  await she.fill("Password", PASSWORD);
  await she.press("Sign in again");
  await she.sees(`Enter what your authenticator app shows for ${email}.`);
  await she.fill("Six-digit code", await app.code());
  await she.press("Confirm");
  await she.sees("The authenticator app is removed.");
});

const WITH_AUTHENTICATORS = { needs: "authenticators" };

journey("a passkey is added, is asked for after the password, and signs in alone", async (person) => {
  const [she, email] = [await person(), setting.user()];
  const phone = await she.has("phone");
  await she.open(setting.page);
  await she.signIn(email);
  await she.hasAccount(email);
  await she.addsPasskey("Phone");
  await she.press("Use the passkey");
  await she.sees("The passkey is added. All other sessions are over.");
  await she.hasAccount(email);
  await she.sees("Passkey Phone");
  await she.signOut();
  await she.signIn(email);
  await she.sees(`Show with a passkey that you are ${email}.`);
  await she.press("Use the passkey");
  await she.hasAccount(email);
  await she.signOut();
  await she.press("Sign in with a passkey");
  await she.hasAccount(email);
  await she.press("Add a passkey");
  await she.fill("Name", "Phone again");
  await she.press("Add a passkey");
  await she.sees("This device already has a passkey of the account.");
  await phone.lose();
}, WITH_AUTHENTICATORS);

journey("who has lost the key signs in with a recovery code, and adds another one", async (person) => {
  const [she, email] = [await person(), setting.user()];
  const lost = await she.has("key");
  await she.open(setting.page);
  await she.signIn(email);
  await she.hasAccount(email);
  const [code] = await she.addsPasskey("Key");
  await she.fill("Password", PASSWORD);
  await she.press("Sign in again");
  await she.press("Use the passkey");
  await she.sees("The passkey is added.");
  await she.sees("Only after the password");
  await lost.lose();
  await she.signOut();
  await she.signIn(email);
  await she.sees("Use your passkey");
  await she.press("Use a recovery code");
  await she.fill("Recovery code", code);
  await she.press("Confirm");
  await she.sees("That recovery code is used up. Unused codes: 9.");
  await she.hasAccount(email);
  const key = await she.has("key");
  await she.press("Add a passkey");
  await she.fill("Name", "Spare key");
  await she.press("Add a passkey");
  await she.sees("Sign in with it now");
  await she.fill("Password", PASSWORD);
  await she.press("Sign in again");
  await she.press("Use the passkey");
  await she.sees("The passkey is added.");
  await she.press("Remove the passkey Key");
  await she.sees("Your other factors stay as they are.");
  await she.press("Remove the passkey");
  await she.sees("The passkey is removed. All other sessions are over.");
  await she.sees("Passkey Spare key");
  await key.lose();
}, WITH_AUTHENTICATORS);

journey("after a block a password can still be asked for, and the block counts down", async (person) => {
  const [she, email] = [await person(), setting.user()];
  await she.open(setting.page);
  for (let attempt = 0; attempt < 6; attempt++) {
    await she.signIn(email, "wrong");
    await she.sees(attempt < 5 ? "The email address or the password is wrong." : "Too many attempts.");
  }
  const isBlocked = () => she.of("button", "Sign in", "(button) => button.ariaDisabled");
  const countdown = () => she.tab.run(() => document.getElementById("countdown").textContent);
  assert.equal(await isBlocked(), "true");
  assert.match(await countdown(), /^You can try again in (5:00|4:5\d)\.$/);
  await she.press("Forgot your password?");
  assert.equal(await she.tab.run(() => document.getElementById("countdown").checkVisibility()), false);
  await she.press("Send the link");
  await she.sees(`If ${email} has an account`);
  await she.press("Back to sign-in");
  await she.tab.run((ahead) => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + ahead;
  }, 120_000);
  await until("two minutes less", async () => /in (3:00|2:[345]\d)\.$/.test(await countdown()));
  // A link that was set by lifts the block at the server; a reload forgets the countdown.
  await she.open(await setting.link(email));
  await she.fill("New password", GOOD);
  await she.press("Set the password");
  await she.press("Go to sign-in");
  await she.signIn(email, GOOD);
  await she.hasAccount(email);
});

/** Makes what is kept look as if its access token had expired, and all tabs wait for a word. */
const makeOld = () => {
  const [key] = Object.keys(localStorage);
  const tokens = JSON.parse(localStorage[key]);
  localStorage[key] = JSON.stringify({ ...tokens, receivedAt: tokens.receivedAt - tokens.life });
};

export async function eightTabs(person) {
  const email = setting.user();
  const tabs = [await person()];
  await tabs[0].open(`${setting.allowed}/`);
  while (tabs.length < 8) tabs.push(await tabs[0].another(`${setting.allowed}/`));
  for (const { tab } of tabs) {
    await tab.run(async (server) => {
      const { BackofficeAuth } = await import("/backoffice-auth.js");
      globalThis.auth = new BackofficeAuth({ server });
      globalThis.changes = [];
      globalThis.auth.onChange((isSignedIn, reason) => globalThis.changes.push([isSignedIn, reason]));
      globalThis.asked = 0;
      const send = globalThis.fetch;
      globalThis.fetch = (input, init) => {
        if (String(input).endsWith("/refresh")) globalThis.asked++;
        return send(input, init);
      };
      globalThis.woken = new Promise((resolve) => {
        const channel = new BroadcastChannel("wake");
        globalThis.wake = () => (channel.postMessage("now"), resolve());
        channel.onmessage = () => resolve();
      }).then(() => globalThis.auth.accessToken()).then((token) => ({ token }), ({ code }) => ({ code }));
    }, setting.server);
  }
  const first = tabs[0].tab;
  await first.run((email, password) => globalThis.auth.signIn(email, password), email, PASSWORD);
  const access = () => JSON.parse(Object.values(localStorage)[0] ?? "null")?.access ?? null;
  const before = await first.run(access);
  for (const { tab } of tabs) {
    await until("all tabs to know", () => tab.run(() => globalThis.auth.isSignedIn && globalThis.changes.length === 1));
    assert.deepEqual(await tab.run(() => globalThis.changes), [[true, "signedIn"]]);
  }
  await first.run(makeOld);
  const made = await first.run(() => Object.values(localStorage)[0]);
  for (const { tab } of tabs) {
    await until("all tabs to see the same", () => tab.run((made) => Object.values(localStorage)[0] === made, made));
  }
  await first.run(() => globalThis.wake());
  const woken = await Promise.all(tabs.map(({ tab }) => tab.run(() => globalThis.woken)));
  const tokens = new Set(woken.map(({ token }) => token));
  assert.equal(tokens.size, 1, JSON.stringify(woken));
  assert.ok(woken[0].token && woken[0].token !== before);
  const asked = await Promise.all(tabs.map(({ tab }) => tab.run(() => globalThis.asked)));
  assert.equal(asked.reduce((sum, count) => sum + count), 1, `${asked}`);

  await tabs[7].tab.run(() => globalThis.auth.signOut());
  for (const { tab } of tabs) {
    await until("all tabs to be signed out", () => tab.run(() => globalThis.changes.length === 2));
    assert.deepEqual((await tab.run(() => globalThis.changes)).at(-1), [false, "signedOut"]);
    assert.equal(await tab.run(() => globalThis.auth.isSignedIn), false);
  }
}

journey("eight tabs that wake at once refresh once, and a sign-out in one is a sign-out in all", eightTabs);
