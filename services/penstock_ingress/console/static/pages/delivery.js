// One delivery: what was sent, what it has started, and sending it through again.
import { html } from "../vendor.js";
import { ActionButton } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, navigate } from "../parts/router.js";
import { seesPayloads } from "../parts/session.js";
import { Badge, Copyable, ErrorNote, Facts, IdLink, Json, Time, formatNumber } from "../parts/show.js";
import { Loading, Stale, Table } from "../parts/table.js";
import { RunLinks, Verdict } from "./webhooks.js";

function DeliveryPage({ id }) {
  const { data: one, problem } = useResource((options) => api.get(`deliveries/${encodeURIComponent(id)}`, options), [id], { every: 3000 });
  if (one === undefined) {
    return html`<${Page} title="Delivery">${problem ? html`<${ErrorNote} problem=${problem} what="The delivery" />` : html`<${Loading} />`}<//>`;
  }
  const title = `${one.source}${one.type ? `, ${one.type}` : ""}`;
  const replay = html`<${ActionButton} label="Replay" kind="primary" act=${() => api.post(`deliveries/${id}/replay`)}
    ask="It starts runs again, by the definitions of now. What the first runs did stays done."
    done=${(made) => `Replayed: ${made.run_ids.length} runs.`} after=${(made) => navigate(href("webhooks", made.id))} />`;
  return html`<${Page} title=${title} about=${html`Delivery <${Copyable} text=${one.id} />`} actions=${replay}>
    ${problem && html`<${Stale} problem=${problem} />`}
    <${Section} title="Facts"><${Facts} rows=${[
      ["Source", html`<a href=${href("webhooks", { source: one.source })}>${one.source}</a>`],
      ["Type", one.type],
      ["Received", html`<${Time} at=${one.received_at} exact />`],
      ["Verdict", html`<${Verdict} of=${one} />`],
      ["Outcome", html`<${Badge} text=${one.outcome} kind=${one.outcome === "accepted" ? "good" : "mute"} />`],
      ["Runs", html`<${RunLinks} ids=${one.run_ids} />`],
      ["Sent again", `${formatNumber(one.duplicates)} times`],
      ["Size", `${formatNumber(one.size)} bytes`],
      ["Replays", one.replays.length === 0 ? "none" : one.replays.map((other, position) => html`${position > 0 && ", "}<${IdLink} key=${other} page="webhooks" id=${other} />`)],
      ["Replay of", one.origin_id ? html`<${IdLink} page="webhooks" id=${one.origin_id} />` : undefined],
    ]} /><//>
    <${Section} title="Body" about=${one.body_encoding === "base64" ? "Not text: written in base64." : undefined}>
      ${seesPayloads() ? html`<${Json} value=${pretty(one)} label="body" />` : html`<p class="soft">Your token has no sight of payloads.</p>`}
    <//>
    <${Section} title="Headers">
      ${seesPayloads() && one.headers
        ? html`<${Table} rows=${Object.entries(one.headers)} id=${([name]) => name} caption="Headers" columns=${HEADERS} />`
        : html`<p class="soft">Your token has no sight of payloads.</p>`}
    <//>
  <//>`;
}

const HEADERS = [
  { head: "Name", main: true, cell: ([name]) => html`<code>${name}</code>` },
  { head: "Value", align: "whole", cell: ([, value]) => html`<code>${value}</code>` },
];

// JSON is indented where that changes no number; anything else is shown as it came.
function pretty({ body, body_encoding: encoding }) {
  if (body == null || encoding === "base64") return body ?? "";
  try {
    const read = JSON.parse(body);
    return typeof read === "object" && /\d{16}/.test(body) === false ? JSON.stringify(read, null, 2) : body;
  } catch {
    return body;
  }
}

export default { path: "webhooks/:id", view: DeliveryPage };
