// The page for administrators: a list of people, and a view of one of them (person.js). The part behind
// the # of the address decides between them: `#42` is the person with this number, and anything else the list.

import { Administration } from "./administration.js";
import { factorsOf, forgetPerson, offerPerson, showPerson, stateMark } from "./person.js";
import { forgetProof, offerProof } from "./proof.js";
import {
  at,
  auth,
  explain,
  idle,
  isComplete,
  isRefusedAs,
  markOf,
  onClick,
  onSubmit,
  remedies,
  run,
  say,
  show,
  strong,
  time,
  turnTo,
} from "./ui.js";
import { filled, filledWith, words } from "./words.js";

/** @typedef {import("./administration.js").User} User */

const administration = new Administration(auth);
/** @type {HTMLInputElement} */ const searchEmail = at("search-email");
/** @type {HTMLSelectElement} */ const searchState = at("search-state");
/** @type {HTMLInputElement} */ const inviteEmail = at("invite-email");
/** @type {HTMLSelectElement} */ const inviteFactor = at("invite-factor");

/** The administrator. @type {import("./backoffice-auth.js").Account | null} */
let me = null;
/** Whether browser and server have passkeys. */
let offersPasskeys = false;
/** The filter of the list. @type {{ email?: string, state?: import("./administration.js").State }} */
let asked = {};
/** The cursor of the next page of the list. @type {string | undefined} */
let next;

/** The number of the person in the address; none for the list. */
const inAddress = () => location.hash.match(/^#(-?\d+)$/)?.[1];

/** Shows the view of the address. A later address takes the place of one that waits. */
async function route() {
  const { hash } = location;
  await idle();
  if (hash !== location.hash) return;
  const id = inAddress();
  forgetProof();
  forgetPerson();
  if (id) at("person-title").textContent = emailOf(id) ?? words.person;
  turnTo(id ? "person" : "people");
  run(async () => void (await (id ? showPerson(id) : list())));
}

/**
 * The address of a person who is in the list, before the server is asked.
 * @param {string} id
 */
const emailOf = (id) => document.querySelector(`#rows a[href="#${id}"]`)?.textContent;

/**
 * Shows the first page of the list, or, with a cursor, appends the page that begins there.
 * @param {string} [after]
 */
async function list(after) {
  const found = await administration.users({ ...asked, after });
  next = found.next;
  const rows = found.users.map(row);
  if (!after) at("rows").replaceChildren();
  at("rows").append(...rows);
  const count = `${at("rows").childElementCount}`;
  at("list").hidden = count === "0";
  at("more").hidden = !next;
  const sentence = next ? words.foundMore : words.found;
  at("found").textContent = count === "0" ? words.foundNobody : filled(sentence, { count });
  return rows;
}

/**
 * @param {User} user
 */
function row(user) {
  const link = document.createElement("a");
  link.href = `#${user.id}`;
  link.textContent = user.email;
  const [element, head] = [document.createElement("tr"), document.createElement("th")];
  element.setAttribute("role", "row");
  head.setAttribute("role", "rowheader");
  head.scope = "row";
  head.append(link);
  element.append(
    head,
    cell(words.state, stateMark(user.state), ...(user.administrator ? [" ", markOf(words.administrator)] : [])),
    cell(words.secondFactor, factorsOf(user)),
    cell(words.lastSignIn, user.lastSignInAt ? time(user.lastSignInAt) : words.never),
  );
  return element;
}

/**
 * @param {string} label the text before it where the table has no columns
 * @param {...(string | Node)} parts
 */
function cell(label, ...parts) {
  const element = document.createElement("td");
  element.setAttribute("role", "cell");
  element.dataset.label = label;
  element.append(...parts);
  return element;
}

async function search() {
  if (!(await isLetIn())) return;
  const state = /** @type {import("./administration.js").State | ""} */ (searchState.value);
  asked = { email: searchEmail.value.trim() || undefined, state: state || undefined };
  await list();
}

/** The focus goes to the new lines: the button may be gone. */
async function showMore() {
  const [first] = await list(next);
  first?.querySelector("a")?.focus();
}

async function invite() {
  if (!isComplete([[inviteEmail, words.enterTheirAddress]])) return;
  const twoFactor = /** @type {import("./administration.js").TwoFactor} */ (inviteFactor.value);
  try {
    const { id, email } = await administration.invite(inviteEmail.value.trim(), twoFactor);
    history.pushState(null, "", `#${id}`);
    await showPerson(id);
    say(filled(words.invitationIsSent, { email }));
  } catch (error) {
    if (!isRefusedAs(error, "not_found")) throw error;
    say(words.noLinks, { isError: true });
  }
}

/**
 * Goes to the list where a person is gone, and says why.
 * @param {string} text
 */
async function leave(text) {
  history.replaceState(null, "", location.pathname + location.search);
  forgetPerson();
  show("people");
  await list();
  say(text);
}

/** Either the caller is no administrator any more, or the person has become one. */
async function lookAtRole() {
  me = await auth.me();
  if (!me.administrator) return refuse();
  const id = inAddress();
  if (id) await showPerson(id);
  say(words.says.forbidden, { isError: true });
}

function refuse() {
  forgetPeople();
  const email = strong(me?.user.email ?? "");
  at("no-administrator-hint").replaceChildren(...filledWith(words.noAdministrator, { email }));
  show("no-administrator");
}

/** Takes all people off the page. */
function forgetPeople() {
  forgetProof();
  forgetPerson();
  at("rows").replaceChildren();
  at("found").textContent = "";
  for (const id of ["list", "more"]) at(id).hidden = true;
  for (const form of document.forms) form.reset();
  asked = {};
}

/** Whether an administrator is signed in; other people get a message. */
async function isLetIn() {
  if (!me) [me, offersPasskeys] = await Promise.all([auth.me(), auth.offersPasskeys()]);
  if (!me.administrator) refuse();
  return me.administrator;
}

/** Where the page begins, and begins again when somebody else is signed in. */
async function begin() {
  forgetPeople();
  if (!auth.isSignedIn) return show("signed-out");
  let isIn = false;
  await idle();
  await run(async () => void (isIn = await isLetIn()));
  if (isIn) await route();
  // The server did not answer: the button there asks it again.
  else if (!me && auth.isSignedIn) show("people");
}

/**
 * Runs the consequence of a refusal, after the refused action has ended.
 * @param {() => Promise<void>} action
 */
const afterwards = (action) => void idle().then(() => run(action));

offerProof({
  home: "people",
  hint: words.againToAdminister,
  person: () => me?.user.email ?? "",
  isEnoughAlone: () => offersPasskeys && (me?.passkeys.some(({ alone }) => alone) ?? false),
  stay: () => void route(),
  back: () => void route(),
  sendAnotherCode: async () => {},
});
offerPerson(administration, leave);
remedies.set("not_found", () => afterwards(() => leave(words.personIsGone)));
remedies.set("forbidden", () => afterwards(lookAtRole));
remedies.set("second_factor_required", () => {
  forgetPeople();
  show("no-factor");
});
onSubmit("search-form", search);
onClick("more", () => run(showMore));
onClick("to-invite", () => {
  inviteEmail.value = "";
  turnTo("invite");
});
onSubmit("invite-form", invite);
onClick("invite-cancel", () => turnTo("people"));
addEventListener("hashchange", () => me?.administrator && route());

auth.onChange((isSignedIn, reason) => {
  me = null;
  begin().catch(explain);
  if (!isSignedIn) say(reason === "ended" ? words.says.signed_out : words.isSignedOut);
});
begin().catch(explain);
