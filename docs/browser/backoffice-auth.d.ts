/**
 * Tokens in localStorage: they outlive the page, and all tabs share them.
 * @param {string} key
 * @returns {TokenStore}
 */
export function localTokens(key: string): TokenStore;
/**
 * Tokens in memory: gone with the page, and each tab signs in by itself.
 * @returns {TokenStore}
 */
export function memoryTokens(): TokenStore;
/**
 * What is kept between pages. Both tokens are opaque.
 * @typedef {object} Tokens
 * @property {string} access
 * @property {string} refresh
 * @property {number} life milliseconds that the access token had left at `receivedAt`
 * @property {number} receivedAt by this machine's clock
 * @property {string} session which sign-in they come from
 */
/**
 * Where tokens are kept. Both methods are synchronous, and neither throws.
 * @typedef {object} TokenStore
 * @property {() => Tokens | null} read
 * @property {(tokens: Tokens | null) => void} write
 */
/**
 * A sign-in that a mailed code has to confirm.
 * @typedef {object} Challenge
 * @property {string} token
 * @property {"email"} provider
 * @property {number} expiresIn seconds for which the code is good
 */
/**
 * Why somebody is signed in or out: `signedIn`; `signedOut` by themselves; `ended` by the server
 * (expired, ended elsewhere, reused); `changed` in storage by something else.
 * @typedef {"signedIn" | "signedOut" | "ended" | "changed"} Reason
 */
/** @typedef {{ token: string, createdAt: string, expiresAt: string }} WireToken */
/** @typedef {{ accessToken: WireToken, refreshToken: WireToken }} WirePair */
/** @typedef {{ body: any, date: number, sentAt: number }} Answer */
/** A refusal, or no answer at all. */
export class AuthError extends Error {
    /**
     * @param {string} code a `code` of the server; or `network` (no answer), `unexpected_answer` (from
     *   something in between), `signed_out` (nobody is signed in here)
     * @param {{ status?: number, detail?: string, retryAfter?: number, requestId?: string,
     *   errors?: { field: string, message: string }[], cause?: unknown }} [more]
     */
    constructor(code: string, more?: {
        status?: number;
        detail?: string;
        retryAfter?: number;
        requestId?: string;
        errors?: {
            field: string;
            message: string;
        }[];
        cause?: unknown;
    });
    code: string;
    status: number;
    /** Seconds to wait, where the server says so. */
    retryAfter: number;
    requestId: string;
    errors: {
        field: string;
        message: string;
    }[];
    /** Whether the same request may succeed later. */
    get isTransient(): boolean;
}
export class BackofficeAuth {
    /**
     * @param {object} options
     * @param {string} options.server where the server is, without a path: `https://auth.example.com`
     * @param {string[]} [options.apis] other origins to which `fetch` may carry the token
     * @param {TokenStore} [options.store] by default `localTokens`
     */
    constructor({ server, apis, store }: {
        server: string;
        apis?: string[];
        store?: TokenStore;
    });
    /** Whether there is a session, as far as is known here. */
    get isSignedIn(): boolean;
    /**
     * Calls `listener` whenever somebody is signed in or out, in this tab or in another.
     * @param {(signedIn: boolean, reason: Reason) => void} listener
     * @returns {() => void} stops that
     */
    onChange(listener: (signedIn: boolean, reason: Reason) => void): () => void;
    /** Lets go of everything but the tokens. */
    close(): void;
    /**
     * Signs in, or begins to. Never repeated by itself: each attempt counts, and may mail a code.
     * @param {string} email
     * @param {string} password
     * @returns {Promise<Challenge | null>} what `confirm` needs; null where the password was enough
     */
    signIn(email: string, password: string): Promise<Challenge | null>;
    /**
     * Ends what `signIn` began. Never repeated by itself either: a code is good once, so after an answer
     * that was lost the way is to sign in again.
     * @param {Challenge} challenge
     * @param {string} code the six digits; spaces between them do not matter
     */
    confirm(challenge: Challenge, code: string): Promise<void>;
    /**
     * An access token that is good for some time. Near its end it is still handed out while its successor
     * is fetched; past its end the successor is waited for.
     * @param {{ refused?: string, signal?: AbortSignal }} [options] `refused`: a token that a service did
     *   not accept, so another one is wanted. `signal`: ends the waiting, not the refresh
     * @returns {Promise<string>}
     * @throws {AuthError} `signed_out`, or why there is none at the moment
     */
    accessToken({ refused, signal }?: {
        refused?: string;
        signal?: AbortSignal;
    }): Promise<string>;
    /**
     * `fetch` with an access token; a token that is refused is replaced once. It goes to the server and to
     * `apis` alone. A path is one of the server's.
     * @param {string | URL} input
     * @param {RequestInit} [init] a body that is a stream cannot be sent again, and is not
     * @returns {Promise<Response>}
     */
    fetch(input: string | URL, init?: RequestInit): Promise<Response>;
    /**
     * Signs out: here whatever happens, at the server if it can be reached within some seconds.
     * @returns {Promise<boolean>} whether the server knows; if not, the session ends when it idles out
     */
    signOut(): Promise<boolean>;
    /**
     * Ends all sessions of this user, on all machines. Throws, and leaves all as it is, if the server
     * cannot be told: this is what people do who fear for their account.
     */
    signOutEverywhere(): Promise<void>;
    #private;
}
/**
 * What is kept between pages. Both tokens are opaque.
 */
export type Tokens = {
    access: string;
    refresh: string;
    /**
     * milliseconds that the access token had left at `receivedAt`
     */
    life: number;
    /**
     * by this machine's clock
     */
    receivedAt: number;
    /**
     * which sign-in they come from
     */
    session: string;
};
/**
 * Where tokens are kept. Both methods are synchronous, and neither throws.
 */
export type TokenStore = {
    read: () => Tokens | null;
    write: (tokens: Tokens | null) => void;
};
/**
 * A sign-in that a mailed code has to confirm.
 */
export type Challenge = {
    token: string;
    provider: "email";
    /**
     * seconds for which the code is good
     */
    expiresIn: number;
};
/**
 * Why somebody is signed in or out: `signedIn`; `signedOut` by themselves; `ended` by the server
 * (expired, ended elsewhere, reused); `changed` in storage by something else.
 */
export type Reason = "signedIn" | "signedOut" | "ended" | "changed";
export type WireToken = {
    token: string;
    createdAt: string;
    expiresAt: string;
};
export type WirePair = {
    accessToken: WireToken;
    refreshToken: WireToken;
};
export type Answer = {
    body: any;
    date: number;
    sentAt: number;
};
