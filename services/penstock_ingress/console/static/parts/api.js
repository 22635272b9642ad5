// Asks the management API. Every failure is a Problem (RFC 9457), whose text says what to do.
import { begin, lose, session } from "./session.js";
import { environment } from "./router.js";

/** A request that was refused or did not arrive. `status` is 0 when there was no answer. */
export class Problem extends Error {
  constructor(status, title, detail, document = {}) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.document = document;
  }
}

/** A query string of what is set; lists are joined by commas. */
export function encode(query = {}) {
  const pairs = Object.entries(query).filter(([, value]) => value != null && value !== "" && value !== false);
  return pairs.length ? `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}` : "";
}

/**
 * One request. `path` begins with a slash. Options: `query`, `body` (sent as JSON), `headers`, `background` (a page
 * refreshes itself: the session becomes idle all the same), `signal`. Answers the JSON. Throws Problem.
 */
export async function send(method, path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  if (options.background) headers["X-Penstock-Background"] = "1";
  if (method !== "GET" && session() !== null) headers["X-CSRF-Token"] = session().csrf_token;
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  let response;
  try {
    response = await fetch(path + encode(options.query), { method, headers, body, signal: options.signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "No answer", "Penstock cannot be reached at this moment. The page tries again by itself.");
  }
  const text = await response.text();
  if (response.ok) return text === "" ? null : parse(text);
  throw refuse(response, text);
}

/** The management API of the environment that the address names: `api.get("runs", {query: {state: "failed"}})`. */
export const api = {
  get: (path, options) => send("GET", at(path), options),
  post: (path, body = undefined, options = {}) => send("POST", at(path), { ...options, body }),
  put: (path, body, options = {}) => send("PUT", at(path), { ...options, body }),
  remove: (path, options) => send("DELETE", at(path), options),
  url: (path, query) => at(path) + encode(query),
};

/** Ask who is logged in. */
export async function loadSession() {
  begin(await send("GET", "/console/session", { background: true }));
}

/** Log in with an admin token. Throws Problem. */
export async function logIn(token) {
  begin(await send("POST", "/console/session", { body: { token } }));
}

/** End the session. Throws Problem. */
export async function logOut() {
  begin(await send("DELETE", "/console/session"));
}

function at(path) {
  return `/v1/${encodeURIComponent(environment.value)}/${path}`;
}

/** JSON as it was written, with all digits of its numbers. Throws SyntaxError. */
export const parseExactly = (text) => JSON.parse(text, keepDigits);

function parse(text) {
  try {
    return parseExactly(text);
  } catch {
    throw new Problem(0, "Unreadable answer", "The answer is not JSON. A proxy between here and Penstock may have changed it.");
  }
}

// Where the browser hands over the source text, numbers with more digits than a double holds keep all of them.
function keepDigits(_, value, context) {
  if (typeof value !== "number" || context?.source === undefined) return value;
  const digits = context.source.split(/e/i)[0].replace(/[-.]/g, "").replace(/^0+/, "");
  return digits.length <= 15 ? value : new LongNumber(context.source, value);
}

/** A number as it was written; it is shown and sent with all of its digits. */
export class LongNumber extends Number {
  constructor(source, value) {
    super(value);
    this.source = source;
  }
  toString() {
    return this.source;
  }
  toJSON() {
    return JSON.rawJSON(this.source); // comes with the source text above
  }
}

function refuse(response, text) {
  let document = {};
  try {
    document = JSON.parse(text) ?? {};
  } catch {
    // Not from us: a proxy's page, of which nothing is shown.
  }
  if (response.status === 401 && !response.url.endsWith("/console/session")) {
    lose("Your session has ended. Log in again to continue here.");
  }
  const detail = typeof document.detail === "string" ? document.detail : `The answer is ${response.status}.`;
  return new Problem(response.status, String(document.title ?? response.statusText), detail, document);
}
