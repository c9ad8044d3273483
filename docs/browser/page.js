// The page to sign in on, and the page of one's own account, on top of BackofficeAuth.

import { forgetApp, offerApp, showApp } from "./authenticator.js";
import { isEnoughAlone, offerPasskeys, passkeyLine, showPasskeys } from "./passkeys.js";
import { askForProof, forgetProof, offerProof, stepUp } from "./proof.js";
import { at, auth, explain, isComplete, line, onClick, onSubmit, run, say, show, shown, strong, time, turnTo } from "./ui.js";
import { clock, dateAndClock, filled, filledWith, words } from "./words.js";

/** The address of this page with which it begins at a forgotten password. */
const FORGOTTEN = "#forgot";

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (at(id));
const [email, password, forgotEmail] = ["email", "password", "forgot-email"].map(input);
const [currentPassword, newPassword] = ["current-password", "new-password"].map(input);

/** The address of the account that is shown. */
let person = "";

/** Clears all fields of the page: the passwords are not needed any more. */
function forgetWhatWasTyped() {
  for (const form of document.forms) form.reset();
  forgetApp();
  forgetProof();
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

/** Gives up the action that has waited for the new sign-in. The account may have changed before that. */
function stayAsSignedIn() {
  lead("account");
  showAccount().catch(explain);
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

/** Shows the signed-in person, their factors and their sessions. */
async function showAccount() {
  forgetWhatWasTyped();
  if (shown() !== "account") show("account");
  const [me, sessions, offersPasskeys] = await Promise.all([auth.me(), auth.sessions(), auth.offersPasskeys()]);
  person = me.user.email;
  const since = sessions.find(({ current }) => current)?.createdAt ?? new Date().toISOString();
  const who = strong(person);
  who.id = "who";
  at("as-whom").replaceChildren(...filledWith(words.asWhom, { email: who, time: time(since) }));
  at("to-administration").hidden = !me.administrator;
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
 * All factors of a person, in a line each.
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
 * A line of the list. All text is set as text: a browser may call itself anything.
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
 * Ends sessions, and shows the remaining ones. The focus goes to the title: the button may be gone.
 * @param {() => Promise<void>} ending
 * @param {string} text
 */
async function end(ending, text) {
  await ending();
  await showAccount();
  at("account-title").focus();
  say(text);
}

offerProof({
  home: "account",
  hint: words.againHint,
  person: () => person,
  isEnoughAlone,
  stay: stayAsSignedIn,
  back: () => lead("signin"),
  sendAnotherCode: signIn,
});
offerApp(showAccount);
offerPasskeys(showAccount, (action, hint) => stepUp(action, hint, "account"));
onSubmit("signin-form", signIn);
onSubmit("forgot-form", forgot);
onSubmit("change-form", changePassword);
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
 * Goes to another view, and gives up the unfinished steps of this one.
 * @param {string} view
 */
function lead(view) {
  forgetProof();
  for (const field of [password, currentPassword, newPassword]) field.value = "";
  forgetApp();
  turnTo(view);
}

auth.onChange((isSignedIn, reason) => {
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
