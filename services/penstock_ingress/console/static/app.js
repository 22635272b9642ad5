// Begins: who is logged in, which page the address names, and that a page that breaks says so.
import { html, render, useEffect, useErrorBoundary } from "./vendor.js";
import * as modules from "./pages.js";
import { LoginPage } from "./pages/login.js";
import { loadSession } from "./parts/api.js";
import { Frame, Page } from "./parts/layout.js";
import { environment, follow, place, segments, settle } from "./parts/router.js";
import { about, session } from "./parts/session.js";
import { Empty } from "./parts/show.js";

const PAGES = Object.values(modules);
const MENU = PAGES.filter(({ nav }) => nav).sort((one, other) => one.nav.order - other.nav.order);

function App() {
  if (about.value === null) return html`<main class="alone"><p class="loading" role="status">Loading …</p></main>`;
  if (session() === null) return html`<${LoginPage} />`;
  return html`<${Inside} />`;
}

function Inside() {
  const held = session().environment;
  const entered = held ? [held] : about.value.environments;
  useEffect(() => settle(entered), [place.value.path]);
  const found = find(segments.value);
  const isEntered = entered.includes(environment.value);
  return html`<${Frame} pages=${MENU}>
    ${found && isEntered
      ? html`<${Guarded} key=${`${environment.value}/${found.page.path}/${Object.values(found.names).join("/")}`} ...${found} />`
      : segments.value.length > 0 && html`<${Missing} />`}
  <//>`;
}

// A page whose code fails leaves the others alone.
function Guarded({ page, names }) {
  const [error, reset] = useErrorBoundary((failure) => console.error(failure));
  if (error) {
    return html`<${Page} title="This page has failed"><div class="note bad" role="alert">
      <p>${String(error.message ?? error)}</p><button type="button" onClick=${reset}>Try again</button></div><//>`;
  }
  return html`<${page.view} ...${names} />`;
}

function Missing() {
  return html`<${Page} title="No such page"><${Empty} title="Nothing has this address">
    It may have been mistyped, or the environment is not one that you may enter.<//><//>`;
}

// The page whose path fits: `runs/:id` fits ["runs", "0190…"] with {id: "0190…"}.
function find(given) {
  for (const page of PAGES) {
    const wanted = page.path.split("/");
    if (wanted.length !== given.length) continue;
    const names = {};
    const fits = wanted.every((part, index) => {
      if (!part.startsWith(":")) return part === given[index];
      names[part.slice(1)] = given[index];
      return true;
    });
    if (fits) return { page, names };
  }
  return null;
}

async function begin() {
  follow();
  render(html`<${App} />`, document.getElementById("app"));
  for (let pause = 500; ; pause = Math.min(pause * 2, 10000)) {
    try {
      return await loadSession();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

void begin();
