// The chains of an environment, newest first, and those that want to be looked at; and any other by its id.
import { html } from "../vendor.js";
import { Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, navigate, query } from "../parts/router.js";
import { Badge, Empty, IdLink, Progress, Time, formatNumber } from "../parts/show.js";
import { Filters, Listing } from "../parts/table.js";

const NAMES = ["mark", "workflow", "since", "until", "after"];
const MARKS = [["near", "Near a limit"], ["cut", "Cut at a limit"], ["stopped", "Stopped"]];

function ChainsPage() {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.value[name]]));
  const resource = useResource((options) => api.get("chains", { ...options, query: asked }), [JSON.stringify(asked)], { on: ["runs", "steering"] });
  return html`<${Page} title="Chains" about="A chain is all runs that come from one root, through all that they schedule.">
    <${Filters} fields=${[
      { name: "mark", label: "Only", kind: "select", options: MARKS },
      { name: "workflow", label: "Workflow of the root" },
      { name: "since", label: "Began since", kind: "time" },
      { name: "until", label: "Began before", kind: "time" },
    ]} />
    <${Listing} resource=${resource} what="The list of chains" caption="Chains, newest first" columns=${COLUMNS}
      empty=${html`<${Empty} title="No chains">A chain appears here when a run of it first schedules another.<//>`} />
    <${Section} title="Open a chain">
      <${Form} label="Open" role="viewer" send=${async ({ id }) => navigate(href("chains", id.trim()))}>
        <${Field} name="id" label="Id of the chain, or of any run of it" required spellcheck=${false} autocomplete="off" />
      <//><//>
  <//>`;
}

const CHAIN = { head: "Chain", main: true, cell: (chain) => html`<${IdLink} page="chains" id=${chain.id} text=${chain.workflow ?? undefined} />` };
const IS_NEAR = { head: "Near the limit of", cell: (chain) => chain.near.join(", ") };
const RUNS = { head: "Runs", cell: (chain) => (chain.near.includes("runs") ? html`<${Progress} value=${chain.runs} most=${chain.runs_limit} label="Runs of the chain" kind="wait" />` : html`<span class="number">${formatNumber(chain.runs)}</span>`) };
const COLUMNS = [
  CHAIN,
  { head: "Began", cell: (chain) => html`<${Time} at=${chain.created_at} />` },
  RUNS,
  IS_NEAR,
  { head: "Now", cell: (chain) => html`${chain.stopped_at && html`<${Badge} text="stopped" kind="bad" />`} ${chain.cut_at && html`<${Badge} text="cut at a limit" kind="wait" />`}` },
];

/** What lists of chains near a limit show. */
export const NEAR = [
  CHAIN,
  IS_NEAR,
  RUNS,
  { head: "Warned", cell: (chain) => html`<${Time} at=${chain.warned_at} />` },
  { head: "Now", cell: (chain) => (chain.stopped_at ? html`<${Badge} text="stopped" kind="bad" />` : html`<${Badge} text="not stopped" kind="mute" />`) },
];

export default { path: "chains", nav: { label: "Chains", order: 30 }, view: ChainsPage };
