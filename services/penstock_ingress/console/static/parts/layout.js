// The frame of every page: where one can go, who is logged in, and the page's title.
import { html, useEffect, useRef, useState } from "../vendor.js";
import { logOut } from "./api.js";
import { Notices, notify } from "./notices.js";
import { environment, href, place, segments } from "./router.js";
import { about, session } from "./session.js";

/** A page: its heading, what can be done with all of it, and its content. `name` is the window's title, where `title` is
 * more than a text. */
export function Page({ title, name = title, about: intro, actions, children }) {
  useEffect(() => {
    document.title = `${name} · ${environment.value} · Penstock`;
  }, [name]);
  return html`<div class="page">
    <header class="page-head"><div><h1 tabindex="-1">${title}</h1>${intro && html`<p class="soft">${intro}</p>`}</div>
      ${actions && html`<div class="buttons">${actions}</div>`}</header>
    ${children}
  </div>`;
}

/** A part of a page, with its own heading. */
export function Section({ title, about: intro, actions, children }) {
  return html`<section aria-label=${title} class="section">
    <header class="section-head"><h2>${title}</h2>${actions && html`<div class="buttons">${actions}</div>`}</header>
    ${intro && html`<p class="soft">${intro}</p>`}
    ${children}
  </section>`;
}

/** Everything around the page that the address names. `pages` are those that have a place in the menu. */
export function Frame({ pages, children }) {
  const [isOpen, setOpen] = useState(false);
  const path = place.value.path;
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    setOpen(false);
    // As a new document would: the next thing that is read or reached is the page.
    document.querySelector("#page h1")?.focus({ preventScroll: true });
  }, [path]);
  return html`<div class="frame">
    <a class="skip" href="#page">Skip to the page</a>
    <header class="bar">
      <a class="brand" href=${href("overview")}><${Logo} /> Penstock</a>
      <${Environments} />
      <button type="button" class="menu-button" aria-expanded=${isOpen} aria-controls="menu" onClick=${() => setOpen(!isOpen)}>Menu</button>
    </header>
    <nav id="menu" class=${`menu ${isOpen ? "open" : ""}`} aria-label="Pages">
      <ul>${pages.map(({ path: name, nav }) => {
        const isHere = segments.value[0] === name.split("/")[0];
        return html`<li key=${name}><a href=${href(name)} aria-current=${isHere ? "page" : undefined}>${nav.label}</a></li>`;
      })}</ul>
      <${Who} />
    </nav>
    <main id="page" tabindex="-1">${children}</main>
    <${Notices} />
  </div>`;
}

function Environments() {
  const held = session()?.environment;
  const names = held ? [held] : (about.value?.environments ?? []);
  const [first] = segments.value;
  return html`<nav class="environments" aria-label="Environment">${names.map((name) => {
    const address = `/console/${encodeURIComponent(name)}/${encodeURIComponent(first ?? "overview")}`;
    return html`<a key=${name} href=${address} class=${name} aria-current=${name === environment.value ? "true" : undefined}>${name}</a>`;
  })}</nav>`;
}

function Who() {
  const own = session();
  const leave = async () => {
    try {
      await logOut();
    } catch (problem) {
      notify(problem.message, "bad");
    }
  };
  return html`<div class="who">
    <p><span class="soft">Logged in as</span> <strong>${own.name}</strong> <span class="soft">${own.role}${own.payloads ? "" : ", without payloads"}</span></p>
    <button type="button" onClick=${leave}>Log out</button>
    <p class="soft small"><a href="/docs">API</a> · <a href="/about">About</a> · ${about.value.version}</p>
  </div>`;
}

export function Logo() {
  return html`<svg class="logo" viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
    <rect width="32" height="32" rx="7" class="logo-back" />
    <path d="M6 11c3.3 0 3.3 3 6.7 3s3.3-3 6.6-3 3.4 3 6.7 3M6 18c3.3 0 3.3 3 6.7 3s3.3-3 6.6-3 3.4 3 6.7 3" class="logo-waves" />
  </svg>`;
}
