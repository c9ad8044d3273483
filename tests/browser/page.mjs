// The sign-in page, as people use it: with a pointer, with keys alone, on a small screen, in many tabs.

import assert from "node:assert/strict";

import { assertAccessible, picture } from "./look.mjs";
import { PASSWORD, check, routeFirst, setting, until } from "./setting.mjs";
import { App } from "./totp.mjs";

const SMALL = { viewport: { width: 720, height: 620 } };
const BLOCK = 300;

export async function open({ context }, { clock, url = setting.page } = {}) {
  const page = await context.newPage();
  if (clock) await page.clock.install(clock);
  await page.goto(url);
  return page;
}

export async function enter(page, email, password = PASSWORD) {
  await page.locator("#email").fill(email);
  await page.locator("#password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** Waits until the page says that somebody is signed in, with the list of sessions. */
export async function account(page, email) {
  await page.getByRole("heading", { name: "You are signed in", exact: true }).waitFor();
  await page.locator("#sessions").getByText("This browser").waitFor();
  assert.equal(await page.locator("#who").textContent(), email);
}

/** Of the two forms for a code, the one that is shown. */
export const codeField = (page) => page.getByLabel("Six-digit code").filter({ visible: true });

export async function confirm(page, code) {
  await codeField(page).fill(code);
  await page.getByRole("button", { name: "Confirm" }).click();
}

export const alert = (page) => page.getByRole("alert");
export const signedOut = (page) => page.getByRole("heading", { name: "Sign in", exact: true }).waitFor();
export const focused = (page) => page.evaluate(() => document.activeElement.id);
const signins = (profile) =>
  profile.requests.filter((request) => request.method() === "POST" && request.url().endsWith("/signin"));

check("who has no second factor signs in and out again", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await page.getByRole("button", { name: "Sign in with a passkey" }).waitFor();
  await picture(page, "sign-in");
  await assertAccessible(page);
  await enter(page, email);
  await account(page, email);
  await assertAccessible(page);
  assert.equal(await page.title(), "You are signed in · Back Office");
  assert.equal(await page.locator("#password").inputValue(), "");
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await signedOut(page);
  await alert(page).getByText("You are signed out.").waitFor();
  assert.equal(await focused(page), "email");
  await assertAccessible(page);
}, SMALL);

check("who has a second factor enters the code from the mail", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await enter(page, email);
  await page.getByText(`A code is on its way to ${email}`).waitFor();
  assert.equal(await focused(page), "code");
  assert.equal(await codeField(page).getAttribute("autocomplete"), "one-time-code");
  await picture(page, "code");
  await assertAccessible(page);
  const code = await setting.code(email);
  await confirm(page, `${code.slice(0, 3)} ${code.slice(3)}`);
  await account(page, email);
}, SMALL);

check("a wrong code is explained at its field, and the right one works after it", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await enter(page, email);
  const code = await setting.code(email);
  await confirm(page, String((Number(code) + 1) % 1_000_000).padStart(6, "0"));
  await alert(page).getByText("The code was not accepted.").waitFor();
  assert.equal(await focused(page), "code");
  const field = codeField(page);
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  assert.match(await page.locator("#code-error").textContent(), /wrong or no longer good/);
  await picture(page, "wrong-code");
  await assertAccessible(page);
  await confirm(page, code);
  await account(page, email);
}, SMALL);

check("a new code comes on request, and another address can be taken", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await enter(page, email);
  await setting.code(email);
  await page.getByRole("button", { name: "Send a new code" }).click();
  await alert(page).getByText("a new code is on its way").waitFor();
  await confirm(page, await setting.code(email, 2));
  await account(page, email);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  const other = setting.user({ twoFactor: "email" });
  await enter(page, other);
  await page.getByRole("button", { name: "Use another address" }).click();
  await signedOut(page);
  assert.equal(await focused(page), "email");
});

check("a wrong password is announced, and ready to be typed over", async (profile) => {
  const page = await open(profile);
  await enter(page, setting.user(), "wrong");
  await alert(page).getByText("The email address or the password is wrong.").waitFor();
  await until("the focus", async () => (await focused(page)) === "password");
  const selected = await page.evaluate(() => {
    const { selectionStart, selectionEnd } = document.activeElement;
    return [selectionStart, selectionEnd];
  });
  assert.deepEqual(selected, [0, "wrong".length]);
  await picture(page, "wrong-password");
  await assertAccessible(page);
}, SMALL);

