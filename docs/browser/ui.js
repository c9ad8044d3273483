// The common parts of the pages: one view at a time, sentences that are read out, marks at fields, blocks
// that are counted down, and buttons that show a password.

import { AuthError, BackofficeAuth } from "./backoffice-auth.js";
import { dateAndClock, filled, language, saidOf, words } from "./words.js";

/**
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
export const at = (id) => {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no #${id}`);
  return /** @type {E} */ (element);
};

/**
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} selector
 * @returns {E[]}
 */
const all = (selector) => [...document.querySelectorAll(selector)].map((element) => /** @type {E} */ (element));

const meta = /** @type {HTMLMetaElement} */ (document.querySelector('meta[name="auth-server"]'));
export const auth = new BackofficeAuth({ server: meta.content });

/** @param {string} text */
export function strong(text) {
  const element = document.createElement("strong");
  element.textContent = text;
  return element;
}

/**
 * @param {string} text
 * @param {(time: Date) => string} [form]
 */
export function time(text, form = dateAndClock) {
  const element = document.createElement("time");
  element.dateTime = text;
  element.textContent = form(new Date(text));
  return element;
}

/**
 * A short word about something, in a frame.
 * @param {string} text
 */
export function markOf(text) {
  const element = document.createElement("span");
  element.textContent = text;
  element.className = "mark";
  return element;
}

/**
 * A line of a list.
 * @param {...(string | Node)} parts
 */
export function line(...parts) {
  const element = document.createElement("li");
  element.append(...parts);
  return element;
}

/** @type {HTMLElement[]} */ const views = all("main > section");
/** The fields with a place for their error. @type {HTMLInputElement[]} */
const fields = all("input[aria-describedby]");
/** @type {HTMLButtonElement[]} */ const reveals = all("button[data-reveals]");

let isBusy = false;
/** Settles with the running action. */
let running = Promise.resolve();
/** When blocks end, by `performance.now`, and by the limit: a blocked sign-in blocks no forgotten password.
 * @type {Map<string, number>} */
const blocks = new Map();
/** @type {number | undefined} */
let timer;

/**
 * Actions for error codes that are not shown. Each gets the failed action.
 * @type {Map<string, (action: () => Promise<void>) => void>}
 */
export const remedies = new Map();

/** @type {Set<(view: string) => void>} */
const arrivals = new Set();

/**
 * Calls `listener` whenever a view is shown in place of another one.
 * @param {(view: string) => void} listener
 */
export const onShow = (listener) => void arrivals.add(listener);

/**
 * Shows one view, and puts the focus on its first field. It goes to the title where there is no field, or
 * something to read before it.
 * @param {string} view
 */
export function show(view) {
  for (const section of views) section.hidden = section.id !== view;
  const title = at(`${view}-title`);
  document.title = `${title.textContent} · Back Office`;
  hideSecrets();
  const first = fields.find((field) => at(view).contains(field));
  (at(view).dataset.begins === "title" ? title : (first ?? title)).focus();
  countDown();
  for (const listener of arrivals) listener(view);
}

/**
 * The same, for a next view to which the present message does not belong.
 * @param {string} view
 */
export function turnTo(view) {
  say();
  show(view);
}

/** The view that is shown. */
export const shown = () => views.find((section) => !section.hidden)?.id;

/**
 * Shows a message. Without a text, removes it.
 * @param {string} [text]
 * @param {{ isError?: boolean, requestId?: string }} [more]
 */
export function say(text = "", { isError = false, requestId } = {}) {
  const line = document.createElement("p");
  line.className = isError ? "error" : "news";
  line.append(text);
  if (requestId) {
    const small = document.createElement("small");
    small.textContent = filled(words.number, { number: requestId });
    line.append(small);
  }
  at("message").replaceChildren(...(text ? [line] : []));
}

/**
 * Marks a field, or takes the mark away.
 * @param {HTMLInputElement} field
 * @param {string} [text]
 * @param {string} [lang] of the text
 */
export function mark(field, text = "", lang = language) {
  const place = at(`${field.id}-error`);
  place.textContent = text;
  place.lang = lang;
  place.hidden = text === "";
  field.setAttribute("aria-invalid", String(text !== ""));
}

/**
 * Shows why something failed, and moves the focus to the place to correct it.
 * @param {unknown} error
 */
export function explain(error) {
  if (!(error instanceof AuthError)) {
    say(words.ourMistake, { isError: true });
    throw error;
  }
  /** @type {Record<string, string>} */
  const sentences = words.says;
  const text = sentences[error.code] ?? words.ourMistake;
  const requestId = error.code === "internal" ? error.requestId : undefined;
  say(text, { isError: true, requestId });
  if (error.code === "too_many_attempts") block(error.retryAfter ?? 1);
  const here = fields.filter((field) => !field.closest("section")?.hidden);
  for (const { field, message } of error.errors) {
    const marked = here.find((input) => input.name === field);
    if (marked) mark(marked, saidOf(field, message), "en");
  }
  const by = (/** @type {string} */ name) => here.find((input) => input.name === name);
  const [code, password, current, address] = ["code", "password", "currentPassword", "email"].map(by);
  if (error.code === "invalid_two_factor" && code) mark(code, wordsFor(code.dataset.wrong));
  if (error.code === "address_taken" && address) mark(address, words.addressTaken);
  if (error.code === "wrong_password" && current) mark(current, words.wrongPassword);
  here.find((input) => input.getAttribute("aria-invalid") === "true")?.focus();
  if (error.code === "invalid_credentials") password?.select();
  if (error.code === "wrong_password") current?.select();
}

