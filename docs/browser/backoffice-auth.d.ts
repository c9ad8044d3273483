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
/** Whether this browser has passkeys. On pages without TLS it has none, except on those of `localhost`. */
export function hasPasskeys(): boolean;
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
     * @param {string} options.server the server's address, without a path: `https://auth.example.com`
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
    /** Releases everything but the tokens. */
    close(): void;
    /**
     * Signs in, or begins to. Never repeat it automatically: each attempt counts, and may mail a code.
     * @param {string} email
     * @param {string} password
     * @returns {Promise<Challenge | null>} what `confirm` needs; null where the password was enough
     */
    signIn(email: string, password: string): Promise<Challenge | null>;
    /**
     * Step-up, after `reauthentication_required`: signs in again, and the new session takes the old one's
     * place. `onChange` does not report it. Make the refused call again afterwards.
     * @param {string} email of the person who is signed in: anybody else's is `another_person`
     * @param {string} password
     * @returns {Promise<Challenge | null>} what `confirm` needs; null where the password was enough
     */
    signInAgain(email: string, password: string): Promise<Challenge | null>;
    /**
     * Completes a sign-in that `signIn` or `signInAgain` began. Never repeat it automatically either: a
     * code works once, so after a lost answer the person has to sign in again.
     * @param {Challenge} challenge
     * @param {string} code the six digits, or a recovery code; spaces do not matter
     * @returns {Promise<Confirmation>}
     */
    confirm(challenge: Challenge, code: string): Promise<Confirmation>;
    /**
     * The same with a passkey, where `passkey` is among the challenge's providers. Call it in the handler of
     * a click. After a failure the challenge can still be confirmed, with a passkey or otherwise.
     * @param {Challenge} challenge
     * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
     * @returns {Promise<Confirmation>}
     * @throws {AuthError} `passkey_cancelled`, `passkey_unusable`; `invalid_two_factor` for one that does not fit
     */
    confirmWithPasskey(challenge: Challenge, { signal }?: {
        signal?: AbortSignal;
    }): Promise<Confirmation>;
    /**
     * Whether people can sign in with passkeys here: this browser has them, and the server takes them.
     * @returns {Promise<boolean>} false as well where the server does not answer now
     */
    offersPasskeys(): Promise<boolean>;
    /**
     * Signs in with a passkey alone: the browser asks which, so nobody types an address. Call it in the
     * handler of a click.
     * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
     * @throws {AuthError} `passkey_cancelled`, `passkey_unusable`; `invalid_passkey`; `not_found` where the server
     *   takes none
     */
    signInWithPasskey({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /**
     * Offers passkeys among the values that the browser fills into a field with `autocomplete="username
     * webauthn"`, until one is chosen, which signs in, or until it is ended: by the signal, or by another
     * request to an authenticator.
     * @param {{ signal?: AbortSignal }} [options]
     * @returns {Promise<boolean>} whether somebody has signed in this way; false also where the browser
     *   offers none in fields, and where the server takes none
     * @throws {AuthError} `invalid_passkey`, or another refusal of the chosen passkey
     */
    signInByAutofill({ signal }?: {
        signal?: AbortSignal;
    }): Promise<boolean>;
    /**
     * Step-up as by `signInAgain`, with a passkey alone. Call it in the handler of a click.
     * @param {{ signal?: AbortSignal }} [options] `signal`: ends the request to the authenticator
     * @throws {AuthError} `another_person`; and those of `signInWithPasskey`
     */
    signInAgainWithPasskey({ signal }?: {
        signal?: AbortSignal;
    }): Promise<void>;
    /**
     * Has a link to set a password mailed, if there is such an account. The answer never tells whether.
     * @param {string} email
     */
    forgotPassword(email: string): Promise<void>;
    /**
     * The purpose and the owner of a mailed link. Does not use it up.
     * @param {string} token the part behind the `#` of the link
     * @returns {Promise<PasswordLink>}
     * @throws {AuthError} `invalid_link` for a link that is used, expired, void or made up
     */
    passwordLink(token: string): Promise<PasswordLink>;
    /**
     * Sets a password by a mailed link. It signs nobody in, and ends all sessions of the link's owner.
     * @param {string} token
     * @param {string} newPassword
     * @throws {AuthError} `invalid_link`; `invalid_request` with the field `newPassword` for a weak one, and
     *   the link keeps working
     */
    setPassword(token: string, newPassword: string): Promise<void>;
    /**
     * The account of the person who is signed in.
     * @returns {Promise<Account>}
     */
    me(): Promise<Account>;
    /**
     * Changes one's own password. This session lives on, and all others end.
     * @param {string} currentPassword
     * @param {string} newPassword
     * @throws {AuthError} `wrong_password`; `invalid_request` with the field `newPassword` for a weak one
     */
    changePassword(currentPassword: string, newPassword: string): Promise<void>;
    /**
     * Begins to set up an authenticator app. Nothing changes before `confirmTotp`, and an earlier set-up is
     * void. Where there is an app already, the new one replaces it then.
     * @returns {Promise<TotpEnrolment>}
     * @throws {AuthError} `reauthentication_required`; `method_not_allowed` or `not_found` where the server accepts
     *   no such apps
     */
    beginTotp(): Promise<TotpEnrolment>;
    /**
     * Sets up an authenticator app by the first code that it shows. This session lives on, and all others end.
     * @param {string} id of the enrolment
     * @param {string} code the six digits; spaces do not matter
     * @returns {Promise<string[]>} new recovery codes, to be shown once; none where unused ones were left
     * @throws {AuthError} `reauthentication_required`; `invalid_two_factor` for a wrong code, and for an enrolment
     *   that is over
     */
    confirmTotp(id: string, code: string): Promise<string[]>;
    /**
     * Removes the authenticator app. This session lives on, and all others end.
     * @throws {AuthError} `reauthentication_required`
     */
    removeTotp(): Promise<void>;
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
    addPasskey(name: string, { signal }?: {
        signal?: AbortSignal;
    }): Promise<AddedPasskey>;
    /**
     * Removes a passkey from the account; its owner's devices keep theirs. This session lives on, and all others end.
     * One that is gone already is no failure.
     * @param {string} id
     * @throws {AuthError} `reauthentication_required`
     */
    removePasskey(id: string): Promise<void>;
    /**
     * How this session was signed in, in words of RFC 8176: with `mfa`, by two factors of which none is a mailbox.
     * @returns {Promise<string[]>}
     */
    methods(): Promise<string[]>;
    /**
     * Makes new recovery codes, and voids the ones from before. This session lives on, and all others end.
     * @returns {Promise<string[]>} to be shown once
     * @throws {AuthError} `reauthentication_required`; `not_found` where there is no app or passkey that they could
     *   replace
     */
    makeRecoveryCodes(): Promise<string[]>;
    /**
     * All live sessions of this person, this one among them.
     * @returns {Promise<Session[]>}
     */
    sessions(): Promise<Session[]>;
    /**
     * Ends one of this person's sessions. One that is over already is no failure.
     * @param {string} id
     */
    endSession(id: string): Promise<void>;
    /** Ends all sessions of this person but this one. */
    signOutOthers(): Promise<void>;
    /**
     * An access token that is valid for some time. Near its end it is still handed out while its
     * successor is fetched; past its end the call waits for the successor.
     * @param {{ refused?: string, signal?: AbortSignal }} [options] `refused`: a token that a service did
     *   not accept, so another one is wanted. `signal`: ends the wait, not the refresh
     * @returns {Promise<string>}
     * @throws {AuthError} `signed_out`, or the reason why there is none at the moment
     */
    accessToken({ refused, signal }?: {
        refused?: string;
        signal?: AbortSignal;
    }): Promise<string>;
    /**
     * `fetch` with an access token; a token that is refused is replaced once. It goes to the server and to
     * `apis` alone. A path is one of the server's.
     * @param {string | URL} input
     * @param {RequestInit} [init] a body that is a stream cannot be sent again, so it is not
     * @returns {Promise<Response>}
     */
    fetch(input: string | URL, init?: RequestInit): Promise<Response>;
    /**
     * Signs out: here in any case, at the server if it can be reached within some seconds.
     * @returns {Promise<boolean>} whether the server knows; if not, the session ends when it idles out
     */
    signOut(): Promise<boolean>;
    /**
     * Ends all sessions of this user, on all machines. Throws, and changes nothing, if the server
     * cannot be reached: people who fear for their account must know that.
     */
    signOutEverywhere(): Promise<void>;
    /**
     * Calls a route of the server as the person who is signed in: for parts of its interface that have modules of
     * their own. A token that is refused is replaced once.
     * @param {string} method
     * @param {string} path the part behind `/api/v2`
     * @param {object} [body]
     * @returns {Promise<any>} the answer's JSON; an empty text where it has none
     */
    request(method: string, path: string, body?: object): Promise<any>;
    #private;
}
/**
 * The tokens that are kept between pages. Both are opaque.
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
     * the sign-in that they come from; a step-up counts as the sign-in whose place it takes
     */
    session: string;
};
/**
 * A place that keeps tokens. Both methods are synchronous, and neither throws.
 */
