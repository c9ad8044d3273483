// The journeys in WebKitGTK, one at a time: a key goes to the window that is in front.

import { after, describe, test } from "node:test";

import { WebKit } from "./engines.mjs";
import { journeys } from "./journeys.mjs";
import "./setting.mjs";

const { WEBKIT_DRIVER, MINIBROWSER, FOLDER } = process.env;

describe("journeys in WebKitGTK", () => {
  const engine = new WebKit(WEBKIT_DRIVER, MINIBROWSER, FOLDER);
  after(() => engine.stop());
  for (const [name, body, needs] of journeys) {
    // WebKitGTK has no passkeys.
    test(name, { timeout: 120_000, skip: needs === "authenticators" }, () => body(engine));
  }
});
