// The other pages: the interface to read and try, and the mailbox of the demo.

import assert from "node:assert/strict";

import { assertAccessible, picture } from "./look.mjs";
import { PASSWORD, check, setting } from "./setting.mjs";

const WIDE = { viewport: { width: 1000, height: 800 } };

check("/docs asks nobody but the server, and a call can be tried on it", async (profile) => {
  const page = await profile.context.newPage();
  await page.goto(`${setting.server}/docs`);
  const signin = page.locator("#operations-Sign_in-signin");
  await signin.waitFor();
  await picture(page, "docs");
  await signin.locator("button.opblock-summary-control").click();
  const body = JSON.stringify({ email: setting.user(), password: PASSWORD });
  await signin.locator("textarea").fill(body);
  await signin.getByRole("button", { name: "Execute" }).click();
  await signin.locator(".live-responses-table .response-col_status", { hasText: "200" }).waitFor();
  await signin.locator(".live-responses-table").getByText("2faRequired").first().waitFor();
  const asked = profile.requests.map((request) => new URL(request.url()));
  const hosts = new Set(asked.filter((url) => url.protocol !== "data:").map((url) => url.origin));
  assert.deepEqual([...hosts], [setting.server]);
}, WIDE);

check("the mailbox shows a code to everybody who can read or hear", async (profile) => {
  const email = setting.user({ twoFactor: "email" });
  const body = JSON.stringify({ email, password: PASSWORD });
  const headers = { "Content-Type": "application/json" };
  await fetch(`${setting.server}/api/v2/signin`, { method: "POST", headers, body });
  const code = await setting.code(email);
  const page = await profile.context.newPage();
  await page.goto(setting.mailbox);
  const mail = page.getByRole("article").filter({ hasText: email });
  await mail.locator("code", { hasText: code }).waitFor();
  await picture(page, "mailbox");
  await assertAccessible(page);
  await mail.getByText("As HTML").click();
  await mail.frameLocator("iframe").getByText(code).waitFor();
  await assertAccessible(page);
}, WIDE);

check("the server itself has no sign-in page", async () => {
  for (const path of ["/page.js", "/backoffice-auth.js"]) {
    assert.equal((await fetch(setting.server + path)).status, 404);
  }
  assert.equal((await fetch(`${setting.server}/`)).url, `${setting.server}/docs`);
});
