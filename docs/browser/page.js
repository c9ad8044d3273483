// The page to sign in on, and the page of one's own account: what people see of BackofficeAuth.

import { forgetApp, offerApp, showApp } from "./authenticator.js";
import { hasPasskeys } from "./backoffice-auth.js";
import { isEnoughAlone, offerPasskeys, passkeyLine, showPasskeys, whileHere } from "./passkeys.js";
import {
  at,
  attempt,
  auth,
  explain,
  isComplete,
  isRefusedAs,
  onClick,
  onSubmit,
  remedies,
  run,
  say,
  show,
  shown,
  turnTo,
} from "./ui.js";
import { clock, dateAndClock, filled, filledWith, words } from "./words.js";

/** The address of this page with which it begins at a forgotten password. */
const FORGOTTEN = "#forgot";

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (at(id));
const [email, password, code, recoveryCode] = ["email", "password", "code", "recovery-code"].map(input);
const [currentPassword, newPassword, againPassword] = ["current-password", "new-password", "again-password"].map(input);
const forgotEmail = input("forgot-email");

/** @type {import("./backoffice-auth.js").Challenge | null} */
let challenge = null;
/** What waits for a new sign-in, and in which view: it is done then.
 * @type {{ action: () => Promise<void>, view: string } | null} */
let waiting = null;
/** The view to which the one for recovery codes leads back. */
let wayBack = "confirm";
/** Whose account is shown. */
let person = "";

/** Takes all that was typed off the page: the passwords have done their work. */
function forgetWhatWasTyped() {
  for (const form of document.forms) form.reset();
  forgetApp();
  challenge = null;
}

/** @param {string} text */
function strong(text) {
  const element = document.createElement("strong");
  element.textContent = text;
  return element;
}

/**
 * @param {string} text
 * @param {(time: Date) => string} [form]
 */
function time(text, form = dateAndClock) {
  const element = document.createElement("time");
  element.dateTime = text;
  element.textContent = form(new Date(text));
  return element;
}

async function signIn() {
  const isReady = isComplete([
    [email, words.enterAddress],
    [password, words.enterPassword],
  ]);
  if (!isReady) return;
  const begun = await auth.signIn(email.value.trim(), password.value);
  if (begun) askForProof(begun, email.value.trim()); // Otherwise `onChange` shows the account.
}

/** What to say about a code, by where it comes from. */
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
  // A word that these pages do not know: the person does.
  other: {
    label: words.anyCode,
    hint: words.anyCodeHint,
    missing: words.enterAnyCode,
    wrong: "wrongAnyCode",
    back: words.toSignIn,
  },
};

/**
 * Where a code comes from, besides the recovery codes; null where there is none.
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @returns {keyof typeof CODES | null}
 */
function codeOf({ providers }) {
  if (providers.includes("totp")) return "totp";
  if (providers.includes("email")) return "email";
  return providers.every((provider) => ["passkey", "recovery_code"].includes(provider)) ? null : "other";
}

/**
 * Asks for the best of what the challenge can be confirmed with here, and offers the rest.
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @param {string} address
 */
