// One dead letter: why it is one, what has become of it so far, and what was sent.
import { html, useState } from "../vendor.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { RetryDialog } from "../parts/retry.js";
import { href } from "../parts/router.js";
import { may } from "../parts/session.js";
import { Badge, Copyable, ErrorNote, Facts, IdLink, Json, Time, formatNumber } from "../parts/show.js";
import { Loading, Stale } from "../parts/table.js";
import { LetterActions } from "./letters.js";

function LetterPage({ id }) {
  const { data, problem, reload } = useResource((options) => api.get(`dead-letters/${id}`, options), [id], { on: ["runs", "steering"] });
  if (data === undefined) {
    return html`<${Page} title="Dead letter">${problem ? html`<${ErrorNote} problem=${problem} what="The dead letter" />` : html`<${Loading} />`}<//>`;
  }
  return html`<${Page} title=${`Dead letter: ${data.workflow ?? data.queue ?? "message"}`} actions=${html`<${Mending} one=${data} reload=${reload} /><${LetterActions} one=${data} reload=${reload} />`}>
    ${problem && html`<${Stale} problem=${problem} />`}
    <p class=${`note ${data.state === "open" ? "bad" : ""}`}><strong>Why:</strong>${" "}${data.reason ?? "not shown without sight of payloads"}</p>
    <${Section} title="The letter"><${Facts} rows=${[
      ["Id", html`<${Copyable} text=${data.id} />`],
      ["State", html`<${Badge} text=${data.state} kind=${data.state === "open" ? "bad" : "mute"} />`],
      ["Kind", data.kind === "run" ? "a run that failed" : "a message"],
      ["Run", data.run_id ? html`<${IdLink} page="runs" id=${data.run_id} />` : undefined],
      ["Chain", data.chain_id ? html`<${IdLink} page="chains" id=${data.chain_id} />` : undefined],
      ["Workflow", data.workflow ? html`<a href=${href("workflows", data.workflow)}>${data.workflow}</a>` : undefined],
      ["Queue", data.queue ?? undefined],
      ["Routing key", data.routing_key ?? undefined],
      ["Bytes", data.size == null ? undefined : formatNumber(data.size)],
      ["Times", formatNumber(data.times)],
      ["First seen", html`<${Time} at=${data.first_seen_at} />`],
      ["Last seen", html`<${Time} at=${data.last_seen_at} />`],
      ["Published again", data.published_at ? html`<${Time} at=${data.published_at} />` : undefined],
      ["Dealt with by", data.actor ?? undefined],
      ["Note", data.note ?? undefined],
    ]} /><//>
    ${data.message != null && html`<${Section} title="Message"><${Json} value=${data.message} label="properties of the message" /><//>`}
    ${data.body != null && html`<${Section} title=${`Body (${data.body_encoding})`}><${Json} value=${data.body} label="body of the message" /><//>`}
    ${data.history != null && html`<${Section} title="History"><${Json} value=${data.history} label="history of the letter" /><//>`}
  <//>`;
}

// A run may be retried with what was mended; a message is published again as it was.
function Mending({ one, reload }) {
  const [isOpen, setOpen] = useState(false);
  if (one.state !== "open" || !one.run_id || one.kind !== "run" || !may("operator")) return null;
  return html`<button type="button" onClick=${() => setOpen(true)}>Retry with changes</button>
    ${isOpen && html`<${RetryDialog} id=${one.run_id} close=${() => setOpen(false)} after=${reload} />`}`;
}

export default { path: "dead-letters/:id", view: LetterPage };
