// One person on the page for administrators: the obstacles to signing in, the acts against them, and other
// facts that help to answer a call. All text is set as text: much of it can be anything that its sender chose.

import { AuthError } from "./backoffice-auth.js";
import {
  at,
  attempt,
  isComplete,
  isRefusedAs,
  line,
  mark,
  markOf,
  onClick,
  run,
  say,
  show,
  shown,
  strong,
  time,
  turnTo,
} from "./ui.js";
import { clock, filled, filledWith, words } from "./words.js";

/** @typedef {import("./administration.js").Administration} Administration */
/** @typedef {import("./administration.js").UserDetails} UserDetails */
/** @typedef {import("./administration.js").Mail} Mail */

/** How many events are shown at a time. */
const EVENTS = 20;
/** Limits of networks: no act on a person lifts them. */
const OF_NETWORKS = ["signin_network", "confirm_unknown", "refresh_unknown", "forgot_network", "link_unknown"];
const STATES = {
  active: words.isActive,
  invited: words.isInvited,
  disabled: words.isDisabled,
  locked: words.isLocked,
};

/** @type {HTMLDialogElement} */ const dialog = at("ask");
/** @type {HTMLInputElement} */ const newEmail = at("new-email");

/** @type {Administration} */
let administration;
/** Goes to the list, and shows a message there. @type {(text: string) => Promise<void>} */
let leave = async () => {};
/** The person who is shown. @type {UserDetails | null} */
let person = null;
/** The cursor of the older events. @type {string | undefined} */
let older;

/**
 * Wires the acts on a person.
 * @param {Administration} its
 * @param {(text: string) => Promise<void>} leaving
 */
export function offerPerson(its, leaving) {
  administration = its;
  leave = leaving;
  onClick("unlock", () => perform((id) => administration.unlock(id), words.isUnlocked));
  onClick("mail-link", mailLink);
  onClick("signout", () => perform((id) => administration.signOut(id), words.isSignedOutEverywhere));
  onClick("two-factor", () => {
    const next = person?.twoFactor === "off" ? "email" : "off";
    perform((id) => administration.setTwoFactor(id, next), next === "email" ? words.codeIsOn : words.codeIsOff);
  });
  onClick("enable", () => perform((id) => administration.enable(id), words.isEnabledNow));
  onClick("disable", async () => {
    const isMeant = await ask(words.disableTitle, words.disableHint, words.disable);
    if (isMeant) perform((id) => administration.disable(id), words.isDisabledNow);
  });
  onClick("reset-factors", async () => {
    const isMeant = await ask(words.resetTitle, words.resetHint, words.resetFactors);
    if (isMeant) perform((id) => administration.resetFactors(id), words.factorsAreReset);
  });
  onClick("delete", async () => {
    if (await ask(words.deleteTitle, words.deleteHint, words.delete)) remove();
  });
  onClick("to-address", () => {
    newEmail.value = "";
    const email = strong(person?.email ?? "");
    at("change-address-hint").replaceChildren(...filledWith(words.changeAddressHint, { email }));
    turnTo("change-address");
  });
  // The question comes before the action that a new sign-in may have to repeat, and not within it.
  at("change-address-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    mark(newEmail);
    if (!isComplete([[newEmail, words.enterTheirAddress]])) return;
    const other = newEmail.value.trim();
    const isMeant = await ask(words.addressTitle, words.addressHint, words.changeAddress, { other });
    if (isMeant) perform((id) => administration.setEmail(id, other), words.addressIsChanged);
  });
  onClick("change-address-cancel", () => turnTo("person"));
  onClick("older", () => run(showOlder));
  onClick("ask-yes", () => dialog.close("yes"));
  onClick("ask-no", () => dialog.close());
}

/** Takes the person off the page, and the open question about them. */
export function forgetPerson() {
  person = null;
  dialog.close();
  at("about").hidden = true;
  at("person-title").textContent = words.person;
  for (const id of ["person-marks", "obstacles", "details", "sessions", "mails", "events", "change-address-hint"]) {
    at(id).replaceChildren();
  }
  newEmail.value = "";
}

/**
 * Shows a person, as they are now.
 * @param {string} id
 */