function askForProof(begun, address) {
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
 * @param {string} missing what to say where it is empty
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

/** Offers the recovery codes, with a way back to what is shown. */
function turnToRecovery() {
  wayBack = shown() ?? "confirm";
  at("to-code").textContent = wayBack === "passkey" ? words.toPasskey : words.toCode;
  turnTo("recovery");
}

async function sendAnotherCode() {
  await (challenge?.isStepUp ? signInAgain() : signIn());
  if (challenge) say(words.newCode);
}

/**
 * The sign-in is not enough for an action: it waits until the person has signed in again.
 * @param {() => Promise<void>} action
 * @param {string} hint why
 * @param {string} view where the action belongs
 */
function stepUp(action, hint = words.againHint, view = shown() ?? "account") {
  waiting = { action, view };
  at("again-hint").textContent = hint;
  at("again-by-passkey").hidden = !isEnoughAlone();
  at("again").dataset.begins = isEnoughAlone() ? "title" : "field";
  input("again-email").value = person;
  againPassword.value = "";
  show("again");
}

async function signInAgain() {
  if (!isComplete([[againPassword, words.enterPassword]])) return;
  const begun = await auth.signInAgain(person, againPassword.value);
  if (begun) askForProof(begun, person);
  else await goOn();
}

async function signInAgainWithPasskey() {
  const isDone = await whileHere((signal) => auth.signInAgainWithPasskey({ signal }).then(() => true));
  if (isDone) await goOn();
}

/** Gives up what has waited for the new sign-in. The account may have changed before it was wanted. */
function stayAsSignedIn() {
  lead("account");
  showAccount().catch(explain);
}

/** Does what has waited for the new sign-in. */
async function goOn() {
  const { action, view } = waiting ?? { view: "account" };
  waiting = null;
  challenge = null;
  for (const field of [againPassword, code, recoveryCode]) field.value = "";
  show(view);
  await action?.();
}

async function forgot() {
  if (!isComplete([[forgotEmail, words.enterAddress]])) return;
  const address = forgotEmail.value.trim();
  await auth.forgotPassword(address);
  at("mailed-to").replaceChildren(...filledWith(words.mailedTo, { email: strong(address) }));
  show("mailed");
}

async function changePassword() {
  const isReady = isComplete([
    [currentPassword, words.enterCurrentPassword],
    [newPassword, words.enterNewPassword],
  ]);
  if (!isReady) return;
  await auth.changePassword(currentPassword.value, newPassword.value);
  await showAccount();
  say(words.isChanged);
}

/** Shows who is signed in, how, and where. */
async function showAccount() {
  forgetWhatWasTyped();
  if (shown() !== "account") show("account");
  const [me, sessions, offersPasskeys] = await Promise.all([auth.me(), auth.sessions(), auth.offersPasskeys()]);
  person = me.user.email;
  const since = sessions.find(({ current }) => current)?.createdAt ?? new Date().toISOString();
  const who = strong(person);
  who.id = "who";
  at("as-whom").replaceChildren(...filledWith(words.asWhom, { email: who, time: time(since) }));
  showApp(me);
  showPasskeys(me, offersPasskeys);
  at("enrolled").replaceChildren(...enrolled(me));
  const isFresh = Date.parse(me.freshUntil) > Date.now();
  at("fresh").replaceChildren(
    ...(isFresh ? filledWith(words.isFresh, { time: time(me.freshUntil, clock) }) : [words.isNotFresh]),
  );
  at("sessions").replaceChildren(...sessions.map(listed));
  at("signout-others").hidden = sessions.length < 2;
}

/**
 * All by which a person proves themselves, in a line each.
 * @param {import("./backoffice-auth.js").Account} me
 */
function enrolled({ twoFactor, totp, passkeys, recoveryCodesLeft }) {
  const strong = [
    ...(totp ? [line(filled(words.byApp, { time: dateAndClock(new Date(totp.createdAt)) }))] : []),
    ...passkeys.map(passkeyLine),
  ];
  const mailed = line(twoFactor === "email" ? words.byCode : words.byNoCode);
  const codes = line(filled(words.recoveryCodes, { count: `${recoveryCodesLeft}` }));
  return [line(words.byPassword), ...(strong.length > 0 ? [...strong, codes] : [mailed])];
}

/**
 * @param {...(string | Node)} parts
 */
function line(...parts) {
  const element = document.createElement("li");
  element.append(...parts);
  return element;
}

/**
 * A line of the list. All text is set as text: what a browser calls itself is whatever it likes.
 * @param {import("./backoffice-auth.js").Session} session
 */
function listed({ id, network, lastUsedAt, userAgent, device, current }) {
  const about = document.createElement("div");
  const name = current ? words.thisBrowser : (device ?? userAgent ?? words.unknownProgram);
  const where = document.createElement("small");
  where.append(...filledWith(words.lastUsed, { network: document.createTextNode(network), time: time(lastUsedAt) }));
  about.append(name, where);
  return current ? line(about) : line(about, endButton(id, name));
}

/**
 * @param {string} id
 * @param {string} name
 */
function endButton(id, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = words.signOut;
  button.setAttribute("aria-label", filled(words.signOutOne, { name }));
  button.addEventListener("click", () => run(() => end(() => auth.endSession(id), words.sessionIsOver)));
  return button;
}

/**
 * Ends sessions, and shows which are left. The focus goes to the title: the button may be gone.
 * @param {() => Promise<void>} ending
 * @param {string} text
 */
async function end(ending, text) {
  await ending();
  await showAccount();
  at("account-title").focus();
  say(text);
}

remedies.set("reauthentication_required", (action) => stepUp(action));
offerApp(showAccount);
offerPasskeys(showAccount, (action, hint) => stepUp(action, hint, "account"));
onSubmit("signin-form", signIn);
onSubmit("passkey-form", confirmWithPasskey);
onSubmit("confirm-form", () => confirm(code, CODES[(challenge && codeOf(challenge)) ?? "other"].missing));
onSubmit("recovery-form", () => confirm(recoveryCode, words.enterRecoveryCode));
onSubmit("forgot-form", forgot);
onSubmit("change-form", changePassword);
onSubmit("again-form", signInAgain);
onClick("resend", () => attempt(sendAnotherCode));
onClick("to-passkey", () => turnTo("passkey"));
onClick("passkey-to-code", () => turnTo("confirm"));
for (const id of ["to-recovery", "passkey-to-recovery"]) onClick(id, turnToRecovery);
onClick("to-code", () => turnTo(wayBack));
for (const id of ["back", "passkey-back"]) onClick(id, () => (challenge?.isStepUp ? stayAsSignedIn() : lead("signin")));
onClick("again-passkey", () => run(signInAgainWithPasskey));
onClick("again-cancel", stayAsSignedIn);
onClick("forgotten", () => {
  forgotEmail.value = email.value;
  lead("forgot");
});
onClick("change-password", () => {
  input("change-email").value = person;
  lead("change");
});
onClick("signout-others", () => run(() => end(() => auth.signOutOthers(), words.othersAreOver)));
onClick("signout", () =>
  run(async () => {
    if (!(await auth.signOut())) say(words.signedOutUntold);
  }),
);
onClick("signout-everywhere", () => run(() => auth.signOutEverywhere()));
for (const button of document.querySelectorAll("[data-leads]")) {
  button.addEventListener("click", () => lead(/** @type {HTMLElement} */ (button).dataset.leads ?? ""));
}

/**
 * Goes to another view, and leaves behind what was begun in this one.
 * @param {string} view
 */
function lead(view) {
  challenge = null;
  waiting = null;
  for (const field of [password, code, recoveryCode, currentPassword, newPassword, againPassword]) field.value = "";
  forgetApp();
  turnTo(view);
}

auth.onChange((isSignedIn, reason) => {
  waiting = null;
  if (isSignedIn) {
    say();
    showAccount().catch(explain);
  } else {
    forgetWhatWasTyped();
    show("signin");
    say(reason === "ended" ? words.says.signed_out : words.isSignedOut);
  }
});

/** Where the page begins. */
function begin() {
  if (location.hash === FORGOTTEN) {
    history.replaceState(null, "", location.pathname + location.search);
    lead("forgot");
  } else if (auth.isSignedIn) showAccount().catch(explain);
  else show("signin");
}

begin();
