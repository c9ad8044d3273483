// The page for administrators: the calls that a support desk gets, answered in it; and the behaviour of the
// page where it may not do something, or has to ask.

import assert from "node:assert/strict";

import { assertAccessible, picture } from "./look.mjs";
import { account, alert, confirm, enter, focused, open } from "./page.mjs";
import { PASSWORD, check, routeFirst, setting, until } from "./setting.mjs";
import { App } from "./totp.mjs";

const WIDE = { viewport: { width: 1000, height: 800 } };
const SMALLEST = { viewport: { width: 320, height: 640 }, reducedMotion: "reduce" };

const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const field = (page, label) => page.getByLabel(label, { exact: true }).filter({ visible: true });
const title = (page, name) => page.getByRole("heading", { name, level: 2, exact: true }).waitFor();
const dialog = (page) => page.getByRole("dialog");
const url = () => `${setting.page}/admin.html`;

/** A call of the server's interface, as a page makes it. */
async function call(method, path, { token, body } = {}) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(`${setting.server}/api/v2${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, body: text && JSON.parse(text) };
}

const signInBy = (email, password = PASSWORD) => call("POST", "/signin", { body: { email, password } });

/** Somebody who has set an authenticator app up. */
async function withApp(email) {
  const { body } = await signInBy(email);
  const token = body.accessToken.token;
  const begun = (await call("POST", "/me/totp", { token })).body;
  const app = new App(begun.secret);
  const confirmed = await call("POST", "/me/totp/confirm", { token, body: { id: begun.id, code: await app.code() } });
  assert.equal(confirmed.status, 200);
  return { app, recoveryCodes: confirmed.body.recoveryCodes };
}

/** An administrator who is signed in, and sees the list. */
async function administrator(profile) {
  const email = setting.user();
  const { app } = await withApp(email);
  await setting.command(["user", "administrator", email, "on"]);
  const page = await open(profile);
  await enter(page, email);
  await confirm(page, await app.code());
  await account(page, email);
  await page.getByRole("link", { name: "Manage people" }).click();
  await title(page, "People");
  await listed(page);
  return { page, email, app };
}

/** Waits until the list has answered, and tells what it says. */
async function listed(page) {
  const told = page.locator("#found");
  await until("the list", async () => (await told.textContent()) !== "" && (await idle(page)));
  return told.textContent();
}

const idle = async (page) => (await page.locator("#search-form").getAttribute("aria-busy")) !== "true";

/** Looks for people. */
async function search(page, start, state = "Any") {
  await page.getByLabel("Address begins with").fill(start);
  await page.getByLabel("State").selectOption(state);
  await press(page, "Search");
  await until("the answer", () => idle(page));
  return listed(page);
}

/** From the list to one person. */
async function find(page, email) {
  assert.equal(await search(page, email), "People shown: 1");
  await page.getByRole("link", { name: email }).click();
  await title(page, email);
  await page.locator("#about").waitFor();
}

/** Does what has to be confirmed. */
async function pressAndConfirm(page, name, email) {
  await press(page, name);
  await dialog(page).getByRole("heading").getByText(email).waitFor();
  await dialog(page).getByRole("button", { name, exact: true }).click();
}

/** The acts that a page has asked for. */
const acts = (profile) =>
  profile.requests.filter((request) => request.url().includes("/admin/") && request.method() !== "GET");
const says = (page, text) => alert(page).getByText(text).waitFor();
const section = (page, id) => page.locator(`#${id}`);

async function assertFits(page, view) {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), view);
}

/** The roles that screen readers get. */
async function rolesIn(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  return nodes.filter(({ ignored }) => !ignored).map(({ role }) => role.value);
}

/** The same part of an address for some people of a test. */
const someName = () => `desk-${crypto.randomUUID().slice(0, 8)}`;

