// The sign-in page: what people see of BackofficeAuth. It has three views, of which one is shown.

import { AuthError, BackofficeAuth } from "./backoffice-auth.js";

/**
 * What to say for each code. Those that mean a mistake of this page get the last sentence.
 * @type {Record<string, string>}
 */
const SAYS = {
  invalid_credentials: "The email address or the password is wrong.",
  invalid_two_factor: "The code was not accepted.",
  invalid_refresh_token: "You have been signed out. Sign in again.",
  missing_access_token: "You have been signed out. Sign in again.",
  invalid_access_token: "You have been signed out. Sign in again.",
  signed_out: "You have been signed out. Sign in again.",
  not_found: "This session is already over.",
  invalid_request: "Check what is marked below.",
  too_many_attempts: "Too many attempts.",
  request_timeout: "The connection is slow. Try again.",
  internal: "Something went wrong on our side. Try again; if it stays so, report it with the number below.",
  unavailable: "The service is not available at the moment. Try again in a moment.",
  overloaded: "The service is busy at the moment. Try again in a moment.",
  network: "The server cannot be reached. Check the connection, and try again.",
  unexpected_answer: "The server cannot be reached. Check the connection, and try again.",
};
const OUR_MISTAKE = "Something went wrong. Reload the page, and try again.";

/**
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
const at = (id) => {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no #${id}`);
  return /** @type {E} */ (element);
};

const meta = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name="auth-server"]'));
const auth = new BackofficeAuth({ server: meta.content });

/** @type {HTMLInputElement} */ const email = at("email");
/** @type {HTMLInputElement} */ const password = at("password");
/** @type {HTMLInputElement} */ const code = at("code");
/** @type {HTMLFormElement} */ const signinForm = at("signin-form");
/** @type {HTMLFormElement} */ const confirmForm = at("confirm-form");

/** @type {import("./backoffice-auth.js").Challenge | null} */
let challenge = null;
let isBusy = false;
/** When the block ends, by `performance.now`. */
let blockedUntil = 0;

/**
 * Shows one view, and puts the focus on its first field; for readers of the screen, on its title.
 * @param {"signin" | "confirm" | "account"} view
 */
function show(view) {
  for (const id of ["signin", "confirm", "account"]) at(id).hidden = id !== view;
  document.title = `${at(`${view}-title`).textContent} · Back Office`;
  const first = { signin: email, confirm: code, account: at("account-title") }[view];
  first.focus();
}

/**
 * Says something. Without a text, takes back what was said.
 * @param {string} [text]
 * @param {{ isError?: boolean, requestId?: string }} [more]
 */
function say(text = "", { isError = false, requestId } = {}) {
  const line = document.createElement("p");
  line.className = isError ? "error" : "news";
  line.append(text);
  if (requestId) {
    const small = document.createElement("small");
    small.textContent = `Number: ${requestId}`;
    line.append(small);
  }
  at("message").replaceChildren(...(text ? [line] : []));
}

/**
 * Marks a field, or takes the mark away.
 * @param {HTMLInputElement} field
 * @param {string} [text]
 */
function mark(field, text = "") {
  const place = at(`${field.id}-error`);
  place.textContent = text;
  place.hidden = text === "";
  field.setAttribute("aria-invalid", String(text !== ""));
}

/**
 * Says why something failed, and leads to where it can be mended.
 * @param {unknown} error
 */
function explain(error) {
  if (!(error instanceof AuthError)) {
    say(OUR_MISTAKE, { isError: true });
    throw error;
  }
  const text = SAYS[error.code] ?? OUR_MISTAKE;
  const requestId = error.code === "internal" ? error.requestId : undefined;
  say(text, { isError: true, requestId });
  if (error.code === "too_many_attempts") block(error.retryAfter ?? 1);
  const fields = [email, password, code];
  for (const { field, message } of error.errors) {
    const marked = fields.find((input) => input.name === field);
    if (marked) mark(marked, `${capitalised(field)} ${message}.`);
  }
  if (error.code === "invalid_two_factor") mark(code, "It is wrong or no longer good. Check it, or send a new one.");
  const bad = fields.find((input) => input.getAttribute("aria-invalid") === "true");
  if (bad) bad.focus();
  if (error.code === "invalid_credentials") password.select();
}

/** @param {string} text */
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * Runs what counts as an attempt: not during a block, when it would be in vain.
 * @param {() => Promise<void>} action
 */
function attempt(action) {
  if (blockedUntil <= performance.now()) run(action);
  else say(`${SAYS.too_many_attempts} Wait for ${at("remaining").textContent}.`, { isError: true });
}

/**
 * Runs what a button does: one at a time, and no failure goes unsaid. Buttons are never `disabled`:
 * that would take the focus from whoever stands on them.
 * @param {() => Promise<void>} action
 */
async function run(action) {
  if (isBusy) return;
  isBusy = true;
  say();
  for (const field of [email, password, code]) mark(field);
  dim();
  try {
    await action();
  } catch (error) {
    explain(error);
  } finally {
    isBusy = false;
    dim();
  }
}

