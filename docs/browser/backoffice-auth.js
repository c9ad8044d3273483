// The browser's side of signing in to backoffice-auth: one ES module, no dependency, no build step.
// docs/integrating-the-ui.md explains it; tests/browser keeps it true.
//
//   const auth = new BackofficeAuth({ server: "https://auth.example.com" });
//   const challenge = await auth.signIn(email, password);
//   if (challenge) await auth.confirm(challenge, code);
//   const answer = await auth.fetch("https://api.example.com/orders");
//
// It has three rules. No timer decides anything: expiry is checked when a token is asked for and when
// the page is shown again, so a laptop may sleep. Only the server ends a session: nothing but its
// refusal of the refresh token signs anybody out. And a refresh token is kept until its successor has
// arrived, because within the server's grace (30 s) it gets the same answer again.

/** The time-out of a request, in milliseconds. */
const REQUEST_TIMEOUT = 10_000;
/** The longest time until another tab sees what one tab wrote. */
const PROPAGATION = 250;
/** The longest delay of a message after the write before it: on a busy machine, longer than the propagation. */
const MESSAGE_PATIENCE = 3_000;
/** Longer than any tab can need the lock. After that time the grace has to suffice. */
const LOCK_PATIENCE = 15_000;
/** The time for which one refresh is tried again: that of the grace, after which haste does not help. */
const RETRY_FOR = 30_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8_000;
/** A token with less time than this left is not handed out: it has to travel, and to be checked there. */
const TOO_SHORT = 2_000;
/** A refresh comes this long before the expiry, or a quarter of the lifetime if tokens live shorter. */
const AHEAD = 60_000;
/** An answer is repeated for at most this long, so its `Date` cannot be further from `createdAt`. */
const LONGEST_GRACE = 300_000;
/** How long a browser may take to end a request to an authenticator. An extension may never do so. */
const LETTING_GO = 500;
/** The interval between looks at the clock while passkeys are offered in a field. */
const LOOK_AT_CLOCK = 5_000;
/** Without a readable `Date` and with a wrong clock, a challenge may look as if it were over. */
const SHORTEST_OFFER = 60_000;
/** A browser that ends such an offer sooner than this would end the next one as well. */
const TOO_SOON = 1_000;
/** How a server says that it takes no passkeys. */
const NOT_TAKEN = ["not_found", "method_not_allowed"];
const NAME_RULE = "must be 1 to 64 characters, without control characters";

/**
 * The tokens that are kept between pages. Both are opaque.
 * @typedef {object} Tokens
 * @property {string} access
 * @property {string} refresh
 * @property {number} life milliseconds that the access token had left at `receivedAt`
 * @property {number} receivedAt by this machine's clock
 * @property {string} session the sign-in that they come from; a step-up counts as the sign-in whose place it takes
 */

/**
 * A place that keeps tokens. Both methods are synchronous, and neither throws.
 * @typedef {object} TokenStore
 * @property {() => Tokens | null} read
 * @property {(tokens: Tokens | null) => void} write
 */

/**
 * A sign-in that a code or a passkey has to confirm.
 * @typedef {object} Challenge
 * @property {string} token
 * @property {string} provider the first of `providers`
 * @property {string[]} providers all that can confirm it, the best first: `passkey`, `totp` for the code of an
 *   authenticator app, `email` for a mailed one, `recovery_code`. Take any other word for "ask for a code"
 * @property {object} [publicKey] the options for an authenticator, where `passkey` is among the providers
 * @property {number} expiresIn seconds for which it can be confirmed
 * @property {boolean} isStepUp whether it takes the place of a session, as with `signInAgain`
 */

/**
 * The reason why somebody is signed in or out: `signedIn`; `signedOut` by themselves; `ended` by
 * the server (expired, ended elsewhere, reused); `changed` in storage by something else.
 * @typedef {"signedIn" | "signedOut" | "ended" | "changed"} Reason
 */

/**
 * The result of a sign-in besides the tokens.
 * @typedef {object} Confirmation
 * @property {number} [recoveryCodesLeft] the number of unused ones; there only if a recovery code confirmed
 */

/**
 * An authenticator app that is being set up. It is in use only after its first right code.
 * @typedef {object} TotpEnrolment
 * @property {string} id
 * @property {string} secret to be typed into an app: base32
 * @property {string} uri the same for apps of this device: `otpauth://…`
 * @property {{ size: number, path: string }} qr the same as a QR code: the `d` of one SVG path, dark on light, in a
 *   `viewBox` of `0 0 size size`
 * @property {number} expiresIn seconds for which it can be confirmed
 */

/**
 * A passkey of an account.
 * @typedef {object} Passkey
 * @property {string} id
 * @property {string} name
 * @property {string} createdAt
 * @property {string} [lastUsedAt]
 * @property {boolean} synced whether its owner's devices share it
 * @property {boolean} alone whether it signs in without a password
 */

/**
 * A passkey that was just added.
 * @typedef {object} AddedPasskey
 * @property {string} id
 * @property {string} name
 * @property {string} createdAt
 * @property {boolean} synced whether its owner's devices share it
 * @property {boolean} alone whether it signs in without a password
 * @property {string[]} recoveryCodes new ones, to be shown once; none where unused ones were left
 */

/**
 * The purpose and the owner of a mailed link.
 * @typedef {object} PasswordLink
 * @property {"reset" | "invitation"} purpose
 * @property {string} email
 * @property {number} expiresIn seconds for which the link works
 */

/**
 * A person's own account, as the server answers it. All times are RFC 3339.
 * @typedef {object} Account
 * @property {{ id: string, email: string }} user
 * @property {boolean} administrator
 * @property {"off" | "email"} twoFactor
 * @property {{ createdAt: string, lastUsedAt?: string }} [totp] an authenticator app
 * @property {Passkey[]} passkeys
 * @property {number} recoveryCodesLeft
 * @property {string} freshUntil the end of the time in which this session may change the person's factors
 */

