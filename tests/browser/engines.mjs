// Three engines behind one small interface, so that a journey is written once: Chromium by playwright-core,
// Firefox by WebDriver BiDi, WebKitGTK by WebDriver. Each speaks a protocol that its distribution's package
// brings along; nothing is patched.
//
//   engine.profile()  somebody's browser, with storage of its own
//   profile.tab()     one of its tabs
//   tab.goto(url) · tab.run(function, ...values) · tab.keys(text) · tab.press(key) · profile.close()
//   tab.authenticator(kind)  what the tab can have passkeys of, in engines that act as one
//   authenticator.lose()

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Keys by WebDriver's numbers (WebDriver, section 17.4.2). */
const KEYS = { Enter: "\uE007", Tab: "\uE004" };

/** Waits until something is true, and gives it back. */
export async function until(what, condition, seconds = 30) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${seconds} s in vain for ${what}`);
    await sleep(20);
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Two kinds of authenticators: a phone whose passkeys are synced, and a key that keeps none and has no PIN. */
const AUTHENTICATORS = {
  phone: { transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true },
  key: { transport: "usb", hasResidentKey: false, hasUserVerification: false, isUserVerified: false },
};

/** Chromium's authenticators choose by themselves what is offered in a field, which no person would do. */
export const withoutAutofill = () => {
  const { PublicKeyCredential } = globalThis;
  if (PublicKeyCredential) PublicKeyCredential.isConditionalMediationAvailable = async () => false;
};

const source = (body, values) => `(${body})(...${JSON.stringify(values)})`;
const actionsOf = (text) => [
  {
    type: "key",
    id: "keys",
    actions: [...text].flatMap((value) => ["keyDown", "keyUp"].map((type) => ({ type, value }))),
  },
];

/** Starts a program, and ends it when it is told to. */
function start(program, args, environment = {}) {
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH, TZ: "UTC", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const started = { child, output: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (started.output += data));
  process.once("exit", () => child.kill());
  started.stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill();
    await ended;
  };
  return started;
}

/** The browser that playwright-core has started. */
export class Chromium {
  name = "Chromium";

  constructor(browser) {
    this.browser = browser;
  }

  async profile() {
    const context = await this.browser.newContext({ locale: "en-GB", timezoneId: "UTC" });
    const tab = async () => {
      const page = await context.newPage();
      return {
        goto: (url) => page.goto(url),
        run: (body, ...values) => page.evaluate(source(body, values)),
        keys: (text) => page.keyboard.type(text),
        press: (key) => page.keyboard.press(key),
        authenticator: async (kind) => {
          await page.addInitScript(withoutAutofill);
          const session = await context.newCDPSession(page);
          await session.send("WebAuthn.enable");
          const isSynced = kind === "phone";
          const options = {
            protocol: "ctap2",
            automaticPresenceSimulation: true,
            defaultBackupEligibility: isSynced,
            defaultBackupState: isSynced,
            ...AUTHENTICATORS[kind],
          };
          const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", { options });
          return { lose: () => session.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId }) };
        },
        page,
      };
    };
    return { tab, close: () => context.close() };
  }

  async stop() {}
}

/** Firefox's protocol from before BiDi, which has no authenticators. A session can speak both. */
class Marionette {
  #calls = new Map();
  #last = 0;
  #rest = Buffer.alloc(0);

  static async connect(port) {
    const marionette = new Marionette();
    marionette.socket = net.connect(port, "127.0.0.1");
    await once(marionette.socket, "connect");
    marionette.socket.on("data", (data) => marionette.#hear(data));
    return marionette;
  }

  call(name, parameters) {
    const id = ++this.#last;
    const text = JSON.stringify([0, id, name, parameters]);
    this.socket.write(`${Buffer.byteLength(text)}:${text}`);
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  /** Messages have their length in front. */
  #hear(data) {
    this.#rest = Buffer.concat([this.#rest, data]);
    for (;;) {
      const colon = this.#rest.indexOf(":");
      const end = colon + 1 + Number(this.#rest.subarray(0, colon));
      if (colon < 0 || this.#rest.length < end) return;
      const message = JSON.parse(this.#rest.subarray(colon + 1, end));
      this.#rest = this.#rest.subarray(end);
      if (!Array.isArray(message)) continue; // It greets.
      const [, id, error, result] = message;
      const call = this.#calls.get(id);
      if (error) call?.reject(new Error(`${error.error}: ${error.message}`));
      else call?.resolve(result);
    }
  }
}

/** Debian's firefox-esr, by WebDriver BiDi. */
export class Firefox {
  name = "Firefox";
  #calls = new Map();
  #last = 0;
  #typing = Promise.resolve();

  static async start(program, folder) {
    const { WebSocket } = await import("ws");
    const profile = path.join(folder, "firefox");
    await mkdir(profile);
    const marionettePort = await freePort();
    const preferences = {
      "marionette.port": marionettePort,
      "security.webauth.webauthn_enable_softtoken": true,
      "security.webauth.webauthn_enable_usbtoken": false,
      "intl.accept_languages": "en-GB, en",
      "app.update.enabled": false,
      "browser.shell.checkDefaultBrowser": false,
      "datareporting.policy.dataSubmissionEnabled": false,
      "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false,
      "toolkit.telemetry.server": "",
    };
    const lines = Object.entries(preferences).map(([key, value]) => `user_pref("${key}", ${JSON.stringify(value)});`);
    await writeFile(path.join(profile, "user.js"), lines.join("\n"));
    const firefox = new Firefox();
    firefox.program = start(
      program,
      [
        ...["--headless", "--no-remote", "--marionette", "--profile", profile],
        ...["--remote-debugging-port", String(await freePort())],
      ],
      { HOME: profile, MOZ_HEADLESS: "1" },
    );
    await until(
      "Firefox",
      () => {
        assert.equal(firefox.program.child.exitCode, null, firefox.program.output);
        return firefox.program.output.includes("BiDi listening on ws:");
      },
      60,
    );
    firefox.marionette = await until("Marionette", () => Marionette.connect(marionettePort).catch(() => null));
    const { capabilities } = await firefox.marionette.call("WebDriver:NewSession", { webSocketUrl: true });
    firefox.socket = new WebSocket(capabilities.webSocketUrl);
    await once(firefox.socket, "open");
    firefox.socket.on("message", (message) => firefox.#hear(JSON.parse(message)));
    return firefox;
  }

  call(method, params = {}) {
    const id = ++this.#last;
    this.socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, method }));
  }

  #hear({ id, type, result, error, message }) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (type === "success") call?.resolve(result);
    else if (type === "error") call?.reject(new Error(`${call.method}: ${error}: ${message}`));
  }

  async #run(context, text) {
    const expression = `Promise.resolve(${text}).then((value) => JSON.stringify(value ?? null))`;
    const asked = { expression, awaitPromise: true, target: { context } };
    const { type, result, exceptionDetails } = await this.call("script.evaluate", asked);
    if (type !== "success") throw new Error(exceptionDetails.text);
    return JSON.parse(result.value);
  }

  /** Keys reach the tab that is in front alone, so people type one after the other. */
  #type(context, text) {
    const turn = this.#typing.then(async () => {
      await this.call("browsingContext.activate", { context });
      return this.call("input.performActions", { context, actions: actionsOf(text) });
    });
    this.#typing = turn.catch(() => {});
    return turn;
  }

  /** It belongs to all tabs alike. */
  async #authenticator(kind) {
    const options = { protocol: "ctap2_1", isUserConsenting: true, ...AUTHENTICATORS[kind] };
    const { value } = await this.marionette.call("WebAuthn:AddVirtualAuthenticator", options);
    return {
      lose: () => this.marionette.call("WebAuthn:RemoveVirtualAuthenticator", { authenticatorId: value }),
    };
  }

  async profile() {
    const { userContext } = await this.call("browser.createUserContext");
    const tab = async () => {
      const { context } = await this.call("browsingContext.create", { type: "tab", userContext });
      const keys = (text) => this.#type(context, text);
      return {
        goto: (url) => this.call("browsingContext.navigate", { context, url, wait: "complete" }),
        run: (body, ...values) => this.#run(context, source(body, values)),
        keys,
        press: (key) => keys(KEYS[key]),
        authenticator: (kind) => this.#authenticator(kind),
      };
    };
    return { tab, close: () => this.call("browser.removeUserContext", { userContext }) };
  }

  async stop() {
    this.socket?.close();
    this.marionette?.socket.destroy();
    await this.program.stop();
  }
}

/** Debian's webkit2gtk-driver with the small browser of the same sources. It needs a display. */
export class WebKit {
  name = "WebKitGTK";
  #profiles = new Set();

  constructor(driver, browser, folder) {
    this.driver = driver;
    this.browser = browser;
    this.folder = folder;
  }

  /** A driver has one session at a time, so each profile has one of its own. */
  async profile() {
    const port = await freePort();
    const home = await mkdtemp(path.join(this.folder, "webkit-"));
    const program = start(this.driver, [`--port=${port}`], {
      HOME: home,
      DISPLAY: process.env.DISPLAY,
      LANGUAGE: "en_GB",
      WEBKIT_DISABLE_COMPOSITING_MODE: "1",
    });
    const call = async (method, path, body) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
      const { value } = await answer.json();
      if (!answer.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
      return value;
    };
    await until("WebKitWebDriver", () => call("GET", "/status").then(() => true, () => false));
    const options = { binary: this.browser, args: ["--automation"] };
    const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options } };
    const { sessionId } = await call("POST", "/session", { capabilities });
    const at = `/session/${sessionId}`;
    await call("POST", `${at}/timeouts`, { script: 60_000 });
    // Commands go to the tab that was chosen last, so they go one after the other.
    let before = Promise.resolve();
    let isFirst = true;
    const tab = async () => {
      const handle = isFirst
        ? await call("GET", `${at}/window`)
        : (await call("POST", `${at}/window/new`, { type: "tab" })).handle;
      isFirst = false;
      const here = (method, path, body) => {
        const turn = before.then(async () => {
          await call("POST", `${at}/window`, { handle });
          return call(method, at + path, body);
        });
        before = turn.catch(() => {});
        return turn;
      };
      const keys = (text) => here("POST", "/actions", { actions: actionsOf(text) });
      return {
        goto: (url) => here("POST", "/url", { url }),
        run: async (body, ...values) => {
          const script = `const done = arguments[0];
            Promise.resolve().then(() => ${source(body, values)})
              .then((value) => done(JSON.stringify({ value: value ?? null })), (error) => done(JSON.stringify({ error: String(error) })));`;
          const { value, error } = JSON.parse(await here("POST", "/execute/async", { script, args: [] }));
          if (error) throw new Error(error);
          return value;
        },
        keys,
        press: (key) => keys(KEYS[key]),
      };
    };
    const close = async () => {
      if (!this.#profiles.delete(profile)) return;
      await call("DELETE", at);
      await program.stop();
    };
    const profile = { tab, close };
    this.#profiles.add(profile);
    return profile;
  }

  async stop() {
    for (const profile of this.#profiles) await profile.close();
  }
}
