// The runs of an environment, newest first, as they are accepted.
import { html } from "../vendor.js";
import { api } from "../parts/api.js";
import { Page } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { query } from "../parts/router.js";
import { Badge, Duration, Empty, IdLink, Time, hasEnded } from "../parts/show.js";
import { Filters, Listing } from "../parts/table.js";

export const STATES = ["scheduled", "queued", "running", "waiting", "succeeded", "failed", "skipped", "cancelled", "terminated"];
const NAMES = ["workflow", "state", "chain", "parent", "user", "since", "until", "contains", "after"];

function RunsPage() {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.value[name]]));
  const resource = useResource((options) => api.get("runs", { ...options, query: asked }), [JSON.stringify(asked)]);
  return html`<${Page} title="Runs">
    <${Filters} fields=${[
      { name: "workflow", label: "Workflow" },
      { name: "state", label: "State", kind: "select", options: STATES },
      { name: "since", label: "Created since", kind: "time" },
      { name: "until", label: "Created before", kind: "time" },
      { name: "contains", label: "Contains text", kind: "search" },
      { name: "user", label: "User", hint: "email or id" },
      { name: "chain", label: "Chain", hint: "id" },
    ]} />
    <${Listing} resource=${resource} what="The list of runs" caption="Runs, newest first" columns=${COLUMNS}
      empty=${html`<${Empty} title="No runs">Runs appear here the moment they are accepted.<//>`} />
  <//>`;
}

/** What lists of runs show. */
export const COLUMNS = [
  { head: "Workflow", main: true, cell: (run) => html`<${IdLink} page="runs" id=${run.id} text=${run.workflow} />` },
  { head: "State", cell: (run) => html`<${Badge} text=${run.state} />` },
  { head: "Created", cell: (run) => html`<${Time} at=${run.created_at} />` },
  { head: "Took", cell: (run) => html`<${Duration} from=${run.started_at} until=${run.finished_at ?? (hasEnded(run.state) ? run.started_at : null)} />` },
  { head: "Depth", align: "right", cell: (run) => html`<span class="number">${run.depth}</span>` },
  { head: "Chain", cell: (run) => html`<${IdLink} page="chains" id=${run.chain_id} />` },
];

export default { path: "runs", nav: { label: "Runs", order: 20 }, view: RunsPage };