check("somebody new is invited, and invited again when the link is lost", async (profile) => {
  const { page } = await administrator(profile);
  const email = `${someName()}@bar.com`;
  await press(page, "Invite somebody");
  assert.equal(await focused(page), "invite-email");
  await assertAccessible(page);
  await press(page, "Send the invitation");
  assert.equal(await page.locator("#invite-email-error").textContent(), "Enter the person’s email address.");
  await field(page, "Email address").fill("nobody");
  await press(page, "Send the invitation");
  await page.locator("#invite-email-error").getByText("must have exactly one @").waitFor();
  await field(page, "Email address").fill(email);
  await press(page, "Send the invitation");
  await says(page, `An invitation is on its way to ${email}.`);
  await title(page, email);
  await section(page, "person-marks").getByText("Invited").waitFor();
  await section(page, "obstacles").getByText("The account has no password yet.").waitFor();
  await assertAccessible(page);
  const first = await setting.link(email);
  await press(page, "Mail the invitation again");
  await says(page, `A link is on its way to ${email}.`);
  assert.notEqual(await setting.link(email, 2), first);

  await page.getByRole("link", { name: "All people" }).click();
  await press(page, "Invite somebody");
  await field(page, "Email address").fill(email);
  await press(page, "Send the invitation");
  await says(page, "Somebody has this address already.");
  assert.equal(await focused(page), "invite-email");
  await assertAccessible(page);
}, WIDE);

check("somebody who forgot the password gets a link", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await press(page, "Mail a link to set a password");
  await says(page, `A link is on its way to ${email}.`);
  assert.equal(await focused(page), "person-title");
  const link = await setting.link(email);
  const { status } = await call("POST", "/password/link", { body: { token: link.split("#")[1] } });
  assert.equal(status, 200);
  await section(page, "mails").getByText(/^Link/).waitFor();
});

check("a block after too many attempts is explained, and lifted", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await signInBy(email);
  for (let attempt = 0; attempt < 6; attempt++) await signInBy(email, "wrong");
  assert.equal((await signInBy(email)).status, 429);
  await find(page, email);
  await section(page, "obstacles").getByText(/^Sign-ins: blocked after too many attempts/).waitFor();
  await section(page, "obstacles").getByText("“Unlock” lifts it at once.").first().waitFor();
  assert.ok(await section(page, "obstacles").locator("time[datetime]").count() > 0);
  await picture(page, "administration-person", { width: 1000, height: 1000 });
  await assertAccessible(page);
  await press(page, "Unlock");
  await says(page, `All blocks on ${email} are lifted.`);
  await section(page, "obstacles").getByText("None: the person can sign in.").waitFor();
  assert.equal((await signInBy(email)).status, 200);
}, WIDE);

check("a lost phone is taken out of the account, once that is confirmed", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await withApp(email);
  await find(page, email);
  await section(page, "details").getByText("Authenticator app").waitFor();
  await press(page, "Remove the second factors");
  await dialog(page).getByRole("heading", { name: `Remove the second factors of ${email}?` }).waitFor();
  await assertAccessible(page);
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  assert.equal(await focused(page), "reset-factors");
  assert.deepEqual((await signInBy(email)).body["2faDetails"].provider, "totp");
  await pressAndConfirm(page, "Remove the second factors", email);
  await says(page, `The second factors of ${email} are removed.`);
  assert.equal(await page.locator("#reset-factors").isVisible(), false);
  assert.equal((await signInBy(email)).body["2faDetails"].provider, "email");
});

check("codes by mail are switched on and off", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user({ twoFactor: "email" });
  assert.equal((await signInBy(email)).body["2faRequired"], true);
  await setting.code(email);
  await find(page, email);
  await section(page, "mails").getByText("Code: sent").waitFor();
  await press(page, "Ask for no code");
  await says(page, `${email} gets no code by mail any more.`);
  assert.equal((await signInBy(email)).body["2faRequired"], false);
  await press(page, "Ask for a code by mail");
  await says(page, `${email} gets a code by mail at each sign-in.`);
  assert.equal((await signInBy(email)).body["2faRequired"], true);
});

check("a laptop that was left somewhere is signed out: alone, or with all the rest", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  const tokens = [];
  for (let count = 0; count < 3; count++) tokens.push((await signInBy(email)).body.accessToken.token);
  const live = async () => {
    const answers = await Promise.all(tokens.map((token) => call("GET", "/session", { token })));
    return answers.filter(({ status }) => status === 200).length;
  };
  await find(page, email);
  const buttons = section(page, "sessions").getByRole("button");
  assert.equal(await buttons.count(), 3);
  await buttons.first().click();
  await says(page, "The session is over.");
  assert.equal(await buttons.count(), 2);
  await until("one session less", async () => (await live()) === 2);
  await press(page, "Sign out everywhere");
  await says(page, `${email} is signed out everywhere.`);
  await section(page, "sessions").getByText("The person is signed in nowhere.").waitFor();
  await until("no session", async () => (await live()) === 0);
});