/**
 * One of a person's sessions.
 * @typedef {object} Session
 * @property {string} id
 * @property {string} createdAt
 * @property {string} lastUsedAt
 * @property {string} expiresAt
 * @property {string} network the network that last used it
 * @property {string | null} userAgent the browser's own name: any text. Show it as text
 * @property {string | null} device a short name made of that
 * @property {boolean} current whether it is the session that makes the call
 */

/** @typedef {{ token: string, createdAt: string, expiresAt: string }} WireToken */
/** @typedef {{ accessToken: WireToken, refreshToken: WireToken }} WirePair */
/** @typedef {{ body: any, date: number, sentAt: number }} Answer */

/**
 * A request to an authenticator. `isOffer`: it waits in a field for somebody who may never come. `settled`: the
 * browser has ended it.
 * @typedef {{ isOpen: boolean, isOffer: boolean, settled: Promise<unknown>, end: () => void }} Asking
 */

/** A refusal, or no answer at all. */
export class AuthError extends Error {
  /**
   * @param {string} code a `code` of the server; or `network` (no answer), `unexpected_answer` (from
   *   something in between), `signed_out` (nobody is signed in here), `another_person` (a step-up signed
   *   in somebody else), `passkey_cancelled` (by the person, by a signal or by a later request; or no
   *   authenticator has answered in time), `passkey_unusable` (the browser cannot do it here)
   * @param {{ status?: number, detail?: string, retryAfter?: number, requestId?: string,
   *   errors?: { field: string, message: string }[], cause?: unknown }} [more]
   */
  constructor(code, more = {}) {
    super(more.detail ?? code, { cause: more.cause });
    this.name = "AuthError";
    this.code = code;
    this.status = more.status ?? 0;
    /** Seconds to wait, where the server says so. */
    this.retryAfter = more.retryAfter;
    this.requestId = more.requestId;
    this.errors = more.errors ?? [];
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return ["network", "unexpected_answer", "too_many_attempts", "request_timeout"].includes(this.code) ||
      this.status >= 500;
  }
}

/**
 * Tokens in localStorage: they outlive the page, and all tabs share them.
 * @param {string} key
 * @returns {TokenStore}
 */
export function localTokens(key) {
  const fallback = memoryTokens();
  return {
    read() {
      try {
        const kept = JSON.parse(localStorage.getItem(key) ?? "null");
        const isWhole = ["access", "refresh", "session"].every((name) => typeof kept?.[name] === "string") &&
          ["life", "receivedAt"].every((name) => Number.isFinite(kept[name]));
        return isWhole ? kept : fallback.read();
      } catch {
        return fallback.read();
      }
    },
    write(tokens) {
      try {
        if (tokens) localStorage.setItem(key, JSON.stringify(tokens));
        else localStorage.removeItem(key);
        fallback.write(null);
      } catch {
        // Storage is full or forbidden: signed in for as long as this page lives is better than not at all.
        fallback.write(tokens);
      }
    },
  };
}

/**
 * Tokens in memory: gone with the page, and each tab signs in by itself.
 * @returns {TokenStore}
 */
export function memoryTokens() {
  /** @type {Tokens | null} */
  let kept = null;
  return { read: () => kept, write: (tokens) => void (kept = tokens) };
}

/** Whether this browser has passkeys. On pages without TLS it has none, except on those of `localhost`. */
export function hasPasskeys() {
  return typeof globalThis.PublicKeyCredential === "function" && globalThis.navigator?.credentials !== undefined;
}

export class BackofficeAuth {
  /** @type {string} */ #server;
  /** @type {Set<string>} */ #origins;
  /** @type {string} */ #name;
  /** @type {TokenStore} */ #store;
  /** @type {BroadcastChannel | undefined} */ #channel;
  /** @type {Set<(signedIn: boolean, reason: Reason) => void>} */ #listeners = new Set();
  /** The refresh under way in this tab. @type {Promise<string> | undefined} */ #refreshing;
  /** When tokens were first seen here, and how old they were. */
  #seen = { access: "", at: 0, age: 0 };
  /** The end of the pause (by `performance.now`), its failure, and the number of failures in a row.
   * @type {{ until: number, failures: number, error?: AuthError }} */
  #pause = { until: 0, failures: 0 };
  /** The session that `onChange` last reported. @type {string | undefined} */ #known;
  /** The last write of a tab, and its reason. @type {{ session?: string, reason: Reason }} */
  #news = { reason: "changed" };
  /** The last request to an authenticator. @type {Asking} */
  #asking = { isOpen: false, isOffer: false, settled: Promise.resolve(), end() {} };
  /** Whether the server takes passkeys, once it has said so. @type {boolean | undefined} */ #takesPasskeys;
  #resumed = new AbortController();
  #closing = new AbortController();

