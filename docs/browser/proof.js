// How people prove themselves after the password: by a code, a passkey or a recovery code; and the new sign-in
// (step-up) for which a call waits that the session is too old for. Leaving a view ends its request to an
// authenticator.

import { hasPasskeys } from "./backoffice-auth.js";
import {
  at,
  attempt,
  auth,
  isComplete,
  isRefusedAs,
  onClick,
  onShow,
  onSubmit,
  remedies,
  run,
  say,
  show,
  shown,
  strong,
  time,
  turnTo,
} from "./ui.js";
import { clock, filled, filledWith, words } from "./words.js";

/** @typedef {import("./backoffice-auth.js").Challenge} Challenge */

/**
 * The differences between the pages.
 * @typedef {object} Host
 * @property {string} home the view of somebody who is signed in
 * @property {string} hint the reason why a call needs a new sign-in
 * @property {() => string} person the address of the account
 * @property {() => boolean} isEnoughAlone whether a passkey of this person signs in without a password here
 * @property {() => void} stay gives a step-up up
 * @property {() => void} back gives a sign-in up
 * @property {() => Promise<void>} sendAnotherCode at a sign-in
 */

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (at(id));
const [code, recoveryCode, againPassword] = ["code", "recovery-code", "again-password"].map(input);

/** @type {Host} */
let host;
/** @type {Challenge | null} */
let challenge = null;
/** The action that waits for a new sign-in, and its view: it is done then.
 * @type {{ action: () => Promise<void>, hint: string, view: string } | null} */
let waiting = null;
/** The view to which the one for recovery codes leads back. */
let wayBack = "confirm";
/** Ends the view's request to an authenticator. */
let leaving = new AbortController();

onShow(() => {
  leaving.abort();
  leaving = new AbortController();
});

/** The signal of the view that is shown: aborted when that is left. */
export const untilLeft = () => leaving.signal;

/**
 * Wires the views for it.
 * @param {Host} its
 */
export function offerProof(its) {
  host = its;
  remedies.set("reauthentication_required", (action) => stepUp(action));
  onSubmit("passkey-form", confirmWithPasskey);
  onSubmit("confirm-form", () => confirm(code, CODES[(challenge && codeOf(challenge)) ?? "other"].missing));
  onSubmit("recovery-form", () => confirm(recoveryCode, words.enterRecoveryCode));
  onSubmit("again-form", signInAgain);
  onClick("resend", () => attempt(sendAnotherCode));
  onClick("to-passkey", () => turnTo("passkey"));
  onClick("passkey-to-code", () => turnTo("confirm"));
  for (const id of ["to-recovery", "passkey-to-recovery"]) onClick(id, turnToRecovery);
  onClick("to-code", () => turnTo(wayBack));
  for (const id of ["back", "passkey-back"]) onClick(id, () => (challenge?.isStepUp ? host.stay() : host.back()));
  onClick("again-passkey", () => run(signInAgainWithPasskey));
  onClick("again-cancel", () => host.stay());
}

/** Gives up the unfinished sign-in, and the action that has waited for it. */
export function forgetProof() {
  challenge = null;
  waiting = null;
  for (const field of [code, recoveryCode, againPassword]) field.value = "";
}

/** The texts about a code, by its source. */
const CODES = {
  email: {
    label: words.code,
    hint: words.codeSent,
    missing: words.enterDigits,
    wrong: "wrongCode",
    back: words.anotherAddress,
  },
  totp: {
    label: words.code,
    hint: words.codeOfApp,
    missing: words.enterDigitsOfApp,
    wrong: "wrongCodeOfApp",
    back: words.toSignIn,
  },
  // These pages do not know this word, but the person does.
  other: {
    label: words.anyCode,
    hint: words.anyCodeHint,
    missing: words.enterAnyCode,
    wrong: "wrongAnyCode",
    back: words.toSignIn,
  },
};

/**
 * The source of a code, besides the recovery codes; null where there is none.
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @returns {keyof typeof CODES | null}
 */
function codeOf({ providers }) {
  if (providers.includes("totp")) return "totp";
  if (providers.includes("email")) return "email";
  return providers.every((provider) => ["passkey", "recovery_code"].includes(provider)) ? null : "other";
}

/**
 * Asks for the best factor that can confirm the challenge here, and offers the others.
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @param {string} address
 */
