// Looking at a page: with axe, and with a camera.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";

const AXE = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
const SCREENSHOTS = process.env.SCREENSHOTS;

/** No violation of any of axe's rules, in the light and in the dark. */
export async function assertAccessible(page) {
  await page.evaluate(AXE);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const violations = await page.evaluate(async () => {
      const { violations } = await axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    });
    assert.deepEqual(violations, [], colorScheme);
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
}

/** Takes a picture for docs/images, where that was asked for. */
export async function picture(page, name, options = {}) {
  if (!SCREENSHOTS) return;
  await page.emulateMedia({ colorScheme: options.colorScheme ?? "light", reducedMotion: "reduce" });
  if (options.width) await page.setViewportSize({ width: options.width, height: options.height ?? 640 });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), animations: "disabled", caret: "initial" });
}