function dim() {
  const isBlocked = blockedUntil > performance.now();
  for (const id of ["signin-form", "confirm-form"]) {
    at(id).setAttribute("aria-busy", String(isBusy));
    at(id).querySelector("button")?.setAttribute("aria-disabled", String(isBusy || isBlocked));
  }
  at("resend").setAttribute("aria-disabled", String(isBusy || isBlocked));
}

/**
 * Counts down to the end of a block.
 * @param {number} seconds
 */
function block(seconds) {
  blockedUntil = performance.now() + seconds * 1000;
  countDown();
}

/** Looks at the clock each time: a timer is late after a laptop's sleep. */
function countDown() {
  const left = Math.ceil((blockedUntil - performance.now()) / 1000);
  at("countdown").hidden = left <= 0;
  dim();
  if (left <= 0) return say("You can try again now.");
  const seconds = String(left % 60).padStart(2, "0");
  at("remaining").textContent = `${Math.floor(left / 60)}:${seconds}`;
  setTimeout(countDown, 250);
}

/**
 * Finds what is missing before the server is asked, since each attempt counts.
 * @param {[HTMLInputElement, string][]} required
 */
function isComplete(required) {
  const missing = required.filter(([field]) => field.value.trim() === "");
  for (const [field, text] of missing) mark(field, text);
  if (missing.length > 0) say(SAYS.invalid_request, { isError: true });
  missing[0]?.[0].focus();
  return missing.length === 0;
}

async function signIn() {
  const isReady = isComplete([
    [email, "Enter your email address."],
    [password, "Enter your password."],
  ]);
  if (!isReady) return;
  challenge = await auth.signIn(email.value.trim(), password.value);
  if (!challenge) return; // `onChange` shows the account.
  at("sent-to").textContent = email.value.trim();
  const until = new Date(Date.now() + challenge.expiresIn * 1000);
  at("good-until").textContent = until.toLocaleTimeString([], { timeStyle: "short" });
  code.value = "";
  show("confirm");
}

async function confirm() {
  if (!challenge || !isComplete([[code, "Enter the six digits from the mail."]])) return;
  await auth.confirm(challenge, code.value);
}

/** Shows who is signed in, and where. */
async function showAccount() {
  challenge = null;
  // The password has done its work, and leaves the page.
  signinForm.reset();
  confirmForm.reset();
  show("account");
  const session = await get("/api/v2/session");
  at("who").textContent = session.user.email;
  inLocalTime(at("since"), session.session.createdAt);
  const { sessions } = await get("/api/v2/sessions");
  at("sessions").replaceChildren(...sessions.map(listed));
}

/** @param {string} path */
async function get(path) {
  const answer = await auth.fetch(path);
  const body = await answer.json();
  if (!answer.ok) throw new AuthError(body.code, body);
  return body;
}

/**
 * A line of the list. All text is set as text: what a browser calls itself is whatever it likes.
 * @param {{ id: string, lastUsedAt: string, network: string, userAgent: string | null, device: string | null, current: boolean }} session
 */
function listed(session) {
  const line = document.createElement("li");
  const about = document.createElement("div");
  const name = session.current ? "This browser" : (session.device ?? session.userAgent ?? "Unknown program");
  const where = document.createElement("small");
  const when = document.createElement("time");
  inLocalTime(when, session.lastUsedAt);
  where.append(`${session.network}, last used `, when);
  about.append(name, where);
  line.append(about);
  if (!session.current) line.append(endButton(session.id, name));
  return line;
}

/**
 * @param {string} id
 * @param {string} name
 */
function endButton(id, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "End";
  button.setAttribute("aria-label", `End the session of ${name}`);
  button.addEventListener("click", () =>
    run(async () => {
      const answer = await auth.fetch(`/api/v2/sessions/${id}`, { method: "DELETE" });
      if (!answer.ok && answer.status !== 404) throw new AuthError((await answer.json()).code);
      await showAccount();
      say("The session is over.");
    }),
  );
  return button;
}

/**
 * @param {HTMLElement} element
 * @param {string} time
 */
function inLocalTime(element, time) {
  element.setAttribute("datetime", time);
  element.textContent = new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/**
 * @param {HTMLFormElement} form
 * @param {() => Promise<void>} action
 */
function onSubmit(form, action) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(action);
  });
}

onSubmit(signinForm, signIn);
onSubmit(confirmForm, confirm);
at("resend").addEventListener("click", () =>
  attempt(async () => {
    await signIn();
    if (challenge) say("If nothing went wrong, a new code is on its way. Earlier codes stay good for their time.");
  }),
);
at("back").addEventListener("click", () => {
  challenge = null;
  say();
  show("signin");
});
at("signout").addEventListener("click", () =>
  run(async () => {
    const isTold = await auth.signOut();
    if (!isTold) say("You are signed out here. The server could not be told, and will notice within a day.");
  }),
);
at("signout-everywhere").addEventListener("click", () => run(() => auth.signOutEverywhere()));

auth.onChange((isSignedIn, reason) => {
  if (isSignedIn) {
    say();
    showAccount().catch(explain);
  } else {
    show("signin");
    say(reason === "ended" ? SAYS.signed_out : "You are signed out.");
  }
});

if (auth.isSignedIn) showAccount().catch(explain);
else show("signin");