check("somebody who has left is disabled, enabled again, and deleted at last", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await press(page, "Disable");
  await dialog(page).getByText("All sessions end at once").waitFor();
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  assert.equal((await signInBy(email)).status, 200);
  await pressAndConfirm(page, "Disable", email);
  await says(page, `${email} is disabled, and signed out everywhere.`);
  await section(page, "obstacles").getByText("“Enable” lets the person in again.").waitFor();
  assert.equal((await signInBy(email)).status, 401);
  assert.equal(await page.locator("#mail-link").isVisible(), false);
  await assertAccessible(page);
  await page.getByRole("link", { name: "All people" }).click();
  assert.equal(await search(page, email, "Disabled"), "People shown: 1");
  assert.equal(await search(page, email, "Active"), "Nobody was found.");
  await find(page, email);
  await press(page, "Enable");
  await says(page, `${email} can sign in again.`);
  assert.equal((await signInBy(email)).status, 200);
  await pressAndConfirm(page, "Delete", email);
  await says(page, `${email} is deleted.`);
  await title(page, "People");
  assert.equal(new URL(page.url()).hash, "");
  assert.equal((await signInBy(email)).status, 401);
});

check("another address is given to somebody, unless somebody else has it", async (profile) => {
  const { page } = await administrator(profile);
  const [email, taken, other] = [setting.user(), setting.user(), `${someName()}@bar.com`];
  await find(page, email);
  await press(page, "Change the address");
  assert.equal(await focused(page), "new-email");
  await assertAccessible(page);
  await field(page, "New email address").fill(taken);
  await press(page, "Change the address");
  await dialog(page).getByRole("heading", { name: `Change ${email} to ${taken}?` }).waitFor();
  await dialog(page).getByRole("button", { name: "Change the address" }).click();
  await says(page, "Somebody has this address already.");
  assert.equal(await focused(page), "new-email");
  await field(page, "New email address").fill(other);
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("button", { name: "Change the address" }).click();
  await says(page, `The address is changed to ${other}.`);
  await title(page, other);
  assert.equal(await page.title(), `${other} · Back Office`);
  assert.equal((await signInBy(other)).status, 200);
  assert.equal((await signInBy(email)).status, 401);
});

check("what happened to somebody is told from the newest on, and further back", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  for (let count = 0; count < 25; count++) {
    await signInBy(email);
    if (count % 5 === 4) await setting.command(["user", "unlock", email]);
  }
  await find(page, email);
  const events = section(page, "events").locator("> li");
  assert.equal(await events.count(), 20);
  await events.getByText("Sign-in: granted").first().waitFor();
  assert.ok(await events.first().locator("time[datetime]").isVisible());
  await press(page, "Show older");
  await until("more of them", async () => (await events.count()) > 24);
  assert.equal(await events.nth(20).evaluate((line) => line === document.activeElement), true);
});

check("people are found by how their address begins and by their state, page by page", async (profile) => {
  const { page } = await administrator(profile);
  const name = someName();
  const emails = Array.from({ length: 53 }, (_, number) => `${name}-${String(number).padStart(2, "0")}@bar.com`);
  const lines = emails.map((email) => JSON.stringify({ email, passwordHash: null }));
  await setting.command(["user", "import", "-"], lines.join("\n"));
  await setting.command(["user", "disable", emails[52]]);
  assert.equal(await search(page, name.toUpperCase()), "People shown: 50. There are more.");
  await picture(page, "administration-list", { width: 1000, height: 800 });
  await assertAccessible(page);
  await press(page, "Show more");
  await until("the rest", async () => (await listed(page)) === "People shown: 53");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), emails[50]);
  assert.deepEqual(await page.getByRole("rowheader").allTextContents(), emails);
  assert.equal(await page.getByRole("columnheader").count(), 4);
  assert.equal(await search(page, name, "Disabled"), "People shown: 1");
  assert.equal(await search(page, name, "Invited"), "People shown: 50. There are more.");
  assert.equal(await search(page, `nobody-${name}`), "Nobody was found.");
  await assertAccessible(page);
}, WIDE);