export function askForProof(begun, address) {
  challenge = begun;
  const kind = codeOf(begun);
  const isByPasskey = begun.providers.includes("passkey");
  const takesPasskey = isByPasskey && hasPasskeys();
  const until = new Date(Date.now() + begun.expiresIn * 1000).toISOString();
  const values = () => ({ email: strong(address), time: time(until, clock) });
  const byPasskey = takesPasskey ? words.passkeyHint : words.noPasskeyHere;
  at("passkey-hint").replaceChildren(...(isByPasskey ? filledWith(byPasskey, values()) : []));
  at("passkey-form").hidden = !takesPasskey;
  at("passkey-to-code").hidden = !kind;
  at("to-passkey").hidden = !takesPasskey;
  for (const id of ["to-recovery", "passkey-to-recovery"]) at(id).hidden = !begun.providers.includes("recovery_code");
  const { label, hint, wrong, back } = CODES[kind ?? "other"];
  at("confirm-hint").replaceChildren(...filledWith(hint, values()));
  at("code-label").textContent = label;
  code.inputMode = kind === "totp" || kind === "email" ? "numeric" : "text";
  code.dataset.wrong = wrong;
  at("resend").hidden = kind !== "email";
  for (const id of ["back", "passkey-back"]) at(id).textContent = begun.isStepUp ? words.cancel : back;
  code.value = "";
  recoveryCode.value = "";
  show(kind && !(takesPasskey && begun.provider === "passkey") ? "confirm" : "passkey");
}

/**
 * @param {HTMLInputElement} field
 * @param {string} missing the message for an empty field
 */
async function confirm(field, missing) {
  const begun = challenge;
  if (!begun || !isComplete([[field, missing]])) return;
  const { recoveryCodesLeft } = await auth.confirm(begun, field.value);
  if (begun.isStepUp) await goOn(); // Otherwise `onChange` shows the account.
  else if (recoveryCodesLeft !== undefined) say(filled(words.recoveryCodeUsed, { count: `${recoveryCodesLeft}` }));
}

async function confirmWithPasskey() {
  const begun = challenge;
  if (!begun) return;
  try {
    const confirmed = await whileHere((signal) => auth.confirmWithPasskey(begun, { signal }));
    if (confirmed && begun.isStepUp) await goOn(); // Otherwise `onChange` shows the account.
  } catch (error) {
    if (!isRefusedAs(error, "invalid_two_factor")) throw error;
    say(words.wrongPasskey, { isError: true });
  }
}

/** Offers the recovery codes, with a way back to the present view. */
function turnToRecovery() {
  wayBack = shown() ?? "confirm";
  at("to-code").textContent = wayBack === "passkey" ? words.toPasskey : words.toCode;
  turnTo("recovery");
}

async function sendAnotherCode() {
  await (challenge?.isStepUp ? signInAgain() : host.sendAnotherCode());
  if (challenge) say(words.newCode);
}

/**
 * The sign-in is not enough for an action: it waits until the person has signed in again.
 * @param {() => Promise<void>} action
 * @param {string} hint the reason
 * @param {string} view the view of the action
 */
export function stepUp(action, hint = host.hint, view = shown() ?? host.home) {
  waiting = { action, hint, view };
  at("again-hint").textContent = hint;
  at("again-by-passkey").hidden = !host.isEnoughAlone();
  at("again").dataset.begins = host.isEnoughAlone() ? "title" : "field";
  input("again-email").value = host.person();
  againPassword.value = "";
  show("again");
}

async function signInAgain() {
  if (!isComplete([[againPassword, words.enterPassword]])) return;
  const begun = await auth.signInAgain(host.person(), againPassword.value);
  if (begun) askForProof(begun, host.person());
  else await goOn();
}

async function signInAgainWithPasskey() {
  const isDone = await whileHere((signal) => auth.signInAgainWithPasskey({ signal }).then(() => true));
  if (isDone) await goOn();
}

/** Does the action that has waited for the new sign-in. */
async function goOn() {
  const { action, hint, view } = waiting ?? { view: host.home };
  forgetProof();
  show(view);
  try {
    await action?.();
  } catch (error) {
    // The new sign-in is not sufficient, either: one with a recovery code, for example.
    if (!action || !isRefusedAs(error, "reauthentication_required")) throw error;
    stepUp(action, hint, view);
  }
}

/**
 * Lets the browser ask an authenticator until the view is left.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} ask
 * @returns {Promise<T | null>} null where the view was left
 */
export async function whileHere(ask) {
  const { signal } = leaving;
  try {
    return await ask(signal);
  } catch (error) {
    if (signal.aborted && isRefusedAs(error, "passkey_cancelled")) return null;
    throw error;
  }
}
