// Dead letters: runs that failed and messages that nobody understood, until somebody deals with them.
import { html } from "../vendor.js";
import { ActionButton } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query } from "../parts/router.js";
import { Badge, Empty, Time, formatNumber, shorten } from "../parts/show.js";
import { Filters, Listing } from "../parts/table.js";

const NAMES = ["kind", "state", "workflow", "queue", "contains", "since", "until"];
const KINDS = { open: "bad", retried: "busy", discarded: "mute", resolved: "good" };

function LettersPage() {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.value[name]]));
  const state = query.value.state ?? "open";
  const resource = useResource((options) => api.get("dead-letters", { ...options, query: { ...asked, state, after: query.value.after } }), [JSON.stringify(asked), query.value.after], { on: ["runs", "steering"] });
  return html`<${Page} title="Dead letters" about="What failed for good, or was not understood, until somebody deals with it."
      actions=${state === "open" && html`<${Many} asked=${asked} resource=${resource} />`}>
    <${Filters} fields=${[
      { name: "kind", label: "Kind", kind: "select", options: [["run", "Runs that failed"], ["message", "Messages"]] },
      { name: "state", label: "State", kind: "select", none: "open", options: Object.keys(KINDS).filter((one) => one !== "open") },
      { name: "workflow", label: "Workflow" },
      { name: "queue", label: "Queue" },
      { name: "contains", label: "Reason contains", kind: "search" },
      { name: "since", label: "Since", kind: "time" },
      { name: "until", label: "Before", kind: "time" },
    ]} />
    <${Listing} resource=${resource} what="The dead letters" caption="Dead letters, newest first" columns=${columns(resource.reload)}
      empty=${html`<${Empty} title=${state === "open" ? "Nothing to deal with" : "None in this state"} />`} />
  <//>`;
}

const columns = (reload) => [
  { head: "What", main: true, cell: (one) => html`<a href=${href("dead-letters", one.id)}>${one.workflow ?? one.queue ?? "message"}</a>${" "}<span class="soft small">${one.kind}</span>` },
  { head: "Reason", align: "whole", cell: (one) => one.reason ?? html`<span class="soft">not shown</span>` },
  { head: "Times", align: "right", cell: (one) => html`<span class="number">${formatNumber(one.times)}</span>` },
  { head: "Last seen", cell: (one) => html`<${Time} at=${one.last_seen_at} />` },
  { head: "State", cell: (one) => html`<${Badge} text=${one.state} kind=${KINDS[one.state]} />` },
  { head: "Do", cell: (one) => html`<${LetterActions} one=${one} reload=${reload} kind="quiet" />` },
];

/** What can be done with a dead letter that is open. */
export function LetterActions({ one, reload, kind = "" }) {
  if (one.state !== "open") return null;
  const path = `dead-letters/${one.id}`;
  return html`<span class="buttons">
    ${one.retryable && html`<${ActionButton} label="Retry" kind=${kind || "primary"} act=${() => api.post(`${path}/retry`)} after=${reload} done="It is tried again; if it fails again, it is open again." />`}
    <${ActionButton} label="Resolve" kind=${kind} act=${() => api.post(`${path}/resolve`)} after=${reload} done="It is resolved." />
    <${ActionButton} label="Discard" kind=${kind || "danger"} act=${() => api.post(`${path}/discard`)} after=${reload} ask="Nobody will be asked to deal with it again." done="It is discarded." />
  </span>`;
}

function Many({ asked, resource }) {
  if (!resource.data?.results.length) return null;
  const chosen = Object.fromEntries(Object.entries(asked).filter(([name, value]) => value && name !== "state"));
  const body = Object.keys(chosen).length ? chosen : { all: true };
  const what = Object.keys(chosen).length ? "all open dead letters that meet these filters" : "all open dead letters of this environment";
  const said = (answer) => `An operation has begun on ${formatNumber(answer.total)} dead letters (${shorten(answer.id)}).`;
  return html`
    <${ActionButton} label="Retry all" act=${() => api.post("dead-letters/retry", body)} ask=${`Retries ${what}.`} done=${said} after=${resource.reload} />
    <${ActionButton} label="Discard all" kind="danger" act=${() => api.post("dead-letters/discard", body)} ask=${`Discards ${what}.`} done=${said} after=${resource.reload} />`;
}

export default { path: "dead-letters", nav: { label: "Dead letters", order: 90 }, view: LettersPage };
