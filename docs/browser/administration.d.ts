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
    /** @param {BackofficeAuth} auth of the administrator */
    constructor(auth: BackofficeAuth);
    /**
     * People, in the order of their addresses.
     * @param {{ email?: string, state?: State, after?: string, limit?: number }} [which] `email`: how the address
     *   begins; `after`: `next` of the page before; `limit`: 1 to 200, by default 50
     * @returns {Promise<{ users: User[], next?: string }>} no `next` on the last page
     */
    users(which?: {
        email?: string;
        state?: State;
        after?: string;
        limit?: number;
    }): Promise<{
        users: User[];
        next?: string;
    }>;
    /**
     * Invites somebody by mail.
     * @param {string} email
     * @param {TwoFactor} [twoFactor] by default `email`
     * @returns {Promise<User>}
     * @throws {AuthError} `address_taken`; `not_found` where the server mails no links
     */
    invite(email: string, twoFactor?: TwoFactor): Promise<User>;
    /**
     * @param {string} id
     * @returns {Promise<UserDetails>}
     * @throws {AuthError} `not_found`
     */
    user(id: string): Promise<UserDetails>;
    /**
     * Deletes a person, with all that belongs to them. One who is gone already is no failure.
     * @param {string} id
     */
    delete(id: string): Promise<void>;
    /**
     * All live sessions of a person.
     * @param {string} id
     * @returns {Promise<UserSession[]>}
     */
    sessions(id: string): Promise<UserSession[]>;
    /**
     * Ends one session of a person. One that is over already is no failure.
     * @param {string} id
     * @param {string} session
     */
    endSession(id: string, session: string): Promise<void>;
    /**
     * The events of a person, the newest first.
     * @param {string} id
     * @param {{ after?: string, limit?: number }} [which] `after`: `next` of the page before; `limit`: 1 to 200, by
     *   default 50
     * @returns {Promise<{ events: AuditEvent[], next?: string }>} no `next` on the last page
     */
    events(id: string, which?: {
        after?: string;
        limit?: number;
    }): Promise<{
        events: AuditEvent[];
        next?: string;
    }>;
    /**
     * Mails a link: an invitation to somebody without a password, one to set another password otherwise.
     * @param {string} id
     * @throws {AuthError} `user_disabled`; `too_many_attempts` after many links; `not_found` where the server mails none
     */
    mailLink(id: string): Promise<void>;
    /**
     * Locks a person out, and ends all their sessions.
     * @param {string} id
     */
    disable(id: string): Promise<void>;
    /** @param {string} id */
    enable(id: string): Promise<void>;
    /**
     * Lifts what too many attempts have blocked.
     * @param {string} id
     */
    unlock(id: string): Promise<void>;
    /**
     * Ends all sessions of a person.
     * @param {string} id
     */
    signOut(id: string): Promise<void>;
    /**
     * Whether a code is mailed at a sign-in without an app or a passkey.
     * @param {string} id
     * @param {TwoFactor} twoFactor
     */
    setTwoFactor(id: string, twoFactor: TwoFactor): Promise<void>;
    /**
     * Removes the app, the passkeys and the recovery codes: for somebody who has lost them.
     * @param {string} id
     */
    resetFactors(id: string): Promise<void>;
    /**
     * Changes the address by which a person signs in, and to which mails go.
     * @param {string} id
     * @param {string} email
     * @throws {AuthError} `address_taken`
     */
    setEmail(id: string, email: string): Promise<void>;
    #private;
}
export type BackofficeAuth = import("./backoffice-auth.js").BackofficeAuth;
export type State = "active" | "invited" | "disabled" | "locked";
export type TwoFactor = "off" | "email";
/**
 * Somebody who can have an account. All times are RFC 3339.
 */
export type User = {
    id: string;
    email: string;
    /**
     * `invited`: without a password so far; `locked`: after too many wrong codes in a row
     */
    state: State;
    /**
     * acts on administrators are refused as `forbidden`
     */
    administrator: boolean;
    twoFactor: TwoFactor;
    /**
     * whether there is an authenticator app
     */
    totp: boolean;
    /**
     * how many
     */
    passkeys: number;
    recoveryCodesLeft: number;
    createdAt: string;
    passwordChangedAt?: string;
    lastSignInAt?: string;
};
/**
 * A mail of the last days.
 */
export type Mail = {
    /**
     * `sign_in_code`, `reset_link`, `invitation_link`, `notice`. More may come
     */
    kind: string;
    createdAt: string;
    /**
     * `waiting`, `sent`, `unclear` (it may have arrived), `refused` (by the mail server), `expired`
     */
    state: string;
    attempts: number;
    /**
     * the words of the mail server: any text. Show it as text
     */
    lastReply?: string;
};
/**
 * An obstacle to signing in. Show any other kind without a sentence of its own.
 */
export type Obstacle = {
    /**
     * `disabled`, `no_password`, `second_factor_locked`, `limited`, `mail_stuck`
     */
    kind: string;
    /**
     * of `disabled`
     */
    since?: string;
    /**
     * of `second_factor_locked`
     */
    wrongCodes?: number;
    /**
     * of `limited`: which, in the server's word
     */
    limit?: string;
    /**
     * of `limited`
     */
    until?: string;
    /**
     * of `limited`: absent for all networks, and for one that is not known
     */
    network?: string;
    /**
     * of `mail_stuck`
     */
    mail?: Mail;
};
export type UserDetails = User & {
    disabledAt?: string;
    obstacles: Obstacle[];
    mails: Mail[];
};
/**
 * One of a person's sessions.
 */
export type UserSession = {
    id: string;
    createdAt: string;
    lastUsedAt: string;
    expiresAt: string;
    /**
     * the network that opened it
     */
    network: string;
    /**
     * the browser's own name then: any text. Show it as text
     */
    userAgent: string | null;
    /**
     * the network that last used it
     */
    lastNetwork: string;
    lastUserAgent: string | null;
    /**
     * a short name made of that
     */
    device: string | null;
    /**
     * whether it is the session that makes the call
     */
    current: boolean;
};
/**
 * A line of the audit log, in the log's own words.
 */
export type AuditEvent = {
    at: string;
    kind: string;
    outcome: "granted" | "refused";
    reason: string;
    /**
     * the person who did it: an operator, or `user:` and an id
     */
    actor?: string;
    network?: string;
    sessionId?: string;
    requestId?: string;
    detail?: string;
    /**
     * the address that was given
     */
    email?: string;
};
