// All checks in Chromium, some at a time, against one server.

import { describe, test } from "node:test";

import "./elsewhere.mjs";
import "./module.mjs";
import "./page.mjs";
import { checks } from "./setting.mjs";

describe("in Chromium", { concurrency: 4 }, () => {
  for (const [name, body] of checks) test(name, { timeout: 120_000 }, body);
});