export type TokenStore = {
    read: () => Tokens | null;
    write: (tokens: Tokens | null) => void;
};
/**
 * A sign-in that a code or a passkey has to confirm.
 */
export type Challenge = {
    token: string;
    /**
     * the first of `providers`
     */
    provider: string;
    /**
     * all that can confirm it, the best first: `passkey`, `totp` for the code of an
     * authenticator app, `email` for a mailed one, `recovery_code`. Take any other word for "ask for a code"
     */
    providers: string[];
    /**
     * the options for an authenticator, where `passkey` is among the providers
     */
    publicKey?: object;
    /**
     * seconds for which it can be confirmed
     */
    expiresIn: number;
    /**
     * whether it takes the place of a session, as with `signInAgain`
     */
    isStepUp: boolean;
};
/**
 * The reason why somebody is signed in or out: `signedIn`; `signedOut` by themselves; `ended` by
 * the server (expired, ended elsewhere, reused); `changed` in storage by something else.
 */
export type Reason = "signedIn" | "signedOut" | "ended" | "changed";
/**
 * The result of a sign-in besides the tokens.
 */
export type Confirmation = {
    /**
     * the number of unused ones; there only if a recovery code confirmed
     */
    recoveryCodesLeft?: number;
};
/**
 * An authenticator app that is being set up. It is in use only after its first right code.
 */
