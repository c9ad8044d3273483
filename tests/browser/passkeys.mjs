// Passkeys, with the authenticators that Chromium can act as: the pages, and the module under them.

import assert from "node:assert/strict";

import { withoutAutofill } from "./engines.mjs";
import { assertAccessible, picture } from "./look.mjs";
import { account, alert, confirm, enter, focused, open, signedOut } from "./page.mjs";
import { PASSWORD, check, setting, signIn, tab, until } from "./setting.mjs";
import { App } from "./totp.mjs";

const SMALL = { viewport: { width: 720, height: 620 } };

/** A phone or a laptop whose passkeys are synced. */
const PHONE = {
  protocol: "ctap2",
  ctap2Version: "ctap2_1",
  transport: "internal",
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  defaultBackupEligibility: true,
  defaultBackupState: true,
};
/** A key that keeps no passkeys and has no PIN. */
const KEY = { protocol: "ctap2", transport: "usb", hasResidentKey: false, hasUserVerification: false };
/** One from before passkeys. */
const OLD_KEY = { protocol: "u2f", transport: "usb", hasResidentKey: false, hasUserVerification: false };

/** The authenticator that Chromium simulates, in one tab. */
class Authenticator {
  static async of(page, kind) {
    const authenticator = new Authenticator();
    authenticator.session = await page.context().newCDPSession(page);
    await authenticator.session.send("WebAuthn.enable");
    const options = { automaticPresenceSimulation: true, ...kind };
    const { authenticatorId } = await authenticator.session.send("WebAuthn.addVirtualAuthenticator", { options });
    authenticator.id = authenticatorId;
    return authenticator;
  }

  async passkeys() {
    return (await this.#tell("getCredentials")).credentials;
  }

  /** Whether somebody is there to touch it. */
  touches(enabled) {
    return this.#tell("setAutomaticPresenceSimulation", { enabled });
  }

  /** Whether it knows who touches it. */
  knows(isUserVerified) {
    return this.#tell("setUserVerified", { isUserVerified });
  }

  lose() {
    return this.#tell("removeVirtualAuthenticator");
  }

  #tell(what, more = {}) {
    return this.session.send(`WebAuthn.${what}`, { authenticatorId: this.id, ...more });
  }
}

const enrolled = (page) => page.locator("#enrolled li");
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
/** How the session was signed in. */
const methods = (page) =>
  page.evaluate(() => {
    const { access } = JSON.parse(Object.values(localStorage)[0]);
    return JSON.parse(atob(access.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).amr;
  });

/** Somebody who is signed in, with an authenticator. */
async function person(profile, kind, { twoFactor } = {}) {
  await profile.context.addInitScript(withoutAutofill);
  const [page, email] = [await open(profile), setting.user({ twoFactor })];
  const authenticator = await Authenticator.of(page, kind);
  await enter(page, email);
  if (twoFactor === "email") await confirm(page, await setting.code(email));
  await account(page, email);
  return { page, email, authenticator };
}

/** From the account to the recovery codes, which are kept. */
async function add(page, name) {
  await press(page, "Add a passkey");
  await page.getByLabel("Name").fill(name);
  await press(page, "Add a passkey");
  await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
  const codes = await page.locator("#recovery-codes li").allTextContents();
  await press(page, "I have kept them");
  await page.getByText("Sign in with it now").waitFor();
  return codes;
}

/** Ends the step-up that follows. */
async function signInWithIt(page) {
  await press(page, "Use the passkey");
  await alert(page).getByText("The passkey is added.").waitFor();
}

/** The same with the password first. */
async function signInAgain(page) {
  await page.locator("#again-password").fill(PASSWORD);
  await press(page, "Sign in again");
  await page.getByRole("heading", { name: "Use your passkey" }).waitFor();
  await signInWithIt(page);
}

async function signOut(page) {
  await press(page, "Sign out");
  await signedOut(page);
}

check("a synced passkey is added, is asked for after the password, and signs in alone", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE, { twoFactor: "email" });
  assert.deepEqual(await methods(page), ["pwd", "otp"]);
  const codes = await add(page, "Phone");
  assert.equal(codes.length, 10);
  assert.equal((await authenticator.passkeys()).length, 1);
  await signInWithIt(page);
  await account(page, email);
  assert.deepEqual(await methods(page), ["swk", "user", "mfa"]);
  const line = enrolled(page).filter({ hasText: "Passkey Phone" });
  await line.getByText("Synced", { exact: true }).waitFor();
  await line.getByText(/^Since .*, last used /).waitFor();
  assert.equal(await line.getByText("Only after the password").count(), 0);
  await page.getByText("Unused recovery codes: 10").waitFor();

  await signOut(page);
  const mails = await setting.codesTo(email);
  await enter(page, email);
  await page.getByText(`Show with a passkey that you are ${email}.`).waitFor();
  await press(page, "Use the passkey");
  await account(page, email);
  assert.deepEqual(await methods(page), ["pwd", "swk", "user", "mfa"]);
  assert.equal(await setting.codesTo(email), mails);

  await signOut(page);
  await press(page, "Sign in with a passkey");
  await account(page, email);
  assert.deepEqual(await methods(page), ["swk", "user", "mfa"]);
});

