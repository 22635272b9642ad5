// The workflows that are deployed, and who starts whom.
import { html } from "../vendor.js";
import { api } from "../parts/api.js";
import { Graph } from "../parts/graph.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href } from "../parts/router.js";
import { Badge, Empty, ErrorNote } from "../parts/show.js";
import { Loading, Stale, Table } from "../parts/table.js";

const EVERY = 10000;

function WorkflowsPage() {
  const { data, problem } = useResource((options) => api.get("graph", options), [], { every: EVERY });
  if (data === undefined) {
    return html`<${Page} title="Workflows">${problem ? html`<${ErrorNote} problem=${problem} what="The list of workflows" />` : html`<${Loading} />`}<//>`;
  }
  return html`<${Page} title="Workflows" about=${data.version ? `Deployment ${data.version}` : "Nothing is deployed yet."}>
    ${problem && html`<${Stale} problem=${problem} />`}
    <${Cycles} cycles=${data.cycles} />
    <${Table} rows=${data.workflows} id=${({ name }) => name} caption="Workflows" columns=${COLUMNS}
      empty=${html`<${Empty} title="No workflows"><code>penstock deploy DIR --environment E</code> brings them here.<//>`} />
    ${data.starts.length > 0 && html`<${Section} title="Who starts whom" about="By what the definitions say; steps in Python are not read. A dashed line has a condition on it.">
      <${Starts} graph=${data} /><//>`}
  <//>`;
}

const COLUMNS = [
  { head: "Workflow", main: true, cell: (one) => html`<a href=${href("workflows", one.name)}>${one.name}</a>${one.label && one.label !== one.name && html` <span class="soft">${one.label}</span>`}` },
  { head: "Started by", cell: (one) => one.triggers.join(", ") || html`<span class="soft">other runs, people</span>` },
  { head: "Recursion", cell: (one) => (one.is_recursive ? "meant" : html`<span class="soft">–</span>`) },
  { head: "State", cell: (one) => (one.is_paused ? html`<${Badge} text="paused" kind="wait" />` : html`<${Badge} text="open" kind="good" />`) },
];

function Cycles({ cycles }) {
  const bare = cycles.filter(({ is_guarded: isGuarded }) => !isGuarded);
  if (bare.length === 0) return null;
  return html`<div class="verdict">${bare.map((cycle) => html`<p key=${cycle.path.join()} class="note wait"><strong>Cycle without a condition:</strong>${" "}<span class="cycle">${cycle.path.join(" → ")}</span>${" "}${cycle.is_meant ? "It is meant; only a limit ends it." : "Only a limit ends it."}${" "}<span class="soft">${cycle.place}</span></p>`)}</div>`;
}

/** Who starts whom, as a picture. `names`: only these workflows. */
export function Starts({ graph, names = null }) {
  const bare = new Set(graph.cycles.filter(({ is_guarded: isGuarded }) => !isGuarded).flatMap(({ path }) => path));
  const round = new Set(graph.cycles.flatMap(({ path }) => path.slice(1).map((name, index) => `${path[index]} ${name}`)));
  const shown = graph.workflows.filter(({ name }) => names === null || names.has(name));
  const nodes = shown.map((one) => ({
    id: one.name, title: one.name, lines: [one.triggers.join(", ") || (bare.has(one.name) ? "" : "no trigger"), bare.has(one.name) && "cycle, no condition"].filter(Boolean),
    kind: one.is_paused ? "wait" : "mute", isMarked: bare.has(one.name), address: href("workflows", one.name),
    label: `${one.name}${one.is_paused ? ", paused" : ""}${bare.has(one.name) ? ", on a cycle without a condition" : ""}`,
  }));
  const edges = graph.starts.map((one) => ({
    from: one.workflow, to: one.starts, kind: `${one.is_guarded ? "guarded" : ""} ${round.has(`${one.workflow} ${one.starts}`) ? "round" : ""}`,
  }));
  return html`<${Graph} nodes=${nodes} edges=${edges.filter(({ from, to }) => names === null || (names.has(from) && names.has(to)))} label="Who starts whom" direction="LR" />`;
}

export default { path: "workflows", nav: { label: "Workflows", order: 70 }, view: WorkflowsPage };