check("an act can be done with keys alone, and the focus is always seen", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  const isFocusSeen = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle === "solid");
  const tabTo = async (what) => {
    for (let count = 0; count < 30; count++) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((what) => document.activeElement.matches(what), what)) return;
    }
    assert.fail(`no way to ${what}`);
  };
  assert.equal(await focused(page), "people-title");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "search-email");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.type(email);
  await page.keyboard.press("Enter");
  await until("the person", async () => (await page.locator("#rows a").allTextContents()).join() === email);
  await tabTo("#rows a");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Enter");
  await title(page, email);
  await until("the focus", async () => (await focused(page)) === "person-title");
  await page.locator("#about").waitFor();
  await tabTo("#disable");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Enter");
  await dialog(page).waitFor();
  assert.equal(await focused(page), "ask-no");
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  assert.equal(await focused(page), "disable");
  assert.equal((await signInBy(email)).status, 200);
  assert.equal(acts(profile).length, 0);
  await page.keyboard.press("Space");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "ask-yes");
  assert.equal(await isFocusSeen(), true);
  await page.keyboard.press("Enter");
  await says(page, `${email} is disabled`);
  assert.equal(await focused(page), "person-title");
  assert.equal((await signInBy(email)).status, 401);
});

check("an administrator whose sign-in was some time ago signs in again, and the act is done", async (profile) => {
  const { page, email: mine, app } = await administrator(profile);
  const email = setting.user();
  await setting.age(mine);
  await find(page, email);
  await pressAndConfirm(page, "Disable", email);
  await page.getByText("by your second factor").waitFor();
  assert.equal(await focused(page), "again-password");
  assert.equal(await page.locator("#again-email").inputValue(), mine);
  assert.equal((await signInBy(email)).status, 200, "nothing is done yet");
  await assertAccessible(page);
  await page.getByRole("button", { name: "Cancel" }).click();
  await title(page, email);
  await section(page, "person-marks").getByText("Active").waitFor();
  await pressAndConfirm(page, "Disable", email);
  await page.locator("#again-password").fill(PASSWORD);
  await press(page, "Sign in again");
  await page.getByText("Enter what your authenticator app shows").waitFor();
  await assertAccessible(page);
  await confirm(page, await app.code());
  await says(page, `${email} is disabled`);
  await title(page, email);
  assert.equal((await signInBy(email)).status, 401);
});

check("an administrator without a second factor is led to one, and in with it", async (profile) => {
  const email = setting.user();
  await setting.command(["user", "administrator", email, "on"]);
  const page = await open(profile, { url: url() });
  await title(page, "Sign in first");
  await assertAccessible(page);
  await page.getByRole("link", { name: "Go to sign-in" }).click();
  await enter(page, email);
  await account(page, email);
  await page.getByRole("link", { name: "Manage people" }).click();
  await title(page, "Set up a second factor first");
  assert.equal(await focused(page), "no-factor-title");
  await assertAccessible(page);
  await page.getByRole("link", { name: "Go to your account" }).click();
  await press(page, "Set up an authenticator app");
  const app = new App(await page.locator("#totp-key").filter({ hasText: /\S/ }).textContent());
  await confirm(page, await app.code());
  await press(page, "I have kept them");
  await page.getByRole("link", { name: "Manage people" }).click();
  await page.getByText("by your second factor").waitFor();
  await page.locator("#again-password").fill(PASSWORD);
  await press(page, "Sign in again");
  await page.getByText("Enter what your authenticator app shows").waitFor();
  await confirm(page, await app.code());
  await title(page, "People");
  await listed(page);
});

check("somebody who is no administrator is told so, and finds no way here", async (profile) => {
  const [page, email] = [await open(profile), setting.user()];
  await enter(page, email);
  await account(page, email);
  assert.equal(await page.getByRole("link", { name: "Manage people" }).isVisible(), false);
  await page.goto(url());
  await title(page, "This page is for administrators");
  await page.getByText(`You are signed in as ${email}.`).waitFor();
  await assertAccessible(page);
});

check("a role that is taken away while the page is open is noticed, and nobody is left on it", async (profile) => {
  const { page, email: mine } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await setting.command(["user", "administrator", mine, "off"]);
  await press(page, "Unlock");
  await title(page, "This page is for administrators");
  assert.equal(await page.evaluate((email) => document.body.textContent.includes(email), email), false);
});

check("nothing is offered for an administrator, and one who becomes one is left alone", async (profile) => {
  const { page, email: mine } = await administrator(profile);
  const email = setting.user();
  await find(page, mine);
  await section(page, "person-marks").getByText("Administrator").waitFor();
  await page.getByText("on the command line of the server").waitFor();
  assert.equal(await page.locator("#acts").isVisible(), false);
  assert.equal(await section(page, "sessions").getByRole("button").count(), 0);
  await assertAccessible(page);
  await page.getByRole("link", { name: "All people" }).click();
  await find(page, email);
  await setting.command(["user", "administrator", email, "on"]);
  await press(page, "Unlock");
  await says(page, "Your account may not do this.");
  await until("no acts", async () => !(await page.locator("#acts").isVisible()));
});