for (const [what, kind] of [["a security key without a PIN", KEY], ["a key of before passkeys", OLD_KEY]]) {
  check(`${what} is a second factor, and none alone`, async (profile) => {
    // The module does not rely on the functions that some extensions break.
    await profile.context.addInitScript(() => {
      if (!isSecureContext) return; // A page that is empty yet.
      PublicKeyCredential.prototype.toJSON = () => {
        throw new TypeError("broken");
      };
      delete PublicKeyCredential.parseCreationOptionsFromJSON;
      delete PublicKeyCredential.parseRequestOptionsFromJSON;
    });
    const { page, email } = await person(profile, kind);
    await add(page, "Key");
    assert.equal(await page.getByRole("button", { name: "Use the passkey" }).count(), 0);
    await signInAgain(page);
    await account(page, email);
    assert.deepEqual(await methods(page), ["pwd", "hwk", "user", "mfa"]);
    const line = enrolled(page).filter({ hasText: "Passkey Key" });
    await line.getByText("Only after the password").waitFor();
    assert.equal(await line.getByText("Synced").count(), 0);

    await signOut(page);
    await enter(page, email);
    await press(page, "Use the passkey");
    await account(page, email);
    await signOut(page);
    await press(page, "Sign in with a passkey");
    await alert(page).getByText("No passkey was used").waitFor();
    await enter(page, email);
    await press(page, "Use the passkey");
    await account(page, email);
  });
}

check("a lost phone is replaced by a recovery code, and its passkey removed", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE);
  const [code] = await add(page, "Phone");
  await signInWithIt(page);
  await authenticator.lose();
  await Authenticator.of(page, KEY);

  await signOut(page);
  await enter(page, email);
  await press(page, "Use the passkey"); // The browser waits for it.
  await press(page, "Use a recovery code");
  await press(page, "Back to the passkey");
  await page.getByRole("heading", { name: "Use your passkey" }).waitFor();
  await press(page, "Use a recovery code");
  await page.getByLabel("Recovery code", { exact: true }).fill(code);
  await press(page, "Confirm");
  await alert(page).getByText("Unused codes: 9.").waitFor();
  await account(page, email);
  assert.deepEqual(await methods(page), ["pwd", "otp"]);

  await press(page, "Add a passkey");
  await page.getByLabel("Name").fill("Key");
  await press(page, "Add a passkey");
  await signInAgain(page);
  await press(page, "Remove the passkey Phone");
  await page.locator("#passkey-remove-hint").getByText("Your other factors stay as they are.").waitFor();
  await press(page, "Remove the passkey");
  await alert(page).getByText("The passkey is removed.").waitFor();
  assert.equal(await enrolled(page).getByText("Passkey Phone").count(), 0);
  await enrolled(page).getByText("Passkey Key").waitFor();
  await page.getByText("Unused recovery codes: 9").waitFor();
});

check("an authenticator that has a passkey of the account makes no other one", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE);
  await add(page, "Phone");
  await signInWithIt(page);
  await press(page, "Add a passkey");
  await page.getByLabel("Name").fill("Phone again");
  await press(page, "Add a passkey");
  await alert(page).getByText("This device already has a passkey of the account.").waitFor();
  assert.equal((await authenticator.passkeys()).length, 1);
  await press(page, "Cancel");
  assert.equal(await enrolled(page).filter({ hasText: "Passkey" }).count(), 1);
});

