// What is said to the person beside the page itself: at the foot of the window, and to screen readers.
import { html, signal } from "../vendor.js";

const shown = signal(null);
let timer;

/** Say that something was done, or why not. `kind`: "good" or "bad". */
export function notify(text, kind = "good") {
  clearTimeout(timer);
  shown.value = { text, kind };
  timer = setTimeout(() => (shown.value = null), kind === "bad" ? 12000 : 5000);
}

export function Notices() {
  const said = shown.value;
  return html`<div class="notices" role="status" aria-live="polite">
    ${said && html`<p class=${`notice ${said.kind}`}>
      <span>${said.text}</span>
      <button type="button" class="quiet" aria-label="Dismiss" onClick=${() => (shown.value = null)}>×</button>
    </p>`}
  </div>`;
}
