// The interface for administrators, on top of a BackofficeAuth: a module of its own, so that pages which do
// not administer need not load it. docs/integrating-the-ui.md explains it; tests/browser keeps it true.
//
//   const administration = new Administration(auth);
//   const { users, next } = await administration.users({ email: "ali" });
//   await administration.unlock(users[0].id);
//
// Acts may be repeated: a second one changes nothing. They require a fresh session, so each can be refused
// as `reauthentication_required`; make it again after `signInAgain`. Anything here can be refused as
// `forbidden` or `second_factor_required`.

import { AuthError } from "./backoffice-auth.js";

/** @typedef {import("./backoffice-auth.js").BackofficeAuth} BackofficeAuth */
/** @typedef {"active" | "invited" | "disabled" | "locked"} State */
/** @typedef {"off" | "email"} TwoFactor */

/**
 * Somebody who can have an account. All times are RFC 3339.
 * @typedef {object} User
 * @property {string} id
 * @property {string} email
 * @property {State} state `invited`: without a password so far; `locked`: after too many wrong codes in a row
 * @property {boolean} administrator acts on administrators are refused as `forbidden`
 * @property {TwoFactor} twoFactor
 * @property {boolean} totp whether there is an authenticator app
 * @property {number} passkeys how many
 * @property {number} recoveryCodesLeft
 * @property {string} createdAt
 * @property {string} [passwordChangedAt]
 * @property {string} [lastSignInAt]
 */

/**
 * A mail of the last days.
 * @typedef {object} Mail
 * @property {string} kind `sign_in_code`, `reset_link`, `invitation_link`, `notice`. More may come
 * @property {string} createdAt
 * @property {string} state `waiting`, `sent`, `unclear` (it may have arrived), `refused` (by the mail server), `expired`
 * @property {number} attempts
 * @property {string} [lastReply] the words of the mail server: any text. Show it as text
 */

/**
 * An obstacle to signing in. Show any other kind without a sentence of its own.
 * @typedef {object} Obstacle
 * @property {string} kind `disabled`, `no_password`, `second_factor_locked`, `limited`, `mail_stuck`
 * @property {string} [since] of `disabled`
 * @property {number} [wrongCodes] of `second_factor_locked`
 * @property {string} [limit] of `limited`: which, in the server's word
 * @property {string} [until] of `limited`
 * @property {string} [network] of `limited`: absent for all networks, and for one that is not known
 * @property {Mail} [mail] of `mail_stuck`
 */

/** @typedef {User & { disabledAt?: string, obstacles: Obstacle[], mails: Mail[] }} UserDetails */

/**
 * One of a person's sessions.
 * @typedef {object} UserSession
 * @property {string} id
 * @property {string} createdAt
 * @property {string} lastUsedAt
 * @property {string} expiresAt
 * @property {string} network the network that opened it
 * @property {string | null} userAgent the browser's own name then: any text. Show it as text
 * @property {string} lastNetwork the network that last used it
 * @property {string | null} lastUserAgent
 * @property {string | null} device a short name made of that
 * @property {boolean} current whether it is the session that makes the call
 */

/**
 * A line of the audit log, in the log's own words.
 * @typedef {object} AuditEvent
 * @property {string} at
 * @property {string} kind
 * @property {"granted" | "refused"} outcome
 * @property {string} reason
 * @property {string} [actor] the person who did it: an operator, or `user:` and an id
 * @property {string} [network]
 * @property {string} [sessionId]
 * @property {string} [requestId]
 * @property {string} [detail]
 * @property {string} [email] the address that was given
 */

export class Administration {
  /** @type {BackofficeAuth} */ #auth;

  /** @param {BackofficeAuth} auth of the administrator */
  constructor(auth) {
    this.#auth = auth;
  }

  /**
   * People, in the order of their addresses.
   * @param {{ email?: string, state?: State, after?: string, limit?: number }} [which] `email`: how the address
   *   begins; `after`: `next` of the page before; `limit`: 1 to 200, by default 50
   * @returns {Promise<{ users: User[], next?: string }>} no `next` on the last page
   */
  async users(which = {}) {
    return this.#auth.request("GET", `/admin/users${queryOf(which)}`);
  }

