// Passkeys on the page to sign in on and on the page of one's own account: signing in with one, adding one,
// removing one.

import { showCodes } from "./authenticator.js";
import { AuthError } from "./backoffice-auth.js";
import { untilLeft, whileHere } from "./proof.js";
import { at, auth, explain, isComplete, isRefusedAs, onClick, onShow, onSubmit, run, say, shown, turnTo } from "./ui.js";
import { dateAndClock, filled, words } from "./words.js";

/** @type {HTMLInputElement} */ const nameField = at("passkey-name");

/** How a server says that it takes no passkeys. */
const NOT_TAKEN = ["method_not_allowed", "not_found"];
/** Words by which browsers name a device, and the names that people use. */
const DEVICES = [
  ["iPhone", "iPhone"],
  ["iPad", "iPad"],
  ["Android", "Android"],
  ["Windows", "Windows"],
  ["Macintosh", "Mac"],
  ["CrOS", "Chromebook"],
  ["Linux", "Linux"],
];

/** Shows the account, as it is now. @type {() => Promise<void>} */
let showAccount = async () => {};
/** Lets the person sign in again before something. @type {(action: () => Promise<void>, hint: string) => void} */
let signInAgain = () => {};
/** Those of the account that is shown. @type {import("./backoffice-auth.js").Passkey[]} */
let passkeys = [];
/** Whether browser and server have them. */
let isOffered = false;
/** Whether an authenticator app would be left if all passkeys went. */
let hasApp = false;
/** The one that is to be removed. */
let removed = "";

/**
 * Wires the controls for passkeys.
 * @param {() => Promise<void>} showingAccount
 * @param {(action: () => Promise<void>, hint: string) => void} signingInAgain
 */
export function offerPasskeys(showingAccount, signingInAgain) {
  showAccount = showingAccount;
  signInAgain = signingInAgain;
  onShow((view) => {
    if (view === "signin") offerInField();
  });
  onClick("passkey-signin", () => run(signIn));
  onClick("add-passkey", () => {
    nameField.value = suggestedName();
    turnTo("passkey-add");
  });
  onSubmit("passkey-add-form", add);
  onSubmit("passkey-remove-form", remove);
}

/**
 * Shows the passkeys of an account.
 * @param {import("./backoffice-auth.js").Account} me
 * @param {boolean} areOffered whether browser and server have passkeys
 */
export function showPasskeys(me, areOffered) {
  passkeys = me.passkeys;
  isOffered = areOffered;
  hasApp = me.totp !== undefined;
  at("add-passkey").hidden = !isOffered;
}

/** Whether one of them signs in without a password here. */
export const isEnoughAlone = () => isOffered && passkeys.some(({ alone }) => alone);

/**
 * A line of the list of passkeys. A name can be anything that its owner likes.
 * @param {import("./backoffice-auth.js").Passkey} passkey
 */
export function passkeyLine({ id, name, createdAt, lastUsedAt, synced, alone }) {
  const about = document.createElement("div");
  about.append(filled(words.byPasskey, { name }));
  for (const mark of [synced ? words.isSynced : "", alone ? "" : words.isSecond]) {
    if (mark) about.append(" ", element("span", mark, "mark"));
  }
  const since = dateAndClock(new Date(createdAt));
  const last = lastUsedAt ? filled(words.passkeyUsed, { time: dateAndClock(new Date(lastUsedAt)) }) : words.passkeyUnused;
  about.append(element("small", filled(words.passkeySince, { time: since, last })));
  const button = /** @type {HTMLButtonElement} */ (element("button", words.removeIt, "quiet"));
  button.type = "button";
  button.setAttribute("aria-label", filled(words.removePasskeyNamed, { name }));
  button.addEventListener("click", () => askBeforeRemoving(id, name));
  const line = document.createElement("li");
  line.append(about, button);
  return line;
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} className
 */
function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}


/** Offers passkeys at the sign-in: by the button, and among the values that the browser fills into the field. */
async function offerInField() {
  const signal = untilLeft();
  at("passkey-signin").hidden = !(await auth.offersPasskeys());
  if (at("passkey-signin").hidden) return;
  try {
    await auth.signInByAutofill({ signal }); // `onChange` shows the account.
  } catch (error) {
    explain(error);
    if (!signal.aborted) offerInField();
  }
}

async function signIn() {
  try {
    await whileHere((signal) => auth.signInWithPasskey({ signal })); // `onChange` shows the account.
  } catch (error) {
    if (!isRefusedAs(error, ...NOT_TAKEN)) throw error;
    say(words.noPasskeys, { isError: true });
  } finally {
    // The button's request has ended the offer in the field.
    if (shown() === "signin") offerInField();
  }
}

async function add() {
  if (!isComplete([[nameField, words.enterName]])) return;
  const added = await whileHere((signal) => auth.addPasskey(nameField.value.trim(), { signal })).catch(refuse);
  if (!added) return;
  const { recoveryCodes, ...passkey } = added;
  passkeys = [...passkeys, passkey];
  if (recoveryCodes.length > 0) showCodes(recoveryCodes, signInWithIt);
  else await signInWithIt();
  if (shown() !== "again") say(words.passkeyIsAdded);
}

/**
 * Shows messages that have no field to be marked.
 * @param {unknown} error
 */
async function refuse(error) {
  if (isRefusedAs(error, ...NOT_TAKEN)) {
    await showAccount();
    say(words.noPasskeys, { isError: true });
    return null;
  }
  const isNamed = error instanceof AuthError && error.errors.some(({ field }) => field === "name");
  if (!isRefusedAs(error, "invalid_request") || isNamed) throw error;
  say(words.passkeyRefused, { isError: true });
  return null;
}

/** Adding a passkey gives this session no `mfa`: only a sign-in with it does. */
async function signInWithIt() {
  const isByTwoFactors = await auth.methods().then((methods) => methods.includes("mfa"), () => false);
  if (isByTwoFactors) return showAccount();
  signInAgain(async () => {
    await showAccount();
    say(words.passkeyIsAdded);
  }, words.againWithPasskey);
}

/**
 * @param {string} id
 * @param {string} name
 */
function askBeforeRemoving(id, name) {
  removed = id;
  at("passkey-remove-title").textContent = filled(words.removePasskeyTitle, { name });
  const isLast = passkeys.length === 1 && !hasApp;
  at("passkey-remove-hint").textContent = isLast ? words.removeHint : words.removeOneHint;
  turnTo("passkey-remove");
}

async function remove() {
  await auth.removePasskey(removed);
  await showAccount();
  say(words.passkeyIsRemoved);
}

/** The name of this device: the person changes it where another one keeps the passkey. */
function suggestedName() {
  const device = DEVICES.find(([word]) => navigator.userAgent.includes(word))?.[1] ?? words.passkey;
  const isTaken = (/** @type {string} */ name) => passkeys.some((each) => each.name === name);
  let name = device;
  for (let number = 2; isTaken(name); number++) name = `${device} ${number}`;
  return name;
}
