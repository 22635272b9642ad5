// How values look. Everything that comes from outside becomes a text node; nothing here makes HTML of a text.
import { html, signal, useState } from "../vendor.js";
import { href } from "./router.js";

const ENDED = { succeeded: "good", failed: "bad", terminated: "bad", skipped: "mute", cancelled: "mute" };
const STATES = { ...ENDED, running: "busy", waiting: "wait", queued: "wait", scheduled: "wait" };
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** The state of a run, a delivery or a step. `kind` says which colour: good, bad, busy, wait, mute. */
export function Badge({ text, kind = STATES[text] ?? "mute" }) {
  return html`<span class=${`badge ${kind}`}>${text}</span>`;
}

/** Whether a run in this state has ended. */
export const hasEnded = (state) => state in ENDED;

// What says how long ago something was is said again every second.
const second = signal(0);
setInterval(() => !document.hidden && second.value++, 1000);

/** A point in time: how long ago, and exactly as its title. */
export function Time({ at, exact = false }) {
  if (at == null) return html`<span class="soft">–</span>`;
  if (!exact) void second.value;
  const time = new Date(at);
  const full = `${at}`;
  return html`<time datetime=${full} title=${full}>${exact ? formatTime(time, { millis: true }) : relate(time)}</time>`;
}

/** The time of day, with the date unless it is today: 14:03:07.120, 3 May 14:03:07. */
export function formatTime(time, { millis = false } = {}) {
  const isToday = time.toDateString() === new Date().toDateString();
  const clock = time.toLocaleTimeString("en-GB", { hour12: false }) + (millis ? `.${String(time.getMilliseconds()).padStart(3, "0")}` : "");
  if (isToday) return clock;
  const year = time.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return `${time.toLocaleDateString("en-GB", { day: "numeric", month: "short", ...year })} ${clock}`;
}

/** How far a time is from now, in words: "12 s ago", "in 3 h". */
export function relate(time) {
  const seconds = (Date.now() - time.getTime()) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  if (Math.abs(seconds) > 86400 * 2) return formatTime(time);
  const text = formatSeconds(Math.abs(seconds), true);
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** A length of time: 120 ms, 4.2 s, 3 min 5 s. `coarse`: its largest unit alone. */
export function formatSeconds(seconds, coarse = false) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${coarse ? Math.floor(seconds) : Number(seconds.toFixed(1))} s`;
  const index = UNITS.findIndex(([size]) => seconds >= size);
  const [size, unit] = UNITS[index];
  const whole = Math.floor(seconds / size);
  const [smaller, smallUnit] = UNITS[index + 1];
  const rest = Math.floor((seconds - whole * size) / smaller);
  return coarse || rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${smallUnit}`;
}

/** How long something took, from one time to another; until now without a second one. */
export function Duration({ from, until }) {
  if (from == null) return html`<span class="soft">–</span>`;
  if (until == null) void second.value;
  const end = until == null ? Date.now() : new Date(until).getTime();
  return html`<span class="number">${formatSeconds(Math.max(0, end - new Date(from).getTime()) / 1000)}</span>`;
}

/** A number with separators; `text` for the place of one. */
export const formatNumber = (value) => (value == null ? "–" : NUMBER.format(Number(value)));

/** The short form of an id, which is still enough to recognize it. */
export const shorten = (id) => (id == null ? "–" : `…${String(id).slice(-8)}`);

/** A link to a page about something with an id. */
export function IdLink({ page, id, text }) {
  if (id == null) return html`<span class="soft">–</span>`;
  return html`<a class="id" href=${href(page, String(id))} title=${String(id)}>${text ?? shorten(id)}</a>`;
}

/** A whole id with a button that copies it. */
export function Copyable({ text }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return html`<span class="copyable"><code>${text}</code>
    ${navigator.clipboard && html`<button type="button" class="quiet" onClick=${copy}>${isCopied ? "copied" : "copy"}</button>`}</span>`;
}

/** What `load` failed with. */
export function ErrorNote({ problem, what = "This" }) {
  if (problem == null) return null;
  const title = problem.status === 404 ? "Not found" : problem.status === 403 ? "Not allowed" : `${what} cannot be shown`;
  return html`<div class="note bad" role="alert"><strong>${title}</strong><p>${problem.message}</p></div>`;
}

/** What stands where nothing is: a title, and what would bring something here. */
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<div class="soft">${children}</div>`}</div>`;
}

/** Names and values, one below the other: rows of [name, value]. Rows whose value is undefined are left out. */
export function Facts({ rows }) {
  return html`<dl class="facts">${rows
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value ?? html`<span class="soft">–</span>`}</dd></div>`)}</dl>`;
}

/** A value as indented JSON, in text nodes. Large ones are cut, and shown whole on request. */
export function Json({ value, label = "value", most = 20000 }) {
  const [isWhole, setWhole] = useState(false);
  if (value === undefined) return null;
  const text = typeof value === "string" ? value : write(value);
  const isCut = !isWhole && text.length > most;
  return html`<div class="json">
    <pre tabindex="0" aria-label=${label}>${isCut ? text.slice(0, most) : text}</pre>
    ${isCut && html`<button type="button" onClick=${() => setWhole(true)}>Show all ${formatNumber(text.length)} characters</button>`}
  </div>`;
}

/** A value as JSON; long numbers keep the digits that they were written with. */
export const write = (value, indent = 2) => String(JSON.stringify(value, null, indent));

/** How far something is, as a bar that is read aloud. `kind`: good, busy, wait, bad. */
export function Progress({ value, most, label, kind = "busy" }) {
  const share = most > 0 ? Math.min(value / most, 1) : 0;
  return html`<span class="progress"><progress class=${kind} max="1" value=${share} aria-label=${label}></progress>
    <span class="number">${formatNumber(value)} / ${formatNumber(most)}</span></span>`;
}