check("the last passkey is removed when that is confirmed, and a code comes by mail again", async (profile) => {
  const { page, email } = await person(profile, PHONE);
  await add(page, "Phone");
  await signInWithIt(page);
  await press(page, "Remove the passkey Phone");
  assert.equal(await focused(page), "passkey-remove-title");
  await page.getByText("a code comes by mail instead").waitFor();
  await press(page, "Cancel");
  await enrolled(page).getByText("Passkey Phone").waitFor();
  await press(page, "Remove the passkey Phone");
  await press(page, "Remove the passkey");
  await alert(page).getByText("The passkey is removed.").waitFor();
  await page.getByText("A code by mail at each sign-in").waitFor();
  await signOut(page);
  await enter(page, email);
  await page.getByText(`A code is on its way to ${email}.`).waitFor();
});

check("a passkey that is not given changes nothing, and works the next time", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE);
  await authenticator.knows(false);
  await press(page, "Add a passkey");
  await page.getByLabel("Name").fill("Phone");
  await press(page, "Add a passkey");
  await alert(page).getByText("No passkey was used").waitFor();
  assert.equal(await page.getByLabel("Name").inputValue(), "Phone");
  await authenticator.knows(true);
  await press(page, "Add a passkey");
  await press(page, "I have kept them");
  await authenticator.knows(false);
  await press(page, "Use the passkey");
  await alert(page).getByText("No passkey was used").waitFor();
  await press(page, "Cancel");
  await enrolled(page).getByText("Passkey Phone").waitFor();
  assert.deepEqual(await methods(page), ["pwd"]);
  await signOut(page);
  await press(page, "Sign in with a passkey");
  await alert(page).getByText("No passkey was used").waitFor();
  await authenticator.knows(true);
  await press(page, "Sign in with a passkey");
  await account(page, email);
});

check("a view that is left ends what it has asked an authenticator for", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE);
  await authenticator.touches(false);
  await press(page, "Add a passkey");
  await press(page, "Add a passkey");
  await until("the request", () => page.evaluate(() => document.querySelector('form[aria-busy="true"]') !== null));
  await press(page, "Cancel");
  await until("its end", () => page.evaluate(() => document.querySelector('form[aria-busy="true"]') === null));
  assert.equal(await alert(page).textContent(), "");
  assert.equal((await authenticator.passkeys()).length, 0);
  await authenticator.touches(true);
  const [code] = await add(page, "Phone");
  await signInWithIt(page);
  await signOut(page);

  await authenticator.touches(false);
  await enter(page, email);
  await press(page, "Use the passkey");
  await press(page, "Use a recovery code");
  await page.getByLabel("Recovery code", { exact: true }).fill(code);
  await press(page, "Confirm");
  await account(page, email);
});

check("with an app and a passkey, the code of the app can be entered instead", async (profile) => {
  const { page, email } = await person(profile, KEY);
  await add(page, "Key");
  await signInAgain(page);
  await press(page, "Set up an authenticator app");
  await page.getByText("Scan the picture").waitFor();
  const app = new App(await page.locator("#totp-key").textContent());
  await page.getByLabel("Six-digit code").filter({ visible: true }).fill(await app.code());
  await press(page, "Confirm");
  await alert(page).getByText("The authenticator app is set up.").waitFor();
  await signOut(page);
  await enter(page, email);
  await page.getByRole("heading", { name: "Use your passkey" }).waitFor();
  await press(page, "Enter a code instead");
  assert.equal(await focused(page), "code");
  await press(page, "Use the passkey");
  await press(page, "Enter a code instead");
  await confirm(page, await app.code());
  await account(page, email);
  await press(page, "Remove the app");
  await page.locator("#remove-hint").getByText("Your other factors stay as they are.").waitFor();
});