export async function showPerson(id) {
  const [found, sessions, { events, next }] = await Promise.all([
    administration.user(id),
    administration.sessions(id),
    administration.events(id, { limit: EVENTS }),
  ]);
  person = found;
  older = next;
  const { email, state, administrator } = person;
  at("person-title").textContent = email;
  at("person-marks").replaceChildren(stateMark(state), ...(administrator ? [" ", markOf(words.administrator)] : []));
  const obstacles = person.obstacles.map(obstacleLine);
  at("obstacles").replaceChildren(...(obstacles.length > 0 ? obstacles : [line(words.noObstacles)]));
  showActs(person);
  at("details").replaceChildren(...detailsOf(person));
  const listed = sessions.map((session) => sessionLine(session, !administrator));
  at("sessions").replaceChildren(...(listed.length > 0 ? listed : [line(words.noSessions)]));
  const mails = person.mails.map((mail) => line(mailAbout(mail)));
  at("mails").replaceChildren(...(mails.length > 0 ? mails : [line(words.noMails)]));
  const lines = events.map(eventLine);
  at("events").replaceChildren(...(lines.length > 0 ? lines : [line(words.noEvents)]));
  at("older").hidden = !older;
  at("about").hidden = false;
  // The title is read out with the focus: again, if it is another one now.
  if (shown() !== "person" || !document.title.startsWith(`${email} `)) show("person");
}

/**
 * A state as the pages call it.
 * @param {import("./administration.js").State} state
 */
export function stateMark(state) {
  const element = markOf(STATES[state] ?? state);
  element.dataset.state = state;
  return element;
}

/**
 * The acts that a person can be subject to: none for an administrator.
 * @param {UserDetails} person
 */
function showActs({ administrator, state, twoFactor, totp, passkeys, recoveryCodesLeft }) {
  at("acts").hidden = administrator;
  at("no-acts").hidden = !administrator;
  at("mail-link").textContent = state === "invited" ? words.mailInvitation : words.mailLink;
  at("mail-link").hidden = state === "disabled";
  at("two-factor").textContent = twoFactor === "off" ? words.askForCode : words.askForNoCode;
  at("reset-factors").hidden = !totp && passkeys === 0 && recoveryCodesLeft === 0;
  at("enable").hidden = state !== "disabled";
  at("disable").hidden = state === "disabled";
}

/**
 * Does something for the person who is shown, and shows them as they are then.
 * @param {(id: string) => Promise<void>} act
 * @param {string} done the message for that
 */
function perform(act, done) {
  if (!person) return;
  const { id } = person;
  attempt(async () => {
    await act(id);
    await showAgain(id, done);
  });
}

/**
 * The focus goes to the title: the button may be gone.
 * @param {string} id
 * @param {string} done the message
 */
async function showAgain(id, done) {
  await showPerson(id);
  at("person-title").focus();
  say(filled(done, { email: person?.email ?? "" }));
}

function mailLink() {
  if (!person) return;
  const { id } = person;
  attempt(async () => {
    try {
      await administration.mailLink(id);
    } catch (error) {
      if (error instanceof AuthError && error.code === "too_many_attempts") {
        // After many links the next one has to wait, and nothing else: so this is no block of the page.
        const until = new Date(Date.now() + (error.retryAfter ?? 1) * 1000);
        return say(filled(words.tooManyUntil, { time: clock(until) }), { isError: true });
      }
      if (isRefusedAs(error, "user_disabled")) {
        await showPerson(id);
        return say(words.says.user_disabled, { isError: true });
      }
      if (!isRefusedAs(error, "not_found")) throw error;
      await administration.user(id); // This fails if it is the person who is not there.
      return say(words.noLinks, { isError: true });
    }
    await showAgain(id, words.linkIsMailed);
  });
}

function remove() {
  if (!person) return;
  const { id, email } = person;
  attempt(async () => {
    await administration.delete(id);
    await leave(filled(words.isDeleted, { email }));
  });
}

/**
 * Asks before something that cannot be undone. The words tell whom it concerns.
 * @param {string} title
 * @param {string} hint
 * @param {string} yes
 * @param {Record<string, string>} [more] further values to fill in
 * @returns {Promise<boolean>}
 */