/**
 * @param {unknown} error
 * @param {...string} codes
 */
export function isRefusedAs(error, ...codes) {
  return error instanceof AuthError && codes.includes(error.code);
}

/** The limit under which the present view counts. */
const counted = () => views.find((section) => !section.hidden)?.dataset.counted ?? "";

/** Milliseconds until a request of this view is let in. */
const blockedFor = () => (blocks.get(counted()) ?? 0) - performance.now();

/**
 * Runs an action that counts as an attempt: not during a block, when it would be in vain.
 * @param {() => Promise<void>} action
 */
export function attempt(action) {
  if (blockedFor() <= 0) run(action);
  else say(`${words.says.too_many_attempts} ${filled(words.waitFor, { time: remaining() })}`, { isError: true });
}

/**
 * Runs the action of a button: one at a time, and every failure is shown. Buttons are never
 * `disabled`: that would take the focus from anyone standing on them.
 * @param {() => Promise<void>} action
 */
export function run(action) {
  if (!isBusy) running = runNow(action);
  return running;
}

/** Waits until nothing runs. */
export async function idle() {
  while (isBusy) await running;
}

/** @param {() => Promise<void>} action */
async function runNow(action) {
  isBusy = true;
  say();
  for (const field of fields) mark(field);
  // Text fields may be remembered and offered by the browser, as if they held no password.
  hideSecrets();
  dim();
  try {
    await action();
  } catch (error) {
    const remedy = error instanceof AuthError ? remedies.get(error.code) : undefined;
    if (remedy) remedy(action);
    else explain(error);
  } finally {
    isBusy = false;
    dim();
  }
}

function dim() {
  const isBlocked = blockedFor() > 0;
  for (const form of all("form")) form.setAttribute("aria-busy", String(isBusy));
  for (const button of all('form button[type="submit"], button[data-attempt]')) {
    button.setAttribute("aria-disabled", String(isBusy || isBlocked));
  }
}

/**
 * Counts down to the end of a block.
 * @param {number} seconds
 */
function block(seconds) {
  blocks.set(counted(), performance.now() + seconds * 1000);
  countDown();
}

/** Looks at the clock each time: a timer is late after a laptop's sleep. */
function countDown() {
  clearTimeout(timer);
  const isBlocked = blockedFor() > 0;
  at("countdown").hidden = !isBlocked;
  dim();
  if (isBlocked) {
    at("countdown").textContent = filled(words.canTryAgainIn, { time: remaining() });
    timer = setTimeout(countDown, 250);
  } else if (blocks.delete(counted())) {
    say(words.canTryAgain);
  }
}

/** The rest of a block: `4:59`. */
function remaining() {
  const left = Math.ceil(blockedFor() / 1000);
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

/**
 * Finds empty fields before the request, since each attempt counts.
 * @param {[HTMLInputElement, string][]} required
 */
export function isComplete(required) {
  const missing = required.filter(([field]) => field.value.trim() === "");
  for (const [field, text] of missing) mark(field, text);
  if (missing.length > 0) say(words.says.invalid_request, { isError: true });
  missing[0]?.[0].focus();
  return missing.length === 0;
}

/**
 * @param {string} form
 * @param {() => Promise<void>} action
 */
export function onSubmit(form, action) {
  at(form).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(action);
  });
}

/**
 * @param {string} button
 * @param {() => void} action
 */
export const onClick = (button, action) => at(button).addEventListener("click", action);

/**
 * Shows a password, or hides it. The label stays: `aria-pressed` tells the state.
 * @param {HTMLButtonElement} button
 * @param {boolean} isShown
 */
function reveal(button, isShown) {
  /** @type {HTMLInputElement} */ const field = at(button.dataset.reveals ?? "");
  field.type = isShown ? "text" : "password";
  button.setAttribute("aria-pressed", String(isShown));
}

function hideSecrets() {
  for (const button of reveals) reveal(button, false);
}

/**
 * The words that the markup names.
 * @param {string | undefined} name
 */
function wordsFor(name = "") {
  /** @type {Record<string, unknown>} */ const table = words;
  const said = table[name];
  if (typeof said !== "string") throw new Error(`no words for ${name}`);
  return said;
}

/** Puts the reader's language into the page. */
function speak() {
  document.documentElement.lang = language;
  for (const element of all("[data-words]")) element.textContent = wordsFor(element.dataset.words);
  for (const button of reveals) {
    button.setAttribute("aria-label", words.showPassword);
    button.addEventListener("click", () => reveal(button, button.getAttribute("aria-pressed") !== "true"));
  }
}

speak();