check("what is missing or malformed is named at its field", async (profile) => {
  const page = await open(profile);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  assert.equal(await page.locator("#email-error").textContent(), "Enter your email address.");
  assert.equal(await page.locator("#password-error").textContent(), "Enter your password.");
  assert.equal(signins(profile).length, 0, "an empty form is no attempt");
  await enter(page, "nobody");
  await page.locator("#email-error").getByText("must have exactly one @").waitFor();
  assert.equal(await focused(page), "email");
  assert.equal(await page.locator("#password-error").isVisible(), false);
  await assertAccessible(page);
});

check("a block is counted down, and nobody asks before it ends", async (profile) => {
  const page = await open(profile, { clock: { time: Date.now() } });
  const email = setting.user();
  for (let attempt = 0; attempt < 6; attempt++) {
    const answered = page.waitForResponse((response) => response.request().method() === "POST");
    await enter(page, email, "wrong");
    await answered;
    await until("the button", async () => (await page.locator("#signin-form").getAttribute("aria-busy")) === "false");
  }
  await alert(page).getByText("Too many attempts.").waitFor();
  await page.getByText(/You can try again in (5:00|4:5\d)\./).waitFor();
  await picture(page, "blocked");
  await assertAccessible(page);
  assert.equal(signins(profile).length, 6);
  const button = page.getByRole("button", { name: "Sign in", exact: true });
  assert.equal(await button.getAttribute("aria-disabled"), "true");
  await button.click({ force: true });
  await alert(page).getByText(/Wait for \d:\d\d\./).waitFor();
  await page.clock.fastForward((BLOCK - 120) * 1000);
  await page.getByText(/You can try again in (2:00|1:5\d)\./).waitFor();
  assert.equal(signins(profile).length, 6);
  await page.clock.fastForward(120_000);
  await alert(page).getByText("You can try again now.").waitFor();
  await button.click();
  await until("an attempt", () => signins(profile).length === 7);
}, SMALL);

check("everything can be done with keys alone, and the focus is always seen", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  const isFocusSeen = () =>
    page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle === "solid");
  assert.equal(await focused(page), "email");
  await page.keyboard.type(email);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "password");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Show password");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Tab");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Enter");
  await until("the field for the code", async () => (await focused(page)) === "code");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.type(await setting.code(email));
  await page.keyboard.press("Enter");
  await account(page, email);
  assert.equal(await focused(page), "account-title");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "change-password");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "set-up-app");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "add-passkey");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "signout");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Space");
  await signedOut(page);
  await until("the focus", async () => (await focused(page)) === "email");
});

check("a sign-in and a sign-out in one tab are seen in the others", async (profile) => {
  const [first, second] = [await open(profile), await open(profile)];
  const email = setting.user();
  await enter(first, email);
  await account(first, email);
  await account(second, email);
  await second.getByRole("button", { name: "Sign out", exact: true }).click();
  await signedOut(first);
  await alert(first).getByText("You are signed out.").waitFor();
});

check("a session can be ended from another browser, and all of them at once", async (profile) => {
  const others = await setting.profile({ userAgent: "Another/1.0" });
  try {
    const email = setting.user();
    const [page, other] = [await open(profile), await open(others)];
    await enter(other, email);
    await account(other, email);
    await enter(page, email);
    await account(page, email);
    await page.getByText("Another/1.0").waitFor();
    await picture(page, "two-sessions", { width: 720, height: 900 });
    await assertAccessible(page);
    await page.getByRole("button", { name: "Sign out Another/1.0" }).click();
    await alert(page).getByText("The session is over.").waitFor();
    await other.reload();
    await signedOut(other);
    await alert(other).getByText("You have been signed out. Sign in again.").waitFor();
    await enter(other, email);
    await account(other, email);
    await page.getByRole("button", { name: "Sign out everywhere" }).click();
    await signedOut(page);
    await other.reload();
    await signedOut(other);
    assert.deepEqual(others.violations, []);
  } finally {
    await others.context.close();
  }
}, SMALL);

