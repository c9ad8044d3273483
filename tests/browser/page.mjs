// The sign-in page, as people use it: with a pointer, with keys alone, on a small screen, in many tabs.

import assert from "node:assert/strict";

import { assertAccessible, picture } from "./look.mjs";
import { PASSWORD, check, setting, until } from "./setting.mjs";

const SMALL = { viewport: { width: 720, height: 620 } };
const BLOCK = 300;

async function open({ context }, clock) {
  const page = await context.newPage();
  if (clock) await page.clock.install(clock);
  await page.goto(setting.page);
  return page;
}

async function enter(page, email, password = PASSWORD) {
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Waits until the page says that somebody is signed in, with the list of sessions. */
async function account(page, email) {
  await page.getByRole("heading", { name: "You are signed in", exact: true }).waitFor();
  await page.getByText("This browser").waitFor();
  assert.equal(await page.locator("#who").textContent(), email);
}

async function confirm(page, code) {
  await page.getByLabel("Six-digit code").fill(code);
  await page.getByRole("button", { name: "Confirm" }).click();
}

const alert = (page) => page.getByRole("alert");
const signedOut = (page) => page.getByRole("heading", { name: "Sign in" }).waitFor();
const focused = (page) => page.evaluate(() => document.activeElement.id);
const signins = (profile) =>
  profile.requests.filter((request) => request.method() === "POST" && request.url().endsWith("/signin"));

check("who has no second factor signs in and out again", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
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
  assert.equal(await page.getByLabel("Six-digit code").getAttribute("autocomplete"), "one-time-code");
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
  const field = page.getByLabel("Six-digit code");
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
  await page.getByRole("button", { name: "Sign in" }).click();
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
  const page = await open(profile, { time: Date.now() });
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
  const button = page.getByRole("button", { name: "Sign in" });
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
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Enter");
  await until("the field for the code", async () => (await focused(page)) === "code");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.type(await setting.code(email));
  await page.keyboard.press("Enter");
  await account(page, email);
  assert.equal(await focused(page), "account-title");
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
    await picture(page, "two-sessions");
    await assertAccessible(page);
    await page.getByRole("button", { name: "End the session of Another/1.0" }).click();
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
  await page.getByRole("button", { name: "Sign in" }).click();
  await assertFits("errors");
  await enter(page, email);
  await page.getByText("A code is on its way").waitFor();
  await assertFits("code");
  await picture(page, "code-small-dark", { colorScheme: "dark" });
  await confirm(page, await setting.code(email));
  await account(page, email);
  await assertFits("account");
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
  await page.route("**/api/v2/signin", (route) => route.fulfill({ status: 503, headers: { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" }, body: JSON.stringify(busy) }), { times: 1 });
  await page.getByRole("button", { name: "Sign in" }).click();
  await alert(page).getByText("The service is busy at the moment.").waitFor();
  await page.getByRole("button", { name: "Sign in" }).click();
  await account(page, email);
});