check("a browser without passkeys is told to use a recovery code", async (profile) => {
  const { page, email } = await person(profile, KEY);
  const [code] = await add(page, "Key");
  await signInAgain(page);
  const other = await setting.profile();
  try {
    await other.context.addInitScript(() => delete globalThis.PublicKeyCredential);
    const without = await open(other);
    await enter(without, email);
    await without.getByText("this browser has no passkeys").waitFor();
    assert.equal(await without.getByRole("button", { name: "Use the passkey" }).count(), 0);
    assert.equal(await without.getByRole("button", { name: "Sign in with a passkey" }).count(), 0);
    await assertAccessible(without);
    await press(without, "Use a recovery code");
    await without.getByLabel("Recovery code", { exact: true }).fill(code);
    await press(without, "Confirm");
    await account(without, email);
    assert.equal(await without.getByRole("button", { name: "Add a passkey" }).count(), 0);
    assert.deepEqual(other.violations, []);
  } finally {
    await other.context.close();
  }
});

check("a server that takes no passkeys is offered none", async (profile) => {
  const url = await setting.anotherWithPages("without-passkeys", {
    BACKOFFICE_AUTH__PASSKEYS__RP_ID: "",
    BACKOFFICE_AUTH__PASSKEYS__ORIGINS: "",
  });
  const asking = profile.context.waitForEvent("request", (request) => request.url().endsWith("/passkey/options"));
  const [page, email] = [await open(profile, { url }), setting.user()];
  await (await asking).response();
  assert.equal(await page.getByRole("button", { name: "Sign in with a passkey" }).count(), 0);
  await enter(page, email);
  await account(page, email);
  assert.equal(await page.getByRole("button", { name: "Add a passkey" }).count(), 0);
});

check("who signed in long ago signs in again with the passkey alone, before another one is removed", async (profile) => {
  const { page, email } = await person(profile, PHONE);
  await add(page, "Phone");
  await signInWithIt(page);
  await setting.age(email);
  await press(page, "Remove the passkey Phone");
  await press(page, "Remove the passkey");
  await page.getByText("it is still you").waitFor();
  await press(page, "Use the passkey");
  await alert(page).getByText("The passkey is removed.").waitFor();
});

check("each step of a passkey can be read, heard and reached", async (profile) => {
  const { page, email, authenticator } = await person(profile, PHONE, { twoFactor: "email" });
  await press(page, "Add a passkey");
  assert.equal(await focused(page), "passkey-name");
  assert.equal(await page.title(), "Add a passkey · Back Office");
  assert.match(await page.getByLabel("Name").inputValue(), /^\w+$/);
  await picture(page, "add-passkey", { width: 720, height: 620 });
  await assertAccessible(page);
  await page.getByLabel("Name").fill(" ");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#passkey-name-error").textContent(), "Enter a name.");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("Phone");
  await page.keyboard.press("Enter");
  await press(page, "I have kept them");
  await page.getByText("Sign in with it now").waitFor();
  assert.equal(await focused(page), "again-title");
  await picture(page, "sign-in-with-new-passkey", { width: 720, height: 660 });
  await assertAccessible(page);
  await signInWithIt(page);
  await account(page, email);
  await picture(page, "account-with-passkey", { width: 720, height: 990 });
  await assertAccessible(page);
  await press(page, "Remove the passkey Phone");
  await picture(page, "remove-passkey", { width: 720, height: 620 });
  await assertAccessible(page);
  await press(page, "Cancel");
  await signOut(page);
  await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
  assert.equal(await page.locator("#email").getAttribute("autocomplete"), "username webauthn");
  await assertAccessible(page);
  await authenticator.knows(false);
  await press(page, "Sign in with a passkey");
  await alert(page).getByText("No passkey was used").waitFor();
  await assertAccessible(page);
  await enter(page, email);
  await page.getByRole("heading", { name: "Use your passkey" }).waitFor();
  assert.equal(await focused(page), "passkey-title");
  await picture(page, "use-passkey", { width: 720, height: 620 });
  await assertAccessible(page);
}, SMALL);