check("at 320 pixels nothing has to be scrolled sideways, and nothing moves where that is not wanted", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  const assertFits = async (view) => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), view);
  };
  await assertFits("sign-in");
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await assertFits("errors");
  await enter(page, email);
  await page.getByText("A code is on its way").waitFor();
  await assertFits("code");
  await picture(page, "code-small-dark", { colorScheme: "dark" });
  await confirm(page, await setting.code(email));
  await account(page, email);
  await assertFits("account");
  await page.getByRole("button", { name: "Change the password" }).click();
  await assertFits("change");
  await picture(page, "change-password-small", { width: 320, height: 740 });
  await page.getByRole("button", { name: "Cancel" }).click();
  const moves = await page.locator("#signout").evaluate((button) => getComputedStyle(button).transitionProperty);
  assert.equal(moves, "none");
}, { viewport: { width: 320, height: 568 }, reducedMotion: "reduce" });

check("a server that is away is said to be, and the same words are still there to send", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await profile.context.setOffline(true);
  await enter(page, email);
  await alert(page).getByText("The server cannot be reached.").waitFor();
  await profile.context.setOffline(false);
  const busy = { status: 503, code: "overloaded", detail: "…", retryAfter: 1, requestId: "id-1" };
  await routeFirst(page, "**/api/v2/signin", 1, (route) => route.fulfill({ status: 503, headers: { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" }, body: JSON.stringify(busy) }));
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await alert(page).getByText("The service is busy at the moment.").waitFor();
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await account(page, email);
});

/** A link to set a password, mailed to a user whom nobody has used. */
async function mailedLink(email = setting.user()) {
  await setting.command(["user", "link", email]);
  return setting.link(email);
}

check("each step of a forgotten password can be read, heard and reached", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await page.getByRole("button", { name: "Forgot your password?" }).click();
  assert.equal(await focused(page), "forgot-email");
  assert.equal(await page.title(), "Forgot your password? · Back Office");
  await picture(page, "forgot");
  await assertAccessible(page);
  await page.locator("#forgot-email").fill(email);
  await page.getByRole("button", { name: "Send the link" }).click();
  await page.getByText(`If ${email} has an account`).waitFor();
  assert.equal(await focused(page), "mailed-title");
  await picture(page, "mailed");
  await assertAccessible(page);
  await page.goto(await setting.link(email));
  await page.getByText("You asked for this link").waitFor();
  assert.equal(await focused(page), "new-password");
  await picture(page, "set-password");
  await assertAccessible(page);
  const field = page.getByLabel("New password");
  assert.equal(await field.getAttribute("autocomplete"), "new-password");
  assert.equal(await page.getByLabel("Email address").getAttribute("autocomplete"), "username");
  await field.fill("password");
  await page.getByRole("button", { name: "Show password" }).click();
  assert.equal(await field.getAttribute("type"), "text");
  await page.getByRole("button", { name: "Set the password" }).click();
  await page.locator("#new-password-error").waitFor();
  await page.getByRole("button", { name: "Show password" }).click();
  await picture(page, "weak-password-dark", { colorScheme: "dark", width: 720, height: 720 });
  await assertAccessible(page);
  await field.fill("correct horse battery staple");
  await page.getByRole("button", { name: "Set the password" }).click();
  await page.getByRole("heading", { name: "Your password is set" }).waitFor();
  await picture(page, "password-set");
  await assertAccessible(page);
}, SMALL);

check("a link leaves no trace of its token in the page, the history or another site", async (profile) => {
  const link = await mailedLink();
  const [url, token] = link.split("#");
  const page = await open(profile, { url: link });
  await page.getByLabel("New password").waitFor();
  assert.equal(page.url(), url);
  for (const request of profile.requests) {
    assert.ok(!request.url().includes(token), request.url());
    assert.equal((await request.allHeaders()).referer, undefined);
  }
  assert.equal(await page.evaluate((token) => JSON.stringify([localStorage, sessionStorage]).includes(token), token), false);
  await page.goto(setting.page);
  await page.goBack();
  await page.getByText("Open this page with the link in the mail.").waitFor();
  await assertAccessible(page);
});

check("a link that is over is said to be, and another one can be asked for", async (profile) => {
  const link = await mailedLink();
  const page = await open(profile, { url: `${link.slice(0, -1)}${link.endsWith("A") ? "Q" : "A"}` });
  await page.getByRole("heading", { name: "This link does not work" }).waitFor();
  assert.equal(await focused(page), "dead-title");
  await picture(page, "dead-link");
  await assertAccessible(page);
  await page.getByRole("link", { name: "Ask for another link" }).click();
  await until("the field", async () => (await focused(page)) === "forgot-email");
}, SMALL);

check("a second link that is put into the same tab is opened", async (profile) => {
  const emails = [setting.user(), setting.user()];
  const [first, second] = [await mailedLink(emails[0]), await mailedLink(emails[1])];
  const page = await open(profile, { url: first });
  await until("the first", async () => (await page.locator("#whose").inputValue()) === emails[0]);
  await page.evaluate((hash) => void (location.hash = hash), second.split("#")[1]);
  await until("the second", async () => (await page.locator("#whose").inputValue()) === emails[1]);
});

check("a link is not called dead while the server is away", async (profile) => {
  const link = await mailedLink();
  const page = await profile.context.newPage();
  await routeFirst(page, "**/api/v2/password/link", 1, (route) => route.abort());
  await page.goto(link);
  await alert(page).getByText("The server cannot be reached.").waitFor();
  await assertAccessible(page);
  await page.getByRole("button", { name: "Open the link" }).click();
  await page.getByLabel("New password").waitFor();
});

check("the page of one's own account can be read, heard and reached", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await enter(page, email);
  await confirm(page, await setting.code(email));
  await account(page, email);
  await page.getByText("A code by mail at each sign-in").waitFor();
  await page.getByText(/counts as recent until \d\d:\d\d\./).waitFor();
  await page.getByRole("button", { name: "Change the password" }).click();
  assert.equal(await focused(page), "current-password");
  await picture(page, "change-password", { width: 720, height: 760 });
  await assertAccessible(page);
  await page.getByRole("button", { name: "Change the password" }).click();
  assert.equal(await page.locator("#new-password-error").textContent(), "Enter a new password.");
  await page.getByRole("button", { name: "Cancel" }).click();
  const stale = { status: 401, code: "reauthentication_required", detail: "…", requestId: "id-1" };
  const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" };
  await page.route("**/api/v2/me/password", (route) =>
    route.fulfill({ status: 401, headers, body: JSON.stringify(stale) }),
  );
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByLabel("New password").fill("correct horse battery staple");
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByText("it is still you").waitFor();
  assert.equal(await focused(page), "again-password");
  await picture(page, "sign-in-again");
  await assertAccessible(page);
}, SMALL);

/** From the account to the recovery codes. */
async function setUpApp(page) {
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await page.getByText("Scan the picture").waitFor();
  const app = new App(await page.locator("#totp-key").textContent());
  await codeField(page).fill(await app.code());
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
  return app;
}

check("each step of an authenticator app can be read, heard and reached", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await enter(page, email);
  await confirm(page, await setting.code(email));
  await account(page, email);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await page.getByRole("img", { name: "QR code for the authenticator app" }).waitFor();
  assert.equal(await focused(page), "enrol-title");
  assert.equal(await page.title(), "Set up an authenticator app · Back Office");
  await picture(page, "set-up-app", { width: 720, height: 1010 });
  await assertAccessible(page);
  for (const name of ["copy-key", "open-app", "enrol-code"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), name);
  }
  const app = new App(await page.locator("#totp-key").textContent());
  await page.keyboard.type(app.wrongCode());
  await page.keyboard.press("Enter");
  await page.locator("#enrol-code-error").getByText("It is wrong.").waitFor();
  await assertAccessible(page);
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type(await app.code());
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Your recovery codes" }).waitFor();
  assert.equal(await focused(page), "codes-title");
  assert.equal(await page.getByRole("list").getByRole("listitem").count(), 10);
  await picture(page, "recovery-codes", { width: 720, height: 870 });
  await assertAccessible(page);
  const [code] = await page.locator("#recovery-codes li").allTextContents();
  await page.getByRole("button", { name: "I have kept them" }).click();
  await page.getByText("Unused recovery codes: 10").waitFor();
  await picture(page, "account", { width: 720, height: 910 });
  await assertAccessible(page);
  for (const [button, title] of [
    ["New recovery codes", "Make new recovery codes?"],
    ["Remove the app", "Remove the authenticator app?"],
  ]) {
    await page.getByRole("button", { name: button }).click();
    await page.getByRole("heading", { name: title }).waitFor();
    assert.equal(await focused(page), button === "Remove the app" ? "remove-title" : "renew-title");
    if (button === "Remove the app") await picture(page, "remove-app", { width: 720, height: 620 });
    await assertAccessible(page);
    await page.getByRole("button", { name: "Cancel" }).click();
  }
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await enter(page, email);
  await page.getByText("Enter what your authenticator app shows").waitFor();
  assert.equal(await focused(page), "code");
  await picture(page, "code-of-app", { width: 720, height: 620 });
  await assertAccessible(page);
  await page.getByRole("button", { name: "Use a recovery code" }).click();
  assert.equal(await focused(page), "recovery-code");
  await page.getByLabel("Recovery code", { exact: true }).fill(code);
  await picture(page, "recovery-code");
  await assertAccessible(page);
  await page.getByRole("button", { name: "Confirm" }).click();
  await alert(page).getByText("Unused codes: 9.").waitFor();
  await account(page, email);
}, SMALL);

