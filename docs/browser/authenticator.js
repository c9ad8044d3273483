// The authenticator app and the recovery codes on the page of one's own account: setting the app up, removing
// it, and codes that are shown once. Secrets leave the page with the view that shows them.

import { at, attempt, auth, isComplete, isRefusedAs, onClick, onSubmit, run, say, show, turnTo } from "./ui.js";
import { dateAndClock, filled, words } from "./words.js";

/** @type {HTMLInputElement} */ const code = at("enrol-code");
/** @type {HTMLAnchorElement} */ const openApp = at("open-app");

/** How a server says that it takes no such apps: there one can only be removed. */
const NOT_TAKEN = ["method_not_allowed", "not_found"];

/** Shows the account, as it is now. @type {() => Promise<void>} */
let showAccount = async () => {};
/** The enrolment that is shown. @type {import("./backoffice-auth.js").TotpEnrolment | null} */
let begun = null;
/** The recovery codes that are shown. @type {string[]} */
let shownCodes = [];
/** The next step after the codes were kept. @type {() => Promise<void>} */
let afterCodes = async () => {};
/** The address of the account's owner. */
let person = "";
/** Whether the server has said that it takes no such apps. */
let isOff = false;

/**
 * Wires what the account offers for the app.
 * @param {() => Promise<void>} showingAccount
 */
export function offerApp(showingAccount) {
  showAccount = showingAccount;
  onClick("set-up-app", () => attempt(setUp));
  onSubmit("enrol-form", confirm);
  onClick("new-codes", () => turnTo("renew"));
  onSubmit("renew-form", renew);
  onClick("remove-app", () => turnTo("remove"));
  onSubmit("remove-form", remove);
  onClick("copy-key", () => run(() => copy(begun?.secret ?? "", at("totp-key"), at("key-copied"))));
  onClick("copy-codes", () => run(() => copy(shownCodes.join("\n"), at("recovery-codes"), at("codes-copied"))));
  onClick("print-codes", () => print());
  onSubmit("codes-form", () => {
    forgetApp();
    return afterCodes();
  });
}

/**
 * Shows the parts that apply to an account.
 * @param {import("./backoffice-auth.js").Account} me
 */
export function showApp({ user, totp, passkeys }) {
  person = user.email;
  at("set-up-app").textContent = totp ? words.setUpAnother : words.setUpApp;
  at("enrol-replaces").hidden = !totp;
  at("remove-app").hidden = !totp;
  at("remove-hint").textContent = passkeys.length > 0 ? words.removeOneHint : words.removeHint;
  at("new-codes").hidden = !totp && passkeys.length === 0;
  at("set-up-app").hidden = isOff;
  at("no-apps").hidden = !isOff;
}

/** Takes the secret and the codes off the page. */
export function forgetApp() {
  begun = null;
  shownCodes = [];
  code.value = "";
  at("qr-path").removeAttribute("d");
  openApp.removeAttribute("href");
  for (const id of ["totp-key", "key-copied", "codes-of", "recovery-codes", "codes-copied"]) at(id).replaceChildren();
}

async function setUp() {
  try {
    begun = await auth.beginTotp();
  } catch (error) {
    if (!isRefusedAs(error, ...NOT_TAKEN)) throw error;
    isOff = true;
    await showAccount();
    return say(words.noApps);
  }
  const { secret, uri, qr } = begun;
  at("qr").setAttribute("viewBox", `0 0 ${qr.size} ${qr.size}`);
  at("qr-path").setAttribute("d", qr.path);
  at("totp-key").textContent = secret.replace(/.{4}(?!$)/g, "$& ");
  if (uri.startsWith("otpauth://")) openApp.href = uri;
  show("enrol");
}

async function confirm() {
  if (!begun || !isComplete([[code, words.enterDigitsOfApp]])) return;
  const codes = await auth.confirmTotp(begun.id, code.value);
  forgetApp();
  if (codes.length > 0) showCodes(codes);
  else await showAccount();
  say(words.appIsSetUp);
}

async function renew() {
  try {
    showCodes(await auth.makeRecoveryCodes());
  } catch (error) {
    if (!isRefusedAs(error, "not_found")) throw error;
    // The app was removed in another browser meanwhile.
    await showAccount();
    say(words.noCodesWithoutApp);
  }
}

async function remove() {
  await auth.removeTotp().catch((error) => {
    // It was removed in another browser meanwhile.
    if (!isRefusedAs(error, "not_found")) throw error;
  });
  await showAccount();
  say(words.appIsRemoved);
}

/**
 * @param {string[]} codes
 * @param {() => Promise<void>} then the next step after they were kept
 */
export function showCodes(codes, then = showAccount) {
  shownCodes = codes;
  afterCodes = then;
  at("codes-of").textContent = filled(words.codesOf, { email: person, time: dateAndClock(new Date()) });
  const line = (/** @type {string} */ text) => {
    const [item, element] = [document.createElement("li"), document.createElement("code")];
    element.textContent = text;
    item.append(element);
    return item;
  };
  at("recovery-codes").replaceChildren(...codes.map(line));
  show("codes");
}

/**
 * Copies a text. Where the browser forbids it, and on pages without TLS, the element that shows it is
 * selected instead.
 * @param {string} text
 * @param {HTMLElement} element
 * @param {HTMLElement} status the place for the message
 */
async function copy(text, element, status) {
  try {
    await navigator.clipboard.writeText(text);
    status.textContent = words.isCopied;
  } catch {
    getSelection()?.selectAllChildren(element);
    status.textContent = words.isSelected;
  }
}
