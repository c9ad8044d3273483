// The page that a mailed link opens: a person chooses a password there, and is not signed in by that.
//
// The part behind the # is secret. It reaches no server, no server's log and no Referer; the page takes it
// out of the address bar at once and keeps it only in memory. Opening the link changes nothing, since
// programs that scan mails open links too.

import { AuthError } from "./backoffice-auth.js";
import { at, auth, isComplete, onSubmit, remedies, run, show } from "./ui.js";
import { dateAndClock, filled, filledWith, words } from "./words.js";

/** @type {HTMLInputElement} */ const whose = at("whose");
/** @type {HTMLInputElement} */ const newPassword = at("new-password");

let token = "";

/** Takes the token out of the address, and asks the server for its owner. */
function open() {
  if (location.hash.length < 2) return;
  token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  show("look");
  run(look);
}

async function look() {
  const { purpose, email, expiresIn } = await auth.passwordLink(token);
  const until = document.createTextNode(dateAndClock(new Date(Date.now() + expiresIn * 1000)));
  const hint = purpose === "invitation" ? words.forInvitation : words.forReset;
  at("choose-hint").replaceChildren(...filledWith(hint, { time: until }));
  whose.value = email;
  newPassword.value = "";
  show("choose");
}

async function set() {
  if (!isComplete([[newPassword, words.enterNewPassword]])) return;
  await auth.setPassword(token, newPassword.value);
  token = "";
  newPassword.value = "";
  const [email, other] = [whose.value, await signedInHere()];
  const isAnother = other !== "" && other !== email;
  at("done-hint").textContent = filled(isAnother ? words.isSetForAnother : words.isSetHint, { email, other });
  at("onward").textContent = isAnother ? filled(words.toAccount, { email: other }) : words.toSignInNow;
  show("done");
}

/**
 * The person who is signed in in this browser, as far as the server can be asked. Sessions of the link's
 * owner have ended, and the module learns of it here.
 */
async function signedInHere() {
  if (!auth.isSignedIn) return "";
  try {
    return (await auth.me()).user.email;
  } catch (error) {
    if (error instanceof AuthError) return "";
    throw error;
  }
}

/**
 * Shows that no password can be set here.
 * @param {string} title
 * @param {string} hint
 */
function giveUp(title, hint) {
  token = "";
  at("dead-title").textContent = title;
  at("dead-hint").textContent = hint;
  show("dead");
}

remedies.set("invalid_link", () => giveUp(words.deadTitle, words.deadHint));
onSubmit("look-form", look);
onSubmit("choose-form", set);
// Another link, opened in the address bar of this tab, does not load the page again.
addEventListener("hashchange", open);

open();
if (!token) giveUp(words.noLinkTitle, words.noLink);