check("what is secret about an app leaves the page with the view that shows it", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  const isThere = (text) => page.evaluate((text) => {
    const values = [...document.querySelectorAll("input")].map(({ value }) => value);
    return [document.documentElement.outerHTML, ...values, JSON.stringify([localStorage, sessionStorage])].join().includes(text);
  }, text);
  await enter(page, email);
  await account(page, email);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await page.getByText("Scan the picture").waitFor();
  const [shown, path] = [await page.locator("#totp-key").textContent(), await page.locator("#qr-path").getAttribute("d")];
  const parts = [shown, shown.replaceAll(" ", ""), path];
  for (const part of parts) assert.equal(await isThere(part), true);
  await page.getByRole("button", { name: "Cancel" }).click();
  for (const part of parts) assert.equal(await isThere(part), false);
  await setUpApp(page);
  const codes = await page.locator("#recovery-codes li").allTextContents();
  await page.getByRole("button", { name: "I have kept them" }).click();
  await account(page, email);
  for (const code of codes) assert.equal(await isThere(code), false);
});

check("a key and recovery codes can be copied, and are selected where that is forbidden", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await profile.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  await enter(page, email);
  await account(page, email);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await page.getByRole("button", { name: "Copy the key" }).click();
  await page.getByRole("status").getByText("Copied.").waitFor();
  assert.match(await copied(), /^[A-Z2-7]{32}$/);
  await page.getByRole("button", { name: "Cancel" }).click();
  await setUpApp(page);
  const codes = await page.locator("#recovery-codes li").allTextContents();
  await page.getByRole("button", { name: "Copy the codes" }).click();
  await page.getByRole("status").getByText("Copied.").waitFor();
  assert.equal(await copied(), codes.join("\n"));
  await page.evaluate(() => Object.defineProperty(Navigator.prototype, "clipboard", { value: undefined }));
  await page.getByRole("button", { name: "Copy the codes" }).click();
  await page.getByRole("status").getByText("The text is selected").waitFor();
  const selected = await page.evaluate(() => getSelection().toString());
  for (const code of codes) assert.ok(selected.includes(code), selected);
});

