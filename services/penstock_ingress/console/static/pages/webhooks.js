// What came in by webhooks: the sources that are deployed, their deliveries, and what samples have suggested.
import { html } from "../vendor.js";
import { ActionButton } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query } from "../parts/router.js";
import { Badge, Copyable, Empty, ErrorNote, IdLink, Time, formatNumber } from "../parts/show.js";
import { Filters, Listing, Loading, Table } from "../parts/table.js";

const NAMES = ["source", "type", "outcome", "since", "until", "run", "after"];
const KINDS = { genuine: "good", unsigned: "wait", accepted: "good", unmatched: "mute" };

function WebhooksPage() {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.value[name]]));
  const resource = useResource((options) => api.get("deliveries", { ...options, query: asked }), [JSON.stringify(asked)]);
  return html`<${Page} title="Webhooks">
    <${Sources} />
    <${Section} title="Deliveries">
      <${Filters} fields=${[
        { name: "source", label: "Source" },
        { name: "type", label: "Type" },
        { name: "outcome", label: "Outcome", kind: "select", options: ["accepted", "unmatched"] },
        { name: "since", label: "Received since", kind: "time" },
        { name: "until", label: "Received before", kind: "time" },
      ]} />
      <${Listing} resource=${resource} what="The list of deliveries" caption="Deliveries, newest first" columns=${DELIVERIES}
        empty=${html`<${Empty} title="No deliveries">They appear here when a source has sent one that proved genuine.<//>`} />
    <//>
    <${DetectedParameters} />
  <//>`;
}

const DELIVERIES = [
  { head: "Source", main: true, cell: (one) => html`<${IdLink} page="webhooks" id=${one.id} text=${one.source} />` },
  { head: "Type", cell: (one) => one.type ?? "–" },
  { head: "Received", cell: (one) => html`<${Time} at=${one.received_at} />` },
  { head: "Verdict", cell: (one) => html`<${Verdict} of=${one} />` },
  { head: "Outcome", cell: (one) => html`<${Badge} text=${one.outcome} kind=${KINDS[one.outcome]} />` },
  { head: "Runs", cell: (one) => html`<${RunLinks} ids=${one.run_ids} />` },
  { head: "Copies", align: "right", cell: (one) => html`<span class="number">${formatNumber(one.duplicates)}</span>` },
];

/** Whether a delivery has proved who sent it, and whether it is a replay. */
export function Verdict({ of }) {
  return html`<${Badge} text=${of.verdict ?? "unknown"} kind=${KINDS[of.verdict] ?? "mute"} />
    ${of.origin_id && html` <${Badge} text="replay" kind="busy" />`}`;
}

/** Links to the runs that a delivery has started. */
export function RunLinks({ ids }) {
  if (ids.length === 0) return html`<span class="soft">none</span>`;
  const shown = ids.slice(0, 5);
  return html`${shown.map((id, position) => html`${position > 0 && ", "}<${IdLink} key=${id} page="runs" id=${id} />`)}
    ${ids.length > shown.length && html` <span class="soft">and ${ids.length - shown.length} more</span>`}`;
}

function Sources() {
  const { data, problem } = useResource((options) => api.get("sources", options), [], { on: ["steering"], every: 5000 });
  return html`<${Section} title="Sources" about="What app.yaml declares under sources. Others are answered 404.">
    ${data === undefined
      ? problem ? html`<${ErrorNote} problem=${problem} what="The list of sources" />` : html`<${Loading} />`
      : html`<${Table} rows=${data.results} id=${(one) => one.name} caption="Sources that are deployed" columns=${SOURCES}
          empty=${html`<${Empty} title="No sources">Declare one in app.yaml under <code>sources</code>.<//>`} />`}
  <//>`;
}

const SOURCES = [
  { head: "Name", main: true, cell: (one) => html`<a href=${href("webhooks", { source: one.name })}>${one.name}</a>` },
  { head: "Scheme", cell: (one) => one.scheme },
  { head: "Path", align: "whole", cell: (one) => html`<${Copyable} text=${one.path} />` },
  { head: "Workflows", align: "whole", cell: (one) => one.workflows.length === 0 ? html`<span class="soft">none listens</span>`
      : one.workflows.map(({ workflow, types }, position) => html`${position > 0 && ", "}<a key=${workflow} href=${href("workflows", workflow)}>${workflow}</a> <span class="soft">${types.join(", ")}</span>`) },
];

function DetectedParameters() {
  const { data, reload } = useResource((options) => api.get("detected", options), [], { on: ["steering"], every: 5000 });
  return html`<${Section} title="Detected parameters"
    about="What samples that were sent to a workflow's /initialize suggest. Take them over into the workflow's file.">
    <${Table} rows=${data?.results ?? []} id=${(one) => one.workflow} caption="Detected parameters, by workflow"
      columns=${[
        { head: "Workflow", main: true, cell: (one) => html`<a href=${href("workflows", one.workflow)}>${one.workflow}</a>` },
        { head: "Detected", cell: (one) => html`<${Time} at=${one.detected_at} />` },
        { head: "Suggestion", align: "whole", cell: (one) => html`<pre class="code" tabindex="0" aria-label=${`parameters of ${one.workflow}`}>${one.yaml}</pre>` },
        { head: "Accepted", cell: (one) => one.accepted_at
            ? html`<${Time} at=${one.accepted_at} /> by ${one.accepted_by}`
            : html`<${ActionButton} label="Mark as taken over" act=${() => api.post(`detected/${encodeURIComponent(one.workflow)}/accept`)} after=${reload}
                done="Noted. Put the suggestion into the workflow's file and deploy." />` },
      ]}
      empty=${html`<${Empty} title="Nothing detected">POST a sample to <code>/version-test/api/1.1/wf/WORKFLOW/initialize</code>.<//>`} />
  <//>`;
}

export default { path: "webhooks", nav: { label: "Webhooks", order: 60 }, view: WebhooksPage };