check("a passkey can be added and used on the smallest screen, in the dark", async (profile) => {
  const { page, email } = await person(profile, PHONE);
  const assertFits = async (view) => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), view);
  };
  await press(page, "Add a passkey");
  await assertFits("add");
  await press(page, "Cancel");
  await add(page, "The phone that I use for work and for nothing else at all, really");
  await assertFits("again");
  await signInWithIt(page);
  await assertFits("account");
  await page.getByRole("button", { name: /^Remove the passkey The phone/ }).click();
  await assertFits("remove");
  await press(page, "Cancel");
  await signOut(page);
  await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
  await assertFits("sign-in");
  await enter(page, email);
  await page.getByRole("heading", { name: "Use your passkey" }).waitFor();
  await assertFits("use");
  await picture(page, "use-passkey-small-dark", { colorScheme: "dark", width: 320, height: 640 });
}, { viewport: { width: 320, height: 568 }, reducedMotion: "reduce", colorScheme: "dark" });

/** Of an origin that can have passkeys, and without scripts. */
const BARE_PAGE = `${setting.page}/page.css`;

/** A tab with the module, and with an authenticator. */
async function moduleTab({ context }, kind) {
  const page = await tab(context, BARE_PAGE, setting.server);
  return { page, authenticator: await Authenticator.of(page, kind) };
}

const outcomeOf = (page, body, ...values) => page.evaluate(`outcome((${body})(...${JSON.stringify(values)}))`);

check("passkeys are added, listed and removed by calls of the module", async (profile) => {
  const { page } = await moduleTab(profile, PHONE);
  await signIn(page, setting.user());
  const { value: added } = await outcomeOf(page, () => auth.addPasskey("Phone"));
  assert.deepEqual([added.name, added.synced, added.alone, added.recoveryCodes.length], ["Phone", true, true, 10]);
  const { passkeys: listed } = await page.evaluate(() => auth.me());
  assert.deepEqual(listed, [{ id: added.id, name: "Phone", createdAt: added.createdAt, synced: true, alone: true }]);
  assert.equal((await outcomeOf(page, () => auth.addPasskey("Phone"))).code, "passkey_known");
  const { value: codes } = await outcomeOf(page, () => auth.makeRecoveryCodes());
  assert.equal(codes.length, 10);
  await page.evaluate((id) => auth.removePasskey(id), added.id);
  assert.deepEqual(await outcomeOf(page, (id) => auth.removePasskey(id), added.id), { value: null });
  assert.deepEqual((await page.evaluate(() => auth.me())).passkeys, []);
  assert.deepEqual(await page.evaluate(() => changes), [[true, "signedIn"]]);
});

check("a name that cannot be one is refused before a passkey is made", async (profile) => {
  const { page, authenticator } = await moduleTab(profile, PHONE);
  await signIn(page, setting.user());
  for (const name of ["", " ", "a\tb", "x".repeat(65)]) {
    assert.equal((await outcomeOf(page, (name) => auth.addPasskey(name), name)).code, "invalid_request", name);
  }
  assert.equal((await authenticator.passkeys()).length, 0);
});

/** Notes the page's requests to authenticators: their kinds, and how many are open then. */
const noteRequests = () => {
  globalThis.asked = [];
  globalThis.open = 0;
  if (!isSecureContext) return; // A page that is empty yet.
  for (const kind of ["get", "create"]) {
    const ask = CredentialsContainer.prototype[kind];
    CredentialsContainer.prototype[kind] = function (options) {
      globalThis.asked.push([options.mediation ?? kind, globalThis.open++]);
      return ask.call(this, options).finally(() => globalThis.open--);
    };
  }
};
const isAsked = (page, count) => until("the request", () => page.evaluate((count) => asked.length >= count, count));

check("a request to an authenticator is ended by a signal, and by the next one", async (profile) => {
  await profile.context.addInitScript(noteRequests);
  const { page, authenticator } = await moduleTab(profile, PHONE);
  await signIn(page, setting.user());
  await page.evaluate(() => auth.addPasskey("Phone"));
  await page.evaluate(() => auth.signOut());
  await authenticator.touches(false);
  await page.evaluate(() => void (globalThis.first = outcome(auth.signInWithPasskey())));
  await isAsked(page, 2);
  const second = await outcomeOf(page, () => auth.signInWithPasskey({ signal: AbortSignal.timeout(1000) }));
  assert.equal((await page.evaluate(() => first)).code, "passkey_cancelled");
  assert.equal(second.code, "passkey_cancelled");
  await authenticator.touches(true);
  assert.deepEqual(await outcomeOf(page, () => auth.signInWithPasskey()), { value: null });
  // Each of them had the browser to itself.
  assert.deepEqual(await page.evaluate(() => asked), [["create", 0], ["get", 0], ["get", 0], ["get", 0]]);
});