check("recovery codes on paper say whose they are, and nothing of the page around them", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await enter(page, email);
  await account(page, email);
  await setUpApp(page);
  await page.evaluate(() => (globalThis.print = () => (globalThis.isPrinted = true)));
  await page.getByRole("button", { name: "Print" }).click();
  assert.equal(await page.evaluate(() => isPrinted), true);
  await page.emulateMedia({ media: "print", colorScheme: "dark" });
  await page.getByText(`Recovery codes of ${email}`).waitFor();
  assert.equal(await page.locator("#recovery-codes li").first().isVisible(), true);
  for (const name of ["Print", "I have kept them"]) assert.equal(await page.getByRole("button", { name }).isVisible(), false);
  assert.equal(await alert(page).isVisible(), false);
});

check("an app that the server does not take is not offered again", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" };
  const body = JSON.stringify({ status: 405, code: "method_not_allowed", detail: "…", requestId: "id-1" });
  await page.route("**/api/v2/me/totp", (route) => route.fulfill({ status: 405, headers, body }));
  await enter(page, email);
  await account(page, email);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await alert(page).getByText("Authenticator apps are switched off here.").waitFor();
  assert.equal(await page.locator("#set-up-app").isVisible(), false);
  assert.equal(await page.locator("#no-apps").isVisible(), true);
  await assertAccessible(page);
});

