// Addresses: /console/{environment}/{page…}. Links are ordinary links; the ones to the console change the page only.
import { computed, signal } from "../vendor.js";

const HOME = "overview";
const REMEMBERED = "penstock.environment";

/** Where the browser is: {path, query}. */
export const place = signal(read());

/** The environment that the address names, or the one that was looked at last. */
export const environment = computed(() => parts()[0] ?? remembered());

/** The address below the environment, as a list: ["runs", "0190…"]. */
export const segments = computed(() => parts().slice(1));

/** The query of the address, as an object of texts. */
export const query = computed(() => place.value.query);

/** The address of a page of the current environment: href("runs", run.id), href("runs", {state: "failed"}). */
export function href(...names) {
  const last = names.at(-1);
  const search = typeof last === "object" && last !== null ? names.pop() : {};
  const pairs = Object.entries(search).filter(([, value]) => value != null && value !== "");
  const tail = pairs.length ? `?${new URLSearchParams(pairs)}` : "";
  return `/console/${[environment.value, ...names].map(encodeURIComponent).join("/")}${tail}`;
}

/** Go to an address of the console. `replace`: without an entry in the history. */
export function navigate(address, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  place.value = read();
  if (!replace) scrollTo(0, 0);
}

/** Change some of the query; null removes a name. What depends on a page of results begins at the first again. */
export function setQuery(changes) {
  const merged = { ...query.value, after: null, ...changes };
  const pairs = Object.entries(merged).filter(([, value]) => value != null && value !== "");
  navigate(`${place.value.path}${pairs.length ? `?${new URLSearchParams(pairs)}` : ""}`, { replace: true });
}

/** Listen to the browser. `environments` are those that the session may enter; another address leads to the first. */
export function follow() {
  addEventListener("popstate", () => (place.value = read()));
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (link === null || link === undefined || !isPlain || event.defaultPrevented || link.target || link.download) return;
    if (link.origin !== location.origin || !isOurs(link.pathname) || link.hash) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

/** Bring an address that names no page to one: the overview of an environment that the session may enter. */
export function settle(environments) {
  const [named, ...rest] = parts();
  if (environments.includes(named)) {
    localStorage.setItem(REMEMBERED, named);
    if (rest.length > 0) return;
  }
  const entered = environments.includes(named) ? named : environments.includes(remembered()) ? remembered() : environments[0];
  if (named === undefined || rest.length === 0) navigate(`/console/${entered}/${HOME}`, { replace: true });
}

function isOurs(path) {
  return path.startsWith("/console/") && !path.startsWith("/console/oidc") && !path.startsWith("/console/static");
}

function read() {
  return { path: location.pathname, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

function parts() {
  const below = place.value.path.replace(/^\/console(\/|$)/, "");
  if (below === place.value.path) return [];
  return below.split("/").filter(Boolean).map(decode);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function remembered() {
  return localStorage.getItem(REMEMBERED) ?? "live";
}
