// The page to sign in on, and the page of one's own account: what people see of BackofficeAuth.

import { forgetApp, offerApp, showApp } from "./authenticator.js";
import { at, attempt, auth, explain, isComplete, onClick, onSubmit, remedies, run, say, show, shown } from "./ui.js";
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
  if (begun) askForCode(begun, email.value.trim()); // Otherwise `onChange` shows the account.
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
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @returns {keyof typeof CODES}
 */
function codeOf({ providers }) {
  if (providers.includes("totp")) return "totp";
  return providers.includes("email") ? "email" : "other";
}

/**
 * @param {import("./backoffice-auth.js").Challenge} begun
 * @param {string} address
 */
function askForCode(begun, address) {
  challenge = begun;
  const kind = codeOf(begun);
  const { label, hint, wrong, back } = CODES[kind];
  const until = new Date(Date.now() + begun.expiresIn * 1000);
  at("confirm-hint").replaceChildren(
    ...filledWith(hint, { email: strong(address), time: time(until.toISOString(), clock) }),
  );
  at("code-label").textContent = label;
  code.inputMode = kind === "other" ? "text" : "numeric";
  code.dataset.wrong = wrong;
  at("resend").hidden = kind !== "email";
  at("to-recovery").hidden = !begun.providers.includes("recovery_code");
  at("back").textContent = begun.isStepUp ? words.cancel : back;
  code.value = "";
  recoveryCode.value = "";
  show("confirm");
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

/** @param {string} view */
function showForCode(view) {
  say();
  show(view);
}

async function sendAnotherCode() {
  await (challenge?.isStepUp ? signInAgain() : signIn());
  if (challenge) say(words.newCode);
}

/**
 * The sign-in is too old for an action: it waits until the person has signed in again.
 * @param {() => Promise<void>} action
 */
function stepUp(action) {
  waiting = { action, view: shown() ?? "account" };
  input("again-email").value = person;
  againPassword.value = "";
  show("again");
}

async function signInAgain() {
  if (!isComplete([[againPassword, words.enterPassword]])) return;
  const begun = await auth.signInAgain(person, againPassword.value);
  if (begun) askForCode(begun, person);
  else await goOn();
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
  const [me, sessions] = await Promise.all([auth.me(), auth.sessions()]);
  person = me.user.email;
  const since = sessions.find(({ current }) => current)?.createdAt ?? new Date().toISOString();
  const who = strong(person);
  who.id = "who";
  at("as-whom").replaceChildren(...filledWith(words.asWhom, { email: who, time: time(since) }));
  showApp(me);
  at("enrolled").replaceChildren(...enrolled(me).map((text) => line(text)));
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
  const since = (/** @type {string} */ text) => ({ time: dateAndClock(new Date(text)) });
  const strong = [
    ...(totp ? [filled(words.byApp, since(totp.createdAt))] : []),
    ...passkeys.map(({ name, createdAt }) => filled(words.byPasskey, { name, ...since(createdAt) })),
  ];
  if (strong.length > 0) return [words.byPassword, ...strong, filled(words.recoveryCodes, { count: `${recoveryCodesLeft}` })];
  return [words.byPassword, twoFactor === "email" ? words.byCode : words.byNoCode];
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

remedies.set("reauthentication_required", stepUp);
offerApp(showAccount);
onSubmit("signin-form", signIn);
onSubmit("confirm-form", () => confirm(code, challenge ? CODES[codeOf(challenge)].missing : ""));
onSubmit("recovery-form", () => confirm(recoveryCode, words.enterRecoveryCode));
onSubmit("forgot-form", forgot);
onSubmit("change-form", changePassword);
onSubmit("again-form", signInAgain);
onClick("resend", () => attempt(sendAnotherCode));
onClick("to-recovery", () => showForCode("recovery"));
onClick("to-code", () => showForCode("confirm"));
onClick("back", () => lead(challenge?.isStepUp ? "account" : "signin"));
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
  say();
  show(view);
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