check("a code that comes from somewhere new is asked for all the same", async (profile) => {
  const [page, email] = [await open(profile), setting.user({ twoFactor: "email" })];
  await page.route("**/api/v2/signin", async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    body["2faDetails"] = { ...body["2faDetails"], provider: "pigeon", providers: ["pigeon", "recovery_code"] };
    await route.fulfill({ response, json: body });
  });
  await enter(page, email);
  await page.getByText(`Enter the code for ${email}.`).waitFor();
  assert.equal(await page.getByRole("button", { name: "Send a new code" }).isVisible(), false);
  await page.getByRole("button", { name: "Confirm" }).click();
  assert.equal(await page.locator("#code-error").textContent(), "Enter the code.");
  await assertAccessible(page);
  await page.getByLabel("Code", { exact: true }).fill(await setting.code(email));
  await page.getByRole("button", { name: "Confirm" }).click();
  await account(page, email);
});

check("an app can be set up on the smallest screen, in the dark", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  const assertFits = async (view) => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), view);
  };
  await enter(page, email);
  await account(page, email);
  await page.getByRole("button", { name: "Set up an authenticator app" }).click();
  await page.getByText("Scan the picture").waitFor();
  await assertFits("set up");
  await picture(page, "set-up-app-small-dark", { colorScheme: "dark", width: 320, height: 1010 });
  const [background, modules] = await page.evaluate(() =>
    [["#qr", "backgroundColor"], ["#qr-path", "fill"]].map(([part, name]) => getComputedStyle(document.querySelector(part))[name]),
  );
  assert.deepEqual([background, modules], ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]);
  await page.getByRole("button", { name: "Cancel" }).click();
  await setUpApp(page);
  await assertFits("recovery codes");
  await page.getByRole("button", { name: "I have kept them" }).click();
  await account(page, email);
  await assertFits("account");
}, { viewport: { width: 320, height: 568 }, reducedMotion: "reduce", colorScheme: "dark" });

for (const [locale, title, forgotten, none] of [
  ["de-CH", "Anmelden", "Passwort vergessen?", "Hier ist kein Link"],
  ["es-ES", "Iniciar sesión", "¿Ha olvidado la contraseña?", "Aquí no hay ningún enlace"],
  ["fr-FR", "Se connecter", "Mot de passe oublié ?", "Il n’y a pas de lien ici"],
  ["ja-JP", "Sign in", "Forgot your password?", "There is no link here"],
]) {
  check(`a browser in ${locale} is spoken to in its language, on the smallest screen too`, async (profile) => {
    const page = await open(profile);
    await page.getByRole("heading", { name: title, exact: true }).waitFor();
    const language = locale.startsWith("ja") ? "en" : locale.slice(0, 2);
    assert.equal(await page.evaluate(() => document.documentElement.lang), language);
    await page.getByRole("button", { name: forgotten }).click();
    await page.getByRole("heading", { name: forgotten }).waitFor();
    await page.goto(`${setting.page}/password.html`);
    await page.getByRole("heading", { name: none }).waitFor();
    for (const url of ["", "/password.html", "/admin.html"].map((path) => setting.page + path)) {
      await page.goto(url);
      const wide = await page.evaluate(() => {
        const sections = [...document.querySelectorAll("main > section")];
        for (const part of document.querySelectorAll("main > section [hidden]")) part.hidden = false;
        return sections.filter((section) => {
          for (const each of sections) each.hidden = each !== section;
          return document.documentElement.scrollWidth > innerWidth;
        }).map(({ id }) => id);
      });
      assert.deepEqual(wide, []);
    }
    await page.goto(setting.page);
    if (language === "de") await picture(page, "sign-in-german-small");
    await assertAccessible(page);
  }, { locale, viewport: { width: 320, height: 568 } });
}

check("the markup says in English what the table of words does", async (profile) => {
  for (const path of ["/", "/password.html", "/admin.html"]) {
    const markup = await (await fetch(setting.page + path)).text();
    const page = await open(profile, { url: setting.page + path });
    const said = await page.evaluate(() =>
      [...document.querySelectorAll("[data-words]")].map((each) => [each.dataset.words, each.textContent]),
    );
    const marked = [...markup.matchAll(/data-words="(\w+)"[^>]*>([^<]*)</g)].map(([, name, text]) => [name, text]);
    assert.ok(marked.length > 5);
    assert.deepEqual(said, marked);
  }
});