check("what is offered in the field ends before the button's request begins, and is there again after it", async (profile) => {
  await profile.context.addInitScript(noteRequests);
  const page = await open(profile);
  const authenticator = await Authenticator.of(page, PHONE);
  await authenticator.touches(false);
  await page.reload();
  await isAsked(page, 1);
  await authenticator.touches(true);
  await press(page, "Sign in with a passkey");
  await alert(page).getByText("No passkey was used").waitFor();
  await isAsked(page, 3);
  assert.deepEqual(await page.evaluate(() => asked), [["conditional", 0], ["get", 0], ["conditional", 0]]);
  await press(page, "Forgot your password?");
  await until("its end", () => page.evaluate(() => globalThis.open === 0));
});

check("what is offered in the field is renewed before its challenge is over", async (profile) => {
  await profile.context.addInitScript(noteRequests);
  const page = await open(profile, { clock: { time: Date.now() } });
  await isAsked(page, 1);
  await page.clock.runFor(230_000);
  assert.equal(await page.evaluate(() => asked.length), 1);
  await page.clock.runFor(20_000);
  await isAsked(page, 2);
});

check("a passkey that is chosen in the field signs in", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  const authenticator = await Authenticator.of(page, PHONE);
  await enter(page, email);
  await account(page, email);
  await add(page, "Phone");
  await signInWithIt(page);
  // Nobody chooses one.
  await authenticator.touches(false);
  await signOut(page);
  await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
  await authenticator.touches(true);
  await page.reload();
  await account(page, email);
  assert.deepEqual(await methods(page), ["swk", "user", "mfa"]);
});

check("a passkey that is chosen in the field and refused is said to be, and offered again", async (profile) => {
  await profile.context.addInitScript(noteRequests);
  const page = await tab(profile.context, BARE_PAGE, setting.server);
  await Authenticator.of(page, PHONE);
  await signIn(page, setting.user());
  const { value: added } = await outcomeOf(page, () => auth.addPasskey("Phone"));
  await page.evaluate((id) => auth.removePasskey(id), added.id);
  await page.evaluate(() => auth.signOut());
  let refused = 0;
  await page.route("**/api/v2/passkey/signin", async (route) => {
    if (refused === 1) await page.evaluate(() => (PublicKeyCredential.isConditionalMediationAvailable = async () => false));
    await route.continue();
    refused += 1;
  });
  await page.goto(setting.page);
  await alert(page).getByText("The passkey was not accepted.").waitFor();
  await until("the second", () => refused === 2);
});

// Red without the question whose session it is.
check("a step-up with somebody else's passkey is none", async (profile) => {
  const { page } = await moduleTab(profile, PHONE);
  const [email, other] = [setting.user(), setting.user()];
  await signIn(page, other);
  await page.evaluate(() => auth.addPasskey("Phone"));
  await page.evaluate(() => auth.signOut());
  assert.equal((await outcomeOf(page, () => auth.signInAgainWithPasskey())).code, "signed_out");
  await signIn(page, email);
  assert.equal((await outcomeOf(page, () => auth.signInAgainWithPasskey())).code, "another_person");
  assert.equal((await page.evaluate(() => auth.me())).user.email, email);
});

check("a page at an address instead of a name can use no passkeys, and says so", async ({ context }) => {
  const page = await tab(context, BARE_PAGE.replace("localhost", "127.0.0.1"), setting.server);
  // The answer of the server, if it let in pages that cannot have passkeys.
  const publicKey = { challenge: "AAAA", rpId: "localhost", allowCredentials: [], userVerification: "required" };
  const body = JSON.stringify({ token: "t", publicKey, expiresAt: new Date(Date.now() + 300_000).toISOString() });
  const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/json" };
  await page.route("**/api/v2/passkey/options", (route) => route.fulfill({ status: 200, headers, body }));
  assert.equal((await outcomeOf(page, () => auth.signInWithPasskey())).code, "passkey_unusable");
});
