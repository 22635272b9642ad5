// Lines of the log, as a list that is read from top to bottom.
import { html } from "../vendor.js";
import { Badge, Empty, IdLink, Json, formatTime } from "./show.js";

const KINDS = { error: "bad", warning: "wait", info: "mute", debug: "mute" };

/** Lines in the order in which they are given. `withRun`: with a link to the run that has written each. */
export function LogLines({ lines, empty, withRun = false }) {
  if (lines.length === 0) return html`<${Empty} title=${empty} />`;
  return html`<ol class="lines">${lines.map(
    (line) => html`<li key=${`${line.id}/${line.event}/${line.at}`} class=${KINDS[line.level]}>
      <time datetime=${line.at} title=${line.at}>${formatTime(new Date(line.at), { millis: true })}</time>
      <${Badge} text=${line.level} kind=${KINDS[line.level]} />
      <span class="message">
        ${withRun && line.run_id && html`<${IdLink} page="runs" id=${line.run_id} text=${line.workflow ?? undefined} /> `}
        <span class="event">${line.event}</span>${line.step && html` <code>${line.step}</code>`}${line.message && ` ${line.message}`}
        ${line.details != null && html`<details><summary>details</summary><${Json} value=${line.details} label="details" /></details>`}
      </span>
    </li>`,
  )}</ol>`;
}