export type TotpEnrolment = {
    id: string;
    /**
     * to be typed into an app: base32
     */
    secret: string;
    /**
     * the same for apps of this device: `otpauth://…`
     */
    uri: string;
    /**
     * the same as a QR code: the `d` of one SVG path, dark on light, in a
     * `viewBox` of `0 0 size size`
     */
    qr: {
        size: number;
        path: string;
    };
    /**
     * seconds for which it can be confirmed
     */
    expiresIn: number;
};
/**
 * A passkey of an account.
 */
export type Passkey = {
    id: string;
    name: string;
    createdAt: string;
    lastUsedAt?: string;
    /**
     * whether its owner's devices share it
     */
    synced: boolean;
    /**
     * whether it signs in without a password
     */
    alone: boolean;
};
/**
 * A passkey that was just added.
 */
export type AddedPasskey = {
    id: string;
    name: string;
    createdAt: string;
    /**
     * whether its owner's devices share it
     */
    synced: boolean;
    /**
     * whether it signs in without a password
     */
    alone: boolean;
    /**
     * new ones, to be shown once; none where unused ones were left
     */
    recoveryCodes: string[];
};
/**
 * The purpose and the owner of a mailed link.
 */
export type PasswordLink = {
    purpose: "reset" | "invitation";
    email: string;
    /**
     * seconds for which the link works
     */
    expiresIn: number;
};
/**
 * A person's own account, as the server answers it. All times are RFC 3339.
 */
export type Account = {
    user: {
        id: string;
        email: string;
    };
    administrator: boolean;
    twoFactor: "off" | "email";
    /**
     * an authenticator app
     */
    totp?: {
        createdAt: string;
        lastUsedAt?: string;
    };
    passkeys: Passkey[];
    recoveryCodesLeft: number;
    /**
     * the end of the time in which this session may change the person's factors
     */
    freshUntil: string;
};
/**
 * One of a person's sessions.
 */
export type Session = {
    id: string;
    createdAt: string;
    lastUsedAt: string;
    expiresAt: string;
    /**
     * the network that last used it
     */
    network: string;
    /**
     * the browser's own name: any text. Show it as text
     */
    userAgent: string | null;
    /**
     * a short name made of that
     */
    device: string | null;
    /**
     * whether it is the session that makes the call
     */
    current: boolean;
};
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
/**
 * A request to an authenticator. `isOffer`: it waits in a field for somebody who may never come. `settled`: the
 * browser has ended it.
 */
export type Asking = {
    isOpen: boolean;
    isOffer: boolean;
    settled: Promise<unknown>;
    end: () => void;
};