  /**
   * Invites somebody by mail.
   * @param {string} email
   * @param {TwoFactor} [twoFactor] by default `email`
   * @returns {Promise<User>}
   * @throws {AuthError} `address_taken`; `not_found` where the server mails no links
   */
  async invite(email, twoFactor) {
    return this.#auth.request("POST", "/admin/users", { email, twoFactor });
  }

  /**
   * @param {string} id
   * @returns {Promise<UserDetails>}
   * @throws {AuthError} `not_found`
   */
  async user(id) {
    return this.#auth.request("GET", pathOf(id));
  }

  /**
   * Deletes a person, with all that belongs to them. One who is gone already is no failure.
   * @param {string} id
   */
  async delete(id) {
    await this.#auth.request("DELETE", pathOf(id)).catch(unlessGone);
  }

  /**
   * All live sessions of a person.
   * @param {string} id
   * @returns {Promise<UserSession[]>}
   */
  async sessions(id) {
    return (await this.#auth.request("GET", pathOf(id, "/sessions"))).sessions;
  }

  /**
   * Ends one session of a person. One that is over already is no failure.
   * @param {string} id
   * @param {string} session
   */
  async endSession(id, session) {
    await this.#auth.request("DELETE", pathOf(id, `/sessions/${encodeURIComponent(session)}`)).catch(unlessGone);
  }

  /**
   * The events of a person, the newest first.
   * @param {string} id
   * @param {{ after?: string, limit?: number }} [which] `after`: `next` of the page before; `limit`: 1 to 200, by
   *   default 50
   * @returns {Promise<{ events: AuditEvent[], next?: string }>} no `next` on the last page
   */
  async events(id, which = {}) {
    return this.#auth.request("GET", pathOf(id, `/events${queryOf(which)}`));
  }

  /**
   * Mails a link: an invitation to somebody without a password, one to set another password otherwise.
   * @param {string} id
   * @throws {AuthError} `user_disabled`; `too_many_attempts` after many links; `not_found` where the server mails none
   */
  async mailLink(id) {
    await this.#act(id, "/link");
  }

  /**
   * Locks a person out, and ends all their sessions.
   * @param {string} id
   */
  async disable(id) {
    await this.#act(id, "/disable");
  }

  /** @param {string} id */
  async enable(id) {
    await this.#act(id, "/enable");
  }

  /**
   * Lifts what too many attempts have blocked.
   * @param {string} id
   */
  async unlock(id) {
    await this.#act(id, "/unlock");
  }

  /**
   * Ends all sessions of a person.
   * @param {string} id
   */
  async signOut(id) {
    await this.#act(id, "/signout");
  }

  /**
   * Whether a code is mailed at a sign-in without an app or a passkey.
   * @param {string} id
   * @param {TwoFactor} twoFactor
   */
  async setTwoFactor(id, twoFactor) {
    await this.#act(id, "/two-factor", { twoFactor });
  }

  /**
   * Removes the app, the passkeys and the recovery codes: for somebody who has lost them.
   * @param {string} id
   */
  async resetFactors(id) {
    await this.#act(id, "/reset-factors");
  }

  /**
   * Changes the address by which a person signs in, and to which mails go.
   * @param {string} id
   * @param {string} email
   * @throws {AuthError} `address_taken`
   */
  async setEmail(id, email) {
    await this.#act(id, "/email", { email });
  }

  /**
   * @param {string} id
   * @param {string} act
   * @param {object} [body]
   */
  async #act(id, act, body) {
    await this.#auth.request("POST", pathOf(id, act), body);
  }
}

/**
 * @param {string} id
 * @param {string} [rest]
 */
const pathOf = (id, rest = "") => `/admin/users/${encodeURIComponent(id)}${rest}`;

/**
 * The parameters as a query; empty values are left out.
 * @param {Record<string, string | number | undefined>} which
 */
function queryOf(which) {
  const asked = Object.entries(which).flatMap(([name, value]) => (value ? [[name, `${value}`]] : []));
  return asked.length > 0 ? `?${new URLSearchParams(asked)}` : "";
}

/**
 * A thing that is gone already counts as removed.
 * @param {unknown} error
 */
function unlessGone(error) {
  if (!(error instanceof AuthError && error.code === "not_found")) throw error;
}
