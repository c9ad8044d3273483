// All checks in Chromium, and the journeys in Firefox too, some at a time, against one server.

import { after, before, describe, test } from "node:test";

import "./administration.mjs";
import "./elsewhere.mjs";
import { Chromium, Firefox } from "./engines.mjs";
import { journeys } from "./journeys.mjs";
import "./module.mjs";
import "./page.mjs";
import "./passkeys.mjs";
import { checks, setting } from "./setting.mjs";

const { FIREFOX, FOLDER } = process.env;

describe("in Chromium", { concurrency: 2 }, () => {
  for (const [name, body] of checks) test(name, { timeout: 120_000 }, body);
});

const engines = { Chromium: async () => new Chromium(setting.browser) };
if (FIREFOX) engines.Firefox = () => Firefox.start(FIREFOX, FOLDER);
for (const [name, start] of Object.entries(engines)) {
  describe(`journeys in ${name}`, { concurrency: name === "Firefox" ? 1 : 2 }, () => {
    let engine;
    before(async () => (engine = await start()));
    after(() => engine?.stop());
    for (const [name, body] of journeys) test(name, { timeout: 120_000 }, () => body(engine));
  });
}
