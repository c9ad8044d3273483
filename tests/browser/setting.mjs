// The setting of the checks: a `dev` of their own, more servers on its database, pages, a browser.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, readdir } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

import { freePort, until } from "./engines.mjs";

export { until };

const BIN = process.env.BIN;
const FOLDER = process.env.FOLDER;
const CHROMIUM = process.env.CHROMIUM;
const DOCS = new URL("../../docs/browser/", import.meta.url);

export const PASSWORD = "Secret123";
/** Of that password: made once, since a debug build takes its time. */
const HASH =
  "$argon2id$v=19$m=19456,t=2,p=1$HGlPS1d4wWN2sOGylJQkXQ$JEqrKOkpDSUR+YOJIH8uq0MM0jjePv3vhxup7AEJ1jU";
const USERS = 240;
/** A name that is not this machine's own, so a page there is not a secure context. */
const INSECURE_HOST = "office.test";
/** The content types of the files of docs/browser. */
const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".ts": "text/plain",
};
const EMPTY = [TYPES[".html"], "<!doctype html><title>module</title>"];
/** `dev` lets pages of this machine call it, so the one that it refuses is elsewhere. */
const REFUSED_HOST = "page.example";

class Program {
  constructor(name, args, cwd, environment) {
    this.name = name;
    this.output = "";
    const log = createWriteStream(path.join(FOLDER, `${name}.log`));
    this.process = spawn(BIN, args, {
      cwd,
      env: { PATH: process.env.PATH, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.ended = once(this.process, "exit");
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.on("data", (data) => {
        this.output += data;
        log.write(data);
      });
    }
  }

  async isReady(management) {
    if (this.process.exitCode !== null) throw new Error(`${this.name} has stopped:\n${this.output}`);
    const answer = await fetch(`http://127.0.0.1:${management}/health/ready`).catch(() => null);
    return answer?.status === 200;
  }

  async stop() {
    if (this.process.exitCode === null) {
      this.process.kill("SIGTERM");
      await Promise.race([this.ended, sleep(15_000, null, { ref: false })]);
      if (this.process.exitCode === null) this.process.kill("SIGKILL");
    }
  }
}

export class Setting {
  /** Everything, running. */
  static async start() {
    const setting = new Setting();
    try {
      await setting.#start();
    } catch (error) {
      await setting.stop();
      throw error;
    }
    return setting;
  }

  programs = [];
  servers = [];
  #users = 0;

  async #start() {
    // Pages of an allowed origin, of one that is not, and of one without TLS.
    const [allowed, refused] = [await this.#serveModule(), await this.#serveModule()];
    this.allowed = `http://127.0.0.1:${allowed}`;
    this.refused = `http://${REFUSED_HOST}:${refused}`;
    this.insecure = `http://${INSECURE_HOST}:${allowed}`;
    this.folder = path.join(FOLDER, "dev");
    await mkdir(this.folder);
    const dev = await this.#startServer("dev", ["dev"]);
    this.server = dev.url;
    const told = (what) => dev.program.output.match(new RegExp(`^  ${what} +(http\\S+)$`, "m"))[1];
    await until("the welcome", () => dev.program.output.includes("  mailbox"));
    this.page = told("sign-in page");
    this.passwordPage = `${this.page}/password.html`;
    this.mailbox = told("mailbox");
    await this.#importUsers();
    if (CHROMIUM) this.browser = await this.#startChromium();
  }

  #startChromium() {
    return chromium.launch({
      executablePath: CHROMIUM,
      args: [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1, MAP ${REFUSED_HOST} 127.0.0.1`,
        ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      ],
    });
  }

  async stop() {
    await this.browser?.close();
    for (const program of this.programs.reverse()) await program.stop();
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  /** Another server on the same database, with settings of its own. */
  async another(name, environment) {
    const args = ["--config", path.join(this.folder, ".dev/config.toml"), "serve"];
    return (await this.#startServer(name, args, environment)).url;
  }

  async #startServer(name, args, environment) {
    const [listen, management] = [await freePort(), await freePort()];
    const program = new Program(name, args, this.folder, {
      BACKOFFICE_AUTH__HTTP__LISTEN: `127.0.0.1:${listen}`,
      BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN: `127.0.0.1:${management}`,
      BACKOFFICE_AUTH__HTTP__ALLOWED_ORIGINS: `${this.allowed},${this.insecure}`,
      // All requests come from one address here. Limits per user are as usual.
      BACKOFFICE_AUTH__LIMITS__SIGNIN_NETWORK_PER_MINUTE: "1000",
      // People who set up an app here use it at once, and more than once.
      BACKOFFICE_AUTH__LIMITS__CONFIRM__ATTEMPTS: "12",
      ...environment,
    });
    this.programs.push(program);
    await until(`${name} to be ready`, () => program.isReady(management), 60);
    return { program, url: `http://127.0.0.1:${listen}` };
  }

  /** Users of whom each test takes its own, since attempts are counted. */
  async #importUsers() {
    const lines = ["email", "off"].flatMap((twoFactor) =>
      Array.from({ length: USERS }, (_, number) =>
        JSON.stringify({ email: `${twoFactor}-${number}@bar.com`, passwordHash: HASH, twoFactor }),
      ),
    );
    await this.command(["user", "import", "-"], lines.join("\n"));
  }

  /** A command of an operator. */
  async command(args, input = "") {
    const run = spawn(BIN, ["--config", ".dev/config.toml", ...args], {
      cwd: this.folder,
      stdio: ["pipe", "ignore", "inherit"],
    });
    run.stdin.end(input);
    const [code] = await once(run, "exit");
    if (code !== 0) throw new Error(`${args.join(" ")} has failed`);
  }

  /** The address of a user whom nobody has used. */
  user({ twoFactor = "off" } = {}) {
    if (this.#users === USERS) throw new Error("there are no users left");
    return `${twoFactor}-${this.#users++}@bar.com`;
  }

  /** The code of the newest of so many mails to an address. */
  async code(email, mails = 1) {
    const arrived = await until(`a mail to ${email}`, async () => {
      const codes = (await this.#mails(email)).flatMap(({ code }) => code ?? []);
      return codes.length >= mails && codes;
    });
    return arrived[0];
  }

  /** The link of the newest of so many mails with links to an address. */
  async link(email, mails = 1) {
    const arrived = await until(`a link to ${email}`, async () => {
      const links = (await this.#mails(email)).flatMap(({ text }) => text.match(/http\S+#\S+/) ?? []);
      return links.length >= mails && links;
    });
    return arrived[0];
  }

  /** Makes the sign-ins of a user look as if they had been an hour ago. */
  async age(email) {
    const url = (await readFile(path.join(this.folder, ".dev/config.toml"), "utf8")).match(/^url = "(.*)"$/m)[1];
    const statement = `UPDATE sessions SET created_at = created_at - INTERVAL '1 hour'
      WHERE user_id = (SELECT user_id FROM users WHERE email = '${email}')`;
    const run = spawn("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement], { stdio: "inherit" });
    const [code] = await once(run, "exit");
    if (code !== 0) throw new Error("psql has failed");
  }

  /** How many codes were mailed to an address. */
  async codesTo(email) {
    return (await this.#mails(email)).filter(({ code }) => code).length;
  }

  /** The newest comes first. */
  async #mails(email) {
    return (await fetch(`${this.mailbox}/mails.json?to=${email}`)).json();
  }

  /** Another server, with pages of its own. */
  async anotherWithPages(name, environment) {
    const files = {};
    const page = `http://localhost:${await this.#serve(files)}`;
    const server = await this.another(name, { BACKOFFICE_AUTH__HTTP__ALLOWED_ORIGINS: page, ...environment });
    const policy = (await fetch(this.page)).headers.get("Content-Security-Policy").replaceAll(this.server, server);
    for (const file of await readdir(DOCS)) {
      const text = (await readFile(new URL(file, DOCS), "utf8")).replace("http://127.0.0.1:8080", server);
      files[`/${file}`] = [TYPES[path.extname(file)], text, { "Content-Security-Policy": policy }];
    }
    files["/"] = files["/index.html"];
    return page;
  }

  /** A page with the module, and nothing else, on it. */
  async #serveModule() {
    const module = await readFile(new URL("backoffice-auth.js", DOCS));
    return this.#serve({ "/": EMPTY, "/backoffice-auth.js": [TYPES[".js"], module] });
  }

  /** Serves files, and gives the port. */
  async #serve(files) {
    const server = http.createServer((request, response) => {
      const [type, text, headers] = files[request.url] ?? ["text/plain", ""];
      response.writeHead(files[request.url] ? 200 : 404, { "Content-Type": type, ...headers }).end(text);
    });
    this.servers.push(server);
    await once(server.listen(0, "127.0.0.1"), "listening");
    return server.address().port;
  }

  /** A browser profile of its own. It notes the requests of its pages, and their errors. */
  async profile(options) {
    const context = await this.browser.newContext({ locale: "en-GB", timezoneId: "UTC", ...options });
    context.setDefaultTimeout(30_000);
    const profile = { context, violations: [], requests: [] };
    context.on("request", (request) => profile.requests.push(request));
    context.on("weberror", (error) => profile.violations.push(String(error.error())));
    context.on("console", (message) => {
      if (/Content.Security.Policy|Trusted.?Type/i.test(message.text())) profile.violations.push(message.text());
    });
    return profile;
  }
}

export const setting = await Setting.start();
after(() => setting.stop());
// However this process ends, its programs end with it.
process.once("exit", () => setting.programs.forEach((program) => program.process.kill("SIGTERM")));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** The checks that `main.test.mjs` runs. */
export const checks = [];

/** Notes a check, to be run in a browser profile of its own. */
export function check(name, body, options) {
  checks.push([
    name,
    async () => {
      const profile = await setting.profile(options);
      try {
        await body(profile);
        assert.deepEqual(profile.violations, []);
      } finally {
        // A request that the page makes by itself may still be on its way through a route.
        for (const page of profile.context.pages()) await page.unrouteAll({ behavior: "ignoreErrors" });
        await profile.context.close();
      }
    },
  ]);
}

/**
 * Answers the first requests of a pattern, and lets the later ones through. A route with `times` would stop the
 * interception while the page may have sent its next request already, and that one is never told of (playwright
 * 1.65).
 */
export const routeFirst = (page, pattern, times, answer) => {
  let left = times;
  return page.route(pattern, (route) => (left-- > 0 ? answer(route) : route.fallback()));
};

/** A tab with the module in it, and `auth` made for a server. */
export async function tab(context, origin, server, options = {}) {
  const page = await context.newPage();
  if (options.clock) await page.clock.install(options.clock);
  await page.goto(origin);
  await page.evaluate(
    async ([server, store]) => {
      const module = await import("/backoffice-auth.js");
      const stores = { memory: module.memoryTokens() };
      globalThis.auth = new module.BackofficeAuth({ server, store: stores[store] });
      globalThis.changes = [];
      globalThis.auth.onChange((isSignedIn, reason) => globalThis.changes.push([isSignedIn, reason]));
      /** The outcome of a promise, as values that can leave the page. */
      globalThis.outcome = (promise) =>
        promise.then(
          (value) => ({ value: value ?? null }),
          (error) => ({ code: error.code, retryAfter: error.retryAfter, name: error.name }),
        );
    },
    [server, options.store],
  );
  return page;
}

export const signIn = (page, email) => page.evaluate(([email, password]) => auth.signIn(email, password), [email, PASSWORD]);
export const accessToken = (page) => page.evaluate(() => outcome(auth.accessToken()));

/** Makes what is kept look as if its access token had expired. */
export const expire = (page) =>
  page.evaluate(() => {
    const key = Object.keys(localStorage)[0];
    const tokens = JSON.parse(localStorage[key]);
    // A fresh page has not seen it any younger.
    localStorage[key] = JSON.stringify({ ...tokens, receivedAt: tokens.receivedAt - tokens.life });
  });