check("somebody who was deleted meanwhile is said to be gone", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await setting.command(["user", "delete", email]);
  await press(page, "Unlock");
  await says(page, "This person has no account any more.");
  await title(page, "People");
});

check("somebody who was disabled meanwhile gets no link, and is shown as disabled", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await setting.command(["user", "disable", email]);
  await press(page, "Mail a link to set a password");
  await says(page, "The account is disabled. Enable it first.");
  await section(page, "person-marks").getByText("Disabled").waitFor();
});

check("a link that has to wait stops nothing else, and one that is not mailed here is said to be", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  const refuse = (status, code, more) =>
    routeFirst(page, "**/api/v2/admin/users/*/link", 1, (route) => {
      const headers = { "Access-Control-Allow-Origin": "*", "Content-Type": "application/problem+json" };
      const body = JSON.stringify({ status, code, detail: "…", requestId: "id-1", ...more });
      return route.fulfill({ status, headers, body });
    });
  await refuse(429, "too_many_attempts", { retryAfter: 1800 });
  await press(page, "Mail a link to set a password");
  await says(page, /Too many attempts\. Wait until \d\d:\d\d\./);
  assert.equal(await page.locator("#unlock").getAttribute("aria-disabled"), "false");
  await refuse(404, "not_found");
  await press(page, "Mail a link to set a password");
  await says(page, "Links by mail are switched off here.");
  await title(page, email);
});

check("a server that does not answer at first is asked again by the button", async (profile) => {
  const { page } = await administrator(profile);
  await routeFirst(page, "**/api/v2/me", 1, (route) => route.abort());
  await page.reload();
  await says(page, "The server cannot be reached.");
  await press(page, "Search");
  await listed(page);
  assert.ok((await page.getByRole("rowheader").count()) > 0);
});

check("the address of the page brings one person back, and the browser's buttons lead through them", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  await page.reload();
  await title(page, email);
  assert.equal(await page.title(), `${email} · Back Office`);
  await page.goBack();
  await title(page, "People");
  await listed(page);
  await page.goForward();
  await title(page, email);
});

check("people who sign out leave nobody else on the page", async (profile) => {
  const { page } = await administrator(profile);
  const email = setting.user();
  await find(page, email);
  const other = await open(profile);
  await press(other, "Sign out");
  await title(page, "Sign in first");
  assert.equal(await page.evaluate((email) => document.body.textContent.includes(email), email), false);
});

for (const colorScheme of ["light", "dark"]) {
  check(`on the smallest screen nothing has to be scrolled sideways, in the ${colorScheme}`, async (profile) => {
    const { page } = await administrator(profile);
    const email = setting.user();
    await signInBy(email);
    await withApp(email);
    await search(page, email);
    await assertFits(page, "list");
    await assertAccessible(page);
    if (colorScheme === "dark") {
      await picture(page, "administration-list-small-dark", { colorScheme, width: 320, height: 740 });
    }
    // A table on a large screen still is one.
    const roles = await rolesIn(page);
    for (const role of ["table", "columnheader", "rowheader", "cell"]) assert.ok(roles.includes(role), role);
    await page.getByRole("link", { name: email }).click();
    await title(page, email);
    await page.locator("#about").waitFor();
    await assertFits(page, "person");
    await assertAccessible(page);
    await press(page, "Delete");
    await dialog(page).waitFor();
    await assertFits(page, "dialog");
    await assertAccessible(page);
    if (colorScheme === "dark") {
      await picture(page, "administration-delete-small-dark", { colorScheme, width: 320, height: 640 });
    }
    await dialog(page).getByRole("button", { name: "Cancel" }).click();
    await press(page, "Change the address");
    await assertFits(page, "change-address");
    await press(page, "Cancel");
    // Messages are seen from far down.
    await page.locator("#events > li").last().scrollIntoViewIfNeeded();
    await routeFirst(page, "**/api/v2/admin/users/*/unlock", 1, (route) => route.abort());
    await page.locator("#unlock").evaluate((button) => button.click());
    await says(page, "The server cannot be reached.");
    assert.equal(await alert(page).evaluate((element) => {
      const { top, bottom } = element.getBoundingClientRect();
      return top >= 0 && bottom <= innerHeight;
    }), true);
    await page.getByRole("link", { name: "All people" }).click();
    await press(page, "Invite somebody");
    await assertFits(page, "invite");
    await assertAccessible(page);
  }, { ...SMALLEST, colorScheme });
}