function ask(title, hint, yes, more = {}) {
  at("ask-title").textContent = filled(title, { email: person?.email ?? "", ...more });
  at("ask-hint").textContent = hint;
  at("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function showOlder() {
  if (!person || !older) return;
  const { events, next } = await administration.events(person.id, { after: older, limit: EVENTS });
  older = next;
  const lines = events.map(eventLine);
  at("events").append(...lines);
  at("older").hidden = !older;
  // The button may be gone, so the focus goes to the new lines.
  if (lines[0]) lines[0].tabIndex = -1;
  lines[0]?.focus();
}

/**
 * An obstacle, and its remedy.
 * @param {import("./administration.js").Obstacle} obstacle
 */
function obstacleLine({ kind, since, wrongCodes, limit = "", until, network, mail }) {
  const values = () => ({
    limit: document.createTextNode(words.limits[limit] ?? limit),
    network: document.createTextNode(network ?? ""),
    time: until ? time(until) : document.createTextNode("?"),
  });
  switch (kind) {
    case "disabled":
      return told(filledWith(words.obstacleDisabled, { time: since ? time(since) : values().time }), words.helpDisabled);
    case "no_password":
      return told([words.obstacleNoPassword], words.helpNoPassword);
    case "second_factor_locked":
      return told([filled(words.obstacleLocked, { count: `${wrongCodes}` })], words.helpLocked);
    case "limited": {
      const sentence = network ? words.obstacleLimitedFrom : words.obstacleLimited;
      return told(filledWith(sentence, values()), OF_NETWORKS.includes(limit) ? words.helpWait : words.helpLimited);
    }
    case "mail_stuck":
      return mail ? line(mailAbout(mail, words.helpMail)) : told([kind], words.helpMail);
    default:
      return told([kind], words.helpOther);
  }
}

/**
 * @param {(string | Node)[]} parts
 * @param {string} help
 */
function told(parts, help) {
  const about = document.createElement("div");
  about.append(...parts, small(help));
  return line(about);
}

/**
 * @param {Mail} mail
 * @param {string} [help]
 */
function mailAbout({ kind, state, createdAt, attempts, lastReply }, help) {
  const about = document.createElement("div");
  about.append(filled(words.mailIs, { mail: words.mailKinds[kind] ?? kind, state: words.mailStates[state] ?? state }));
  const count = document.createTextNode(`${attempts}`);
  about.append(small(...filledWith(words.mailAttempts, { time: time(createdAt), count })));
  if (lastReply) about.append(small(filled(words.mailReply, { reply: lastReply })));
  if (help) about.append(small(help));
  return about;
}

/**
 * @param {UserDetails} person
 * @returns {HTMLElement[]}
 */
function detailsOf(person) {
  const { id, createdAt, lastSignInAt, passwordChangedAt, disabledAt, recoveryCodesLeft } = person;
  /** @type {[string, (string | Node)[] | undefined][]} */
  const rows = [
    [words.userNumber, [id]],
    [words.createdAt, [time(createdAt)]],
    [words.lastSignIn, [lastSignInAt ? time(lastSignInAt) : words.never]],
    [words.passwordChangedAt, passwordChangedAt ? [time(passwordChangedAt)] : undefined],
    [words.disabledAt, disabledAt ? [time(disabledAt)] : undefined],
    [words.secondFactor, [factorsOf(person)]],
    [words.recoveryCodesLeft, [`${recoveryCodesLeft}`]],
  ];
  return rows.flatMap(([name, value]) => {
    if (!value) return [];
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    description.append(...value);
    return [term, description];
  });
}

/**
 * All factors beside the password, in one line.
 * @param {import("./administration.js").User} user
 */
export function factorsOf({ twoFactor, totp, passkeys }) {
  const strong = [
    ...(totp ? [words.app] : []),
    ...(passkeys > 0 ? [filled(words.passkeyCount, { count: `${passkeys}` })] : []),
  ];
  if (strong.length > 0) return strong.join(", ");
  return twoFactor === "email" ? words.mailedCode : words.none;
}

/**
 * @param {import("./administration.js").UserSession} session
 * @param {boolean} canBeEnded
 */
function sessionLine({ id, createdAt, network, lastUsedAt, lastNetwork, userAgent, device }, canBeEnded) {
  const about = document.createElement("div");
  const name = device ?? userAgent ?? words.unknownProgram;
  const values = (/** @type {string} */ at, /** @type {string} */ from) => ({
    time: time(at),
    network: document.createTextNode(from),
  });
  about.append(
    name,
    small(...filledWith(words.lastUsed, values(lastUsedAt, lastNetwork))),
    small(...filledWith(words.sessionSince, values(createdAt, network))),
  );
  if (!canBeEnded) return line(about);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = words.signOut;
  button.setAttribute("aria-label", filled(words.signOutOne, { name }));
  button.addEventListener("click", () => perform((user) => administration.endSession(user, id), words.sessionIsOver));
  return line(about, button);
}

/**
 * A line of the audit log: the reason stays in the words of the log, by which it can be looked up.
 * @param {import("./administration.js").AuditEvent} event
 */
function eventLine({ at, kind, outcome, reason, actor, network, detail, email, requestId }) {
  const [about, code] = [document.createElement("div"), document.createElement("code")];
  code.textContent = reason;
  const [what, became] = [words.eventKinds[kind] ?? kind, words.outcomes[outcome] ?? outcome];
  about.append(filled(words.mailIs, { mail: what, state: became }), " ", code);
  const given = email === person?.email ? undefined : email;
  const more = [network, actor && filled(words.eventBy, { actor }), given, detail].filter((each) => each);
  about.append(small(time(at), ...more.map((each) => `, ${each}`)));
  if (requestId) about.append(small(filled(words.number, { number: requestId })));
  return line(about);
}

/** @param {...(string | Node)} parts */
function small(...parts) {
  const element = document.createElement("small");
  element.append(...parts);
  return element;
}