  /**
   * @param {object} options
   * @param {string} options.server the server's address, without a path: `https://auth.example.com`
   * @param {string[]} [options.apis] other origins to which `fetch` may carry the token
   * @param {TokenStore} [options.store] by default `localTokens`
   */
  constructor({ server, apis = [], store }) {
    const base = new URL(server);
    this.#server = base.href.replace(/\/$/, "");
    this.#origins = new Set([base, ...apis.map((api) => new URL(api))].map((url) => url.origin));
    this.#name = `backoffice-auth ${this.#server}`;
    this.#store = store ?? localTokens(this.#name);
    this.#known = this.#read()?.session;
    // A server that renders pages has no tabs to listen to and nobody signed in, and has to be able to end.
    if (typeof document === "undefined") return;
    const until = { signal: this.#closing.signal };
    if ("BroadcastChannel" in globalThis) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.addEventListener("message", (event) => this.#hear(event.data), until);
    }
    // A write of another process to localStorage may show after its message, and then causes this event.
    // It may also show before it, so the message, which has the reason, gets time to arrive.
    const patience = this.#channel ? MESSAGE_PATIENCE : 0;
    addEventListener("storage", () => setTimeout(() => this.#look(), patience), until);
    // A page that was asleep, hidden or in the back-forward cache may have missed everything.
    document.addEventListener("visibilitychange", () => this.#wake(), until);
    addEventListener("pageshow", () => this.#wake(), until);
    addEventListener("online", () => this.#wake(), until);
  }

  /** Whether there is a session, as far as is known here. */
  get isSignedIn() {
    return this.#read() !== null;
  }

  /**
   * Calls `listener` whenever somebody is signed in or out, in this tab or in another.
   * @param {(signedIn: boolean, reason: Reason) => void} listener
   * @returns {() => void} stops that
   */
  onChange(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Releases everything but the tokens. */
  close() {
    this.#closing.abort();
    this.#asking.end();
    this.#channel?.close();
    this.#listeners.clear();
  }

  /**
   * Signs in, or begins to. Never repeat it automatically: each attempt counts, and may mail a code.
   * @param {string} email
   * @param {string} password
   * @returns {Promise<Challenge | null>} what `confirm` needs; null where the password was enough
   */
  async signIn(email, password) {
    return this.#begin({ email, password }, false);
  }

  /**
   * Step-up, after `reauthentication_required`: signs in again, and the new session takes the old one's
   * place. `onChange` does not report it. Make the refused call again afterwards.
   * @param {string} email of the person who is signed in: anybody else's is `another_person`
   * @param {string} password
   * @returns {Promise<Challenge | null>} what `confirm` needs; null where the password was enough
   */
  async signInAgain(email, password) {
    return this.#begin({ email, password }, true);
  }

  /**
   * Completes a sign-in that `signIn` or `signInAgain` began. Never repeat it automatically either: a
   * code works once, so after a lost answer the person has to sign in again.
   * @param {Challenge} challenge
   * @param {string} code the six digits, or a recovery code; spaces do not matter
   * @returns {Promise<Confirmation>}
   */
  async confirm(challenge, code) {
    return this.#finish(challenge, { code: withoutSpaces(code) });
  }

  /**
   * The same with a passkey, where `passkey` is among the challenge's providers. Call it in the handler of
   * a click. After a failure the challenge can still be confirmed, with a passkey or otherwise.
   * @param {Challenge} challenge
   * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
   * @returns {Promise<Confirmation>}
   * @throws {AuthError} `passkey_cancelled`, `passkey_unusable`; `invalid_two_factor` for one that does not fit
   */
  async confirmWithPasskey(challenge, { signal } = {}) {
    const credential = await this.#askAuthenticator("get", challenge.publicKey, { signal });
    return this.#finish(challenge, { credential });
  }

  /**
   * Whether people can sign in with passkeys here: this browser has them, and the server takes them.
   * @returns {Promise<boolean>} false as well where the server does not answer now
   */
  async offersPasskeys() {
    if (!hasPasskeys()) return false;
    if (this.#takesPasskeys === undefined) await this.#passkeyRequest().catch(() => {});
    return this.#takesPasskeys ?? false;
  }

  /**
   * Signs in with a passkey alone: the browser asks which, so nobody types an address. Call it in the
   * handler of a click.
   * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
   * @throws {AuthError} `passkey_cancelled`, `passkey_unusable`; `invalid_passkey`; `not_found` where the server
   *   takes none
   */
  async signInWithPasskey({ signal } = {}) {
    this.#open(await this.#prove({ signal }));
  }

  /**
   * Offers passkeys among the values that the browser fills into a field with `autocomplete="username
   * webauthn"`, until one is chosen, which signs in, or until it is ended: by the signal, or by another
   * request to an authenticator.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<boolean>} whether somebody has signed in this way; false also where the browser
   *   offers none in fields, and where the server takes none
   * @throws {AuthError} `invalid_passkey`, or another refusal of the chosen passkey
   */
  async signInByAutofill({ signal } = {}) {
    if (!(await hasAutofill())) return false;
    while (!signal?.aborted) {
      const request = await this.#passkeyRequest().catch(() => undefined);
      if (!request || signal?.aborted) return false;
      const beganAt = Date.now();
      // A challenge that is near its end is replaced. A timer alone would be late after a laptop's sleep.
      const renewal = new AbortController();
      const renewAt = beganAt + Math.max(request.expiresIn * 800, SHORTEST_OFFER);
      const looking = setInterval(() => Date.now() > renewAt && renewal.abort(), LOOK_AT_CLOCK);
      const stop = () => renewal.abort();
      signal?.addEventListener("abort", stop);
      let credential;
      try {
        const asked = { signal: renewal.signal, mediation: /** @type {const} */ ("conditional") };
        credential = await this.#askAuthenticator("get", request.publicKey, asked);
      } catch (error) {
        // Some browsers end the offer when a person has looked at it and cancelled.
        const isCancelled = isNotAllowed(error) && Date.now() - beganAt > TOO_SOON;
        if (!renewal.signal.aborted && !isCancelled) return false;
        await isShown(signal);
        continue;
      } finally {
        clearInterval(looking);
        signal?.removeEventListener("abort", stop);
      }
      this.#open(await this.#signInBy(request.token, credential));
      return true;
    }
    return false;
  }

  /**
   * Step-up as by `signInAgain`, with a passkey alone. Call it in the handler of a click.
   * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
   * @throws {AuthError} `another_person`; and those of `signInWithPasskey`
   */
  async signInAgainWithPasskey({ signal } = {}) {
    if (!this.isSignedIn) throw new AuthError("signed_out");
    await this.#replace(await this.#prove({ signal }));
  }

  /**
   * Has a link to set a password mailed, if there is such an account. The answer never tells whether.
   * @param {string} email
   */
  async forgotPassword(email) {
    await this.#call("POST", "/password/forgot", { body: { email } });
  }

  /**
   * The purpose and the owner of a mailed link. Does not use it up.
   * @param {string} token the part behind the `#` of the link
   * @returns {Promise<PasswordLink>}
   * @throws {AuthError} `invalid_link` for a link that is used, expired, void or made up
   */
  async passwordLink(token) {
    const answer = await this.#call("POST", "/password/link", { body: { token } });
    const { purpose, email, expiresAt } = answer.body;
    return { purpose, email, expiresIn: secondsUntil(expiresAt, answer) };
  }

  /**
   * Sets a password by a mailed link. It signs nobody in, and ends all sessions of the link's owner.
   * @param {string} token
   * @param {string} newPassword
   * @throws {AuthError} `invalid_link`; `invalid_request` with the field `newPassword` for a weak one, and
   *   the link keeps working
   */
  async setPassword(token, newPassword) {
    await this.#call("POST", "/password/set", { body: { token, newPassword } });
  }

  /**
   * The account of the person who is signed in.
   * @returns {Promise<Account>}
   */
  async me() {
    return (await this.#ask("GET", "/me")).body;
  }

  /**
   * Changes one's own password. This session lives on, and all others end.
   * @param {string} currentPassword
   * @param {string} newPassword
   * @throws {AuthError} `wrong_password`; `invalid_request` with the field `newPassword` for a weak one
   */
  async changePassword(currentPassword, newPassword) {
    await this.#ask("POST", "/me/password", { body: { currentPassword, newPassword } });
  }

  /**
   * Begins to set up an authenticator app. Nothing changes before `confirmTotp`, and an earlier set-up is
   * void. Where there is an app already, the new one replaces it then.
   * @returns {Promise<TotpEnrolment>}
   * @throws {AuthError} `reauthentication_required`; `method_not_allowed` or `not_found` where the server accepts
   *   no such apps
   */
  async beginTotp() {
    const answer = await this.#ask("POST", "/me/totp");
    const { id, secret, uri, qr, expiresAt } = answer.body;
    return { id, secret, uri, qr, expiresIn: secondsUntil(expiresAt, answer) };
  }

  /**
   * Sets up an authenticator app by the first code that it shows. This session lives on, and all others end.
   * @param {string} id of the enrolment
   * @param {string} code the six digits; spaces do not matter
   * @returns {Promise<string[]>} new recovery codes, to be shown once; none where unused ones were left
   * @throws {AuthError} `reauthentication_required`; `invalid_two_factor` for a wrong code, and for an enrolment
   *   that is over
   */
  async confirmTotp(id, code) {
    const body = { id, code: withoutSpaces(code) };
    return (await this.#ask("POST", "/me/totp/confirm", { body })).body.recoveryCodes ?? [];
  }

  /**
   * Removes the authenticator app. This session lives on, and all others end.
   * @throws {AuthError} `reauthentication_required`
   */
  async removeTotp() {
    await this.#ask("DELETE", "/me/totp");
  }

  /**
   * Adds a passkey. Call it in the handler of a click. This session lives on, and all others end. Its
   * methods do not gain `mfa`: those of a new sign-in with the passkey have it.
   * @param {string} name 1 to 64 characters by which its owner recognises it
   * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
   * @returns {Promise<AddedPasskey>}
   * @throws {AuthError} `reauthentication_required`; `too_many_passkeys`; `passkey_known` for an authenticator that has
   *   one of this account; `passkey_cancelled`, `passkey_unusable`; `invalid_request` with the field `name`,
   *   `credential` or `token`
   */
  async addPasskey(name, { signal } = {}) {
    // Checked before the authenticator makes a passkey that the server would not accept under that name.
    if (!isName(name)) throw new AuthError("invalid_request", { errors: [{ field: "name", message: NAME_RULE }] });
    const { token, publicKey } = (await this.#ask("POST", "/me/passkeys/options")).body;
    const credential = await this.#askAuthenticator("create", publicKey, { signal });
    const { body } = await this.#ask("POST", "/me/passkeys", { body: { token, name, credential } });
    const { id, createdAt, synced, alone, recoveryCodes = [] } = body;
    return { id, name: body.name, createdAt, synced, alone, recoveryCodes };
  }

  /**
   * Removes a passkey from the account; its owner's devices keep theirs. This session lives on, and all others end.
   * One that is gone already is no failure.
   * @param {string} id
   * @throws {AuthError} `reauthentication_required`
   */
  async removePasskey(id) {
    await this.#ask("DELETE", `/me/passkeys/${encodeURIComponent(id)}`).catch(unlessGone);
  }

  /**
   * How this session was signed in, in words of RFC 8176: with `mfa`, by two factors of which none is a mailbox.
   * @returns {Promise<string[]>}
   */
  async methods() {
    return (await this.#ask("GET", "/session")).body.session?.amr ?? [];
  }

  /**
   * Makes new recovery codes, and voids the ones from before. This session lives on, and all others end.
   * @returns {Promise<string[]>} to be shown once
   * @throws {AuthError} `reauthentication_required`; `not_found` where there is no app or passkey that they could
   *   replace
   */
  async makeRecoveryCodes() {
    return (await this.#ask("POST", "/me/recovery-codes")).body.recoveryCodes;
  }

  /**
   * All live sessions of this person, this one among them.
   * @returns {Promise<Session[]>}
   */
  async sessions() {
    return (await this.#ask("GET", "/sessions")).body.sessions;
  }

  /**
   * Ends one of this person's sessions. One that is over already is no failure.
   * @param {string} id
   */
  async endSession(id) {
    await this.#ask("DELETE", `/sessions/${encodeURIComponent(id)}`).catch(unlessGone);
  }

  /** Ends all sessions of this person but this one. */
  async signOutOthers() {
    await this.#ask("DELETE", "/sessions?others=true");
  }

  /**
   * An access token that is valid for some time. Near its end it is still handed out while its
   * successor is fetched; past its end the call waits for the successor.
   * @param {{ refused?: string, signal?: AbortSignal }} [options] `refused`: a token that a service did
   *   not accept, so another one is wanted. `signal`: ends the wait, not the refresh
   * @returns {Promise<string>}
   * @throws {AuthError} `signed_out`, or the reason why there is none at the moment
   */
  async accessToken({ refused, signal } = {}) {
    const tokens = this.#read();
    if (!tokens) throw new AuthError("signed_out");
    const left = tokens.access === refused ? 0 : this.#left(tokens);
    if (left > Math.min(AHEAD, tokens.life / 4)) return tokens.access;
    const refreshing = this.#refresh(tokens.access);
    if (left <= TOO_SHORT) return unlessAborted(refreshing, signal);
    refreshing.catch(() => {}); // There is time left to try again.
    return tokens.access;
  }

  /**
   * `fetch` with an access token; a token that is refused is replaced once. It goes to the server and to
   * `apis` alone. A path is one of the server's.
   * @param {string | URL} input
   * @param {RequestInit} [init] a body that is a stream cannot be sent again, so it is not
   * @returns {Promise<Response>}
   */
  async fetch(input, init = {}) {
    const url = new URL(input, this.#server);
    if (!this.#origins.has(url.origin)) throw new TypeError(`${url.origin} is not among the apis`);
    const signal = init.signal ?? undefined;
    const send = (/** @type {string} */ token) => {
      const headers = new Headers(init.headers);
      headers.set("Authorization", `Bearer ${token}`);
      return fetch(url, { credentials: "omit", ...init, headers });
    };
    const token = await this.accessToken({ signal });
    const answer = await send(token);
    if (answer.status !== 401 || isStepUpWanted(answer) || init.body instanceof ReadableStream) return answer;
    const other = await this.accessToken({ refused: token, signal });
    return other === token ? answer : send(other);
  }

  /**
   * Signs out: here in any case, at the server if it can be reached within some seconds.
   * @returns {Promise<boolean>} whether the server knows; if not, the session ends when it idles out
   */
  async signOut() {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT / 2);
    const isTold = await this.#ask("POST", "/signout", { signal }).then(() => true, isOver);
    this.#write(null, "signedOut");
    return isTold;
  }

  /**
   * Ends all sessions of this user, on all machines. Throws, and changes nothing, if the server
   * cannot be reached: people who fear for their account must know that.
   */
  async signOutEverywhere() {
    await this.#ask("DELETE", "/sessions", { signal: AbortSignal.timeout(REQUEST_TIMEOUT / 2) });
    this.#write(null, "signedOut");
  }

  /**
   * Calls a route of the server as the person who is signed in: for parts of its interface that have modules of
   * their own. A token that is refused is replaced once.
   * @param {string} method
   * @param {string} path the part behind `/api/v2`
   * @param {object} [body]
   * @returns {Promise<any>} the answer's JSON; an empty text where it has none
   */
  async request(method, path, body) {
    return (await this.#ask(method, path, { body })).body;
  }

  /**
   * Calls as the person who is signed in. A token that is refused is replaced once.
   * @param {string} method
   * @param {string} path
   * @param {{ body?: object, signal?: AbortSignal }} [what] `signal`: ends the wait for a token
   * @returns {Promise<Answer>}
   */
  async #ask(method, path, { body, signal } = {}) {
    const token = await this.accessToken({ signal });
    const call = (/** @type {string} */ bearer) => this.#call(method, path, { body, bearer });
    return call(token).catch(async (error) => {
      if (!isRefusedToken(error)) throw error;
      // The session may be over, or just this token. Only the server knows.
      return call(await this.accessToken({ refused: token, signal }));
    });
  }

  /**
   * @param {{ email: string, password: string }} body
   * @param {boolean} isStepUp
   * @returns {Promise<Challenge | null>}
   */
  async #begin(body, isStepUp) {
    if (isStepUp && !this.isSignedIn) throw new AuthError("signed_out");
    const answer = await this.#call("POST", "/signin", { body });
    if (!answer.body["2faRequired"]) {
      if (isStepUp) await this.#replace(answer);
      else this.#open(answer);
      return null;
    }
    const { token, provider, providers = [provider], publicKey, expiresAt } = answer.body["2faDetails"];
    return { token, provider, providers, publicKey, expiresIn: secondsUntil(expiresAt, answer), isStepUp };
  }

  /**
   * @param {Challenge} challenge
   * @param {{ code: string } | { credential: object }} proof
   * @returns {Promise<Confirmation>}
   */
  async #finish(challenge, proof) {
    const answer = await this.#call("POST", "/2fa/confirm", { body: { token: challenge.token, ...proof } });
    const { recoveryCodesLeft } = answer.body;
    if (challenge.isStepUp) await this.#replace(answer);
    else this.#open(answer);
    return { recoveryCodesLeft };
  }

  /** The options for a passkey of any account. */
  async #passkeyRequest() {
    try {
      const answer = await this.#call("POST", "/passkey/options");
      const { token, publicKey, expiresAt } = answer.body;
      this.#takesPasskeys = true;
      return { token, publicKey, expiresIn: secondsUntil(expiresAt, answer) };
    } catch (error) {
      if (error instanceof AuthError && NOT_TAKEN.includes(error.code)) this.#takesPasskeys = false;
      throw error;
    }
  }

  /**
   * Opens a session by a passkey alone.
   * @param {{ signal?: AbortSignal }} options
   */
  async #prove({ signal }) {
    const { token, publicKey } = await this.#passkeyRequest();
    return this.#signInBy(token, await this.#askAuthenticator("get", publicKey, { signal }));
  }

  /**
   * @param {string} token
   * @param {object} credential
   */
  #signInBy(token, credential) {
    return this.#call("POST", "/passkey/signin", { body: { token, credential } });
  }

  /**
   * Asks an authenticator, by way of the browser. One request at a time: a new one ends the previous one, since
   * browsers do not allow two. An offer in a field ends nothing but another offer.
   * @param {"get" | "create"} kind
   * @param {any} publicKey as the server writes it
   * @param {{ signal?: AbortSignal, mediation?: "conditional" }} how
   * @returns {Promise<object>} the credential, as the server reads it
   */
  async #askAuthenticator(kind, publicKey, { signal, mediation }) {
    if (!hasPasskeys() || !publicKey) throw new AuthError("passkey_unusable");
    const [before, ending, isOffer] = [this.#asking, new AbortController(), mediation === "conditional"];
    if (isOffer && before.isOpen && !before.isOffer) throw new AuthError("passkey_cancelled");
    const end = () => ending.abort();
    const asking = { isOpen: true, isOffer, settled: before.settled, end };
    this.#asking = asking;
    signal?.addEventListener("abort", end);
    if (signal?.aborted || this.#closing.signal.aborted) end();
    try {
      before.end();
      await Promise.race([before.settled, new Promise((resolve) => setTimeout(resolve, LETTING_GO))]);
      ending.signal.throwIfAborted();
      const request =
        kind === "get"
          ? navigator.credentials.get({ publicKey: requestOf(publicKey), mediation, signal: ending.signal })
          : navigator.credentials.create({ publicKey: creationOf(publicKey), signal: ending.signal });
      asking.settled = request.catch(() => {});
      return credentialOf(kind, await unlessAborted(request, ending.signal));
    } catch (cause) {
      throw failureOf(kind, cause);
    } finally {
      signal?.removeEventListener("abort", end);
      asking.isOpen = false;
    }
  }

  /**
   * Puts a new session in the place of the one that is signed in, if both are one person's, and signs
   * the other one of the two out. The tokens are opaque, so the server is asked for their owners.
   * @param {Answer} answer
   */
  async #replace(answer) {
    const before = this.#read()?.session;
    const added = tokensOf(answer, before ?? randomName());
    const userOf = (/** @type {Answer} */ { body }) => body.user.id;
    let leftOver = added.access;
    try {
      const person = userOf(await this.#call("GET", "/session", { bearer: added.access }));
      if (userOf(await this.#ask("GET", "/session")) !== person) throw new AuthError("another_person");
      // No refresh of the old session is under way meanwhile.
      await this.#exclusively(async () => {
        const replaced = this.#read();
        if (replaced?.session !== before) throw new AuthError("another_person");
        this.#write(added, "changed");
        leftOver = replaced?.access ?? "";
      });
    } finally {
      // A session whose sign-out cannot be sent now ends when it idles out, and is in the list of sessions until then.
      await this.#call("POST", "/signout", { bearer: leftOver }).catch(() => {});
    }
  }

  /** @param {Answer} answer */
  #open(answer) {
    this.#write(tokensOf(answer, randomName()), "signedIn");
  }

  /**
   * One refresh at a time in this tab, and by the lock one at a time in all.
   * @param {string} stale the access token that has to be replaced
   * @returns {Promise<string>}
   */
  #refresh(stale) {
    this.#refreshing ??= this.#refreshUntilSettled(stale).finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** @param {string} stale */
  async #refreshUntilSettled(stale) {
    const giveUpAt = performance.now() + RETRY_FOR;
    for (;;) {
      const { until, error } = this.#pause;
      if (until > giveUpAt) throw waitingFor(error, until);
      if (until > performance.now()) await this.#sleep(until);
      const token = await this.#exclusively((isNext) => this.#refreshOnce(stale, isNext));
      if (token !== undefined) return token;
    }
  }

  /**
   * @param {string} stale
   * @param {boolean} isNext whether another tab had its turn just before
   * @returns {Promise<string | undefined>} undefined: to be tried again, after the pause
   */
  async #refreshOnce(stale, isNext) {
    if (isNext) await this.#hearOut(stale);
    const tokens = this.#read();
    if (!tokens) throw new AuthError("signed_out");
    // Another tab was faster, and this one takes its pair over.
    if (tokens.access !== stale && this.#left(tokens) > TOO_SHORT) return tokens.access;
    if (this.#pause.until > performance.now()) return undefined;
    const body = { refreshToken: tokens.refresh };
    try {
      const fresh = tokensOf(await this.#call("POST", "/refresh", { body }), tokens.session);
      // A sign-out, a sign-in or a step-up meanwhile was intended: the next round looks at the present tokens.
      if (this.#read()?.refresh !== tokens.refresh) return undefined;
      this.#write(fresh, "changed");
      return fresh.access;
    } catch (error) {
      return this.#failed(error, tokens);
    }
  }

  /**
   * Waits for the message of the tab before. Locks, messages and localStorage take different ways
   * through a browser, so the lock can be here before the pair is. A tab that died says nothing.
   * @param {string} stale
   */
  async #hearOut(stale) {
    const until = performance.now() + PROPAGATION;
    const isNews = () => this.#read()?.access !== stale || this.#pause.until > performance.now();
    while (!isNews() && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /**
   * @param {unknown} error
   * @param {Tokens} tokens those that were sent
   * @returns {undefined}
   */
  #failed(error, tokens) {
    if (!(error instanceof AuthError)) throw error;
    if (error.code === "invalid_refresh_token") {
      // Without a lock, another tab may hold a newer one by now.
      if (this.#read()?.refresh !== tokens.refresh) return undefined;
      this.#write(null, "ended");
      throw new AuthError("signed_out", { cause: error });
    }
    if (!error.isTransient) throw error;
    const backoff = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#pause.failures);
    const wait = Math.max(backoff * (0.5 + Math.random() / 2), (error.retryAfter ?? 0) * 1000);
    const { code, status, retryAfter, requestId } = error;
    const failure = { code, status, retryAfter, requestId, detail: error.message };
    const pause = { wait, failures: this.#pause.failures + 1, failure };
    this.#hear({ pause });
    this.#channel?.postMessage({ pause });
    return undefined;
  }

  /**
   * Runs `work` while no other tab runs its own. The browser frees the lock of a tab that dies. Where
   * there are no locks (pages without TLS), or one is held for too long, the server's grace gives all
   * tabs that ask at once the same pair.
   * @template T
   * @param {(isNext: boolean) => Promise<T>} work is told whether it had to wait for another
   * @returns {Promise<T>}
   */
  async #exclusively(work) {
    if (!globalThis.navigator?.locks) return work(false);
    let isInside = false;
    const inside = (/** @type {boolean} */ isNext) => {
      isInside = true;
      return work(isNext);
    };
    try {
      const atOnce = { ifAvailable: true };
      const done = await navigator.locks.request(this.#name, atOnce, (lock) => (lock ? inside(false) : undefined));
      if (isInside) return /** @type {T} */ (done);
      const waiting = { signal: AbortSignal.timeout(LOCK_PATIENCE) };
      return await navigator.locks.request(this.#name, waiting, () => inside(true));
    } catch (error) {
      if (isInside) throw error;
      return work(true);
    }
  }

  /**
   * Until a point of time, or until something happens that is worth another look.
   * @param {number} until
   * @returns {Promise<void>}
   */
  #sleep(until) {
    return new Promise((resolve) => {
      setTimeout(resolve, until - performance.now());
      this.#resumed.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  /** The page can be seen, or the network is there, again. */
  #wake() {
    if (navigator.onLine && this.#pause.error?.code === "network") this.#resume();
    this.#look();
    if (document.visibilityState === "visible" && this.isSignedIn) this.accessToken().catch(() => {});
  }

  #resume() {
    this.#pause = { until: 0, failures: 0 };
    this.#resumed.abort();
    this.#resumed = new AbortController();
  }

  /**
   * Handles a message of another tab, or of this one.
   * @param {{ news?: { session?: string, reason: Reason }, pause?: { wait: number, failures: number, failure: any } }} message
   */
  #hear({ news, pause }) {
    if (pause) {
      const { code, ...more } = pause.failure;
      const error = new AuthError(code, more);
      this.#pause = { until: performance.now() + pause.wait, failures: pause.failures, error };
    }
    if (news) {
      this.#news = news;
      this.#resume();
      this.#look();
    }
  }

  /** Reports another session, or none, if that is news here. */
  #look() {
    const session = this.#read()?.session;
    if (session === this.#known) return;
    this.#known = session;
    const reason = this.#news.session === session ? this.#news.reason : "changed";
    for (const listener of this.#listeners) listener(session !== undefined, reason);
  }

  #read() {
    const tokens = this.#store.read();
    if (tokens && tokens.access !== this.#seen.access) {
      const age = Date.now() - tokens.receivedAt;
      // A clock that was set back does not tell their age.
      this.#seen = { access: tokens.access, at: performance.now(), age: age < -1000 ? Infinity : age };
    }
    return tokens;
  }

  /**
   * @param {Tokens | null} tokens
   * @param {Reason} reason
   */
  #write(tokens, reason) {
    this.#store.write(tokens);
    const news = { session: tokens?.session, reason };
    this.#channel?.postMessage({ news });
    this.#hear({ news });
  }

  /**
   * Milliseconds until an access token expires, by whichever clock saw more time pass: one stands still
   * while a laptop sleeps, the other can be set.
   * @param {Tokens} tokens
   */
  #left(tokens) {
    const steady = this.#seen.age + performance.now() - this.#seen.at;
    return tokens.life - Math.max(Date.now() - tokens.receivedAt, steady);
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ body?: object, bearer?: string }} [what]
   * @returns {Promise<Answer>}
   */
  async #call(method, path, { body, bearer } = {}) {
    const headers = new Headers();
    if (body) headers.set("Content-Type", "application/json");
    if (bearer) headers.set("Authorization", `Bearer ${bearer}`);
    const sentAt = Date.now();
    try {
      const answer = await fetch(`${this.#server}/api/v2${path}`, {
        method,
        headers,
        body: body && JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        // The request to end a session outlives the page that sends it.
        keepalive: bearer !== undefined,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      });
      const text = await answer.text();
      if (!answer.ok) throw refusal(answer, text);
      const date = Date.parse(answer.headers.get("Date") ?? "");
      return { body: text && JSON.parse(text), date, sentAt };
    } catch (cause) {
      if (cause instanceof AuthError) throw cause;
      // Invalid JSON: something in between answers in the server's place.
      throw new AuthError(cause instanceof SyntaxError ? "unexpected_answer" : "network", { cause });
    }
  }
}

/**
 * Lives are differences of the server's own times, so this machine's clock may be wrong. An answer that
 * is repeated is older than it looks; its `Date`, where a page may read that, tells by how much.
 * @param {Answer} answer
 * @param {string} session
 * @returns {Tokens}
 */
function tokensOf({ body, date, sentAt }, session) {
  if (!body?.accessToken?.token || !body.refreshToken?.token) throw new AuthError("unexpected_answer");
  /** @type {WirePair} */
  const { accessToken, refreshToken } = body;
  const createdAt = Date.parse(accessToken.createdAt);
  const age = date - createdAt;
  const isPlausible = age > 0 && age <= LONGEST_GRACE;
  const life = Date.parse(accessToken.expiresAt) - createdAt - (isPlausible ? age : 0);
  return { access: accessToken.token, refresh: refreshToken.token, life, receivedAt: sentAt, session };
}

/**
 * For display alone, so without a readable `Date` this machine's clock has to suffice.
 * @param {string} time
 * @param {Answer} answer
 */
function secondsUntil(time, { date }) {
  const now = Number.isNaN(date) ? Date.now() : date;
  return Math.max(0, Math.round((Date.parse(time) - now) / 1000));
}

/**
 * A code as people type it: with spaces where they see some.
 * @param {string} code
 */
const withoutSpaces = (code) => code.replace(/\s/g, "");

/** A name that tells one sign-in from another, in this browser. */
function randomName() {
  return crypto.getRandomValues(new Uint32Array(2)).join("-");
}

/**
 * Whether the token is valid, and the session too old for the call (RFC 9470, section 3).
 * @param {Response} answer
 */
function isStepUpWanted(answer) {
  return answer.headers.get("WWW-Authenticate")?.includes("insufficient_user_authentication") ?? false;
}

/**
 * @param {Response} answer
 * @param {string} text
 */
function refusal(answer, text) {
  if (answer.headers.get("Content-Type") !== "application/problem+json") {
    return new AuthError("unexpected_answer", { status: answer.status });
  }
  const { code, ...more } = JSON.parse(text);
  return new AuthError(code, more);
}

/** @param {unknown} error */
function isRefusedToken(error) {
  return error instanceof AuthError && error.code === "invalid_access_token";
}

/**
 * Whether a session that could not be ended is over anyway.
 * @param {unknown} error
 */
function isOver(error) {
  return isRefusedToken(error) || (error instanceof AuthError && error.code === "signed_out");
}

/**
 * The reason for a pause, with the rest of the wait.
 * @param {AuthError | undefined} error
 * @param {number} until
 */
function waitingFor(error, until) {
  const retryAfter = Math.ceil((until - performance.now()) / 1000);
  const { code, status, requestId, message } = error ?? new AuthError("network");
  return new AuthError(code, { status, requestId, detail: message, retryAfter });
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/**
 * The browser's options for an authenticator. Browsers have `parseRequestOptionsFromJSON` for this, and some
 * extensions that store passkeys break it.
 * @param {any} json
 * @returns {PublicKeyCredentialRequestOptions}
 */
function requestOf(json) {
  const allowCredentials = (json.allowCredentials ?? []).map(withBytes);
  return { ...withChallenge(json), allowCredentials };
}

/**
 * @param {any} json
 * @returns {PublicKeyCredentialCreationOptions}
 */
function creationOf(json) {
  const excludeCredentials = (json.excludeCredentials ?? []).map(withBytes);
  return { ...withChallenge(json), user: withBytes(json.user), excludeCredentials };
}

/** @param {any} json */
const withChallenge = (json) => ({ ...json, challenge: decoded(json.challenge) });

/** @param {any} json */
const withBytes = (json) => ({ ...json, id: decoded(json.id) });

/**
 * The result of a credential's `toJSON`, where that works.
 * @param {"get" | "create"} kind
 * @param {any} credential
 */
function credentialOf(kind, credential) {
  const { rawId, type, response } = credential;
  const id = encoded(rawId);
  const clientDataJSON = encoded(response.clientDataJSON);
  // No extension is asked for.
  const rest = { id, rawId: id, type, clientExtensionResults: {} };
  if (kind === "create") {
    const transports = response.getTransports?.() ?? [];
    return { ...rest, response: { clientDataJSON, attestationObject: encoded(response.attestationObject), transports } };
  }
  const [authenticatorData, signature] = [encoded(response.authenticatorData), encoded(response.signature)];
  // U2F has none, and some browsers give an empty one then.
  const userHandle = response.userHandle?.byteLength > 0 ? encoded(response.userHandle) : undefined;
  return { ...rest, response: { clientDataJSON, authenticatorData, signature, userHandle } };
}

/**
 * Bytes of base64url without padding (RFC 4648, section 5).
 * @param {string} text
 */
function decoded(text) {
  const bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}

/** @param {ArrayBuffer} bytes */
function encoded(bytes) {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
}

/**
 * The error of a failed request to an authenticator. Browsers tell little: a person who cancels, a time that is
 * over and an authenticator without a passkey for this are one error.
 * @param {"get" | "create"} kind
 * @param {any} cause
 */
function failureOf(kind, cause) {
  if (kind === "create" && cause?.name === "InvalidStateError") return new AuthError("passkey_known", { cause });
  const isCancelled = ["NotAllowedError", "AbortError"].includes(cause?.name);
  return new AuthError(isCancelled ? "passkey_cancelled" : "passkey_unusable", { cause });
}

/**
 * Whether the browser ended a request, for any reason.
 * @param {any} error
 */
const isNotAllowed = (error) => error.cause?.name === "NotAllowedError";

/** Whether this browser offers passkeys in fields. */
async function hasAutofill() {
  return hasPasskeys() && ((await PublicKeyCredential.isConditionalMediationAvailable?.()) ?? false);
}

/**
 * Waits until the page can be seen: in the background nothing is asked.
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
function isShown(signal) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const look = () => {
      if (document.visibilityState !== "visible" && !signal?.aborted) return;
      done.abort();
      resolve();
    };
    document.addEventListener("visibilitychange", look, { signal: done.signal });
    signal?.addEventListener("abort", look, { signal: done.signal });
    look();
  });
}

/**
 * Whether a passkey can have this name.
 * @param {string} name
 */
const isName = (name) => name.trim() !== "" && [...name].length <= 64 && !/\p{Cc}/u.test(name);

/**
 * A thing that is gone already counts as removed.
 * @param {unknown} error
 */
function unlessGone(error) {
  if (!(error instanceof AuthError && error.code === "not_found")) throw error;
}
