// The chains that want to be looked at: those that came near a limit, newest first; and any other by its id.
import { html } from "../vendor.js";
import { Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, navigate } from "../parts/router.js";
import { Badge, Empty, IdLink, Progress, Time, formatNumber } from "../parts/show.js";
import { Listing } from "../parts/table.js";

function ChainsPage() {
  const { data, ...rest } = useResource((options) => api.get("overview", options), [], { on: ["runs", "steering"] });
  const resource = { ...rest, data: data && { results: data.chains, after: null } };
  return html`<${Page} title="Chains" about="A chain is all runs that come from one root, through all that they schedule.">
    <${Section} title="Near a limit" about="Chains that reached 80 % of one of their limits within the last day.">
      <${Listing} resource=${resource} what="The list of chains" caption="Chains near a limit, newest first" columns=${NEAR}
        empty=${html`<${Empty} title="No chain came near a limit" />`} />
    <//>
    <${Section} title="Open a chain">
      <${Form} label="Open" role="viewer" send=${async ({ id }) => navigate(href("chains", id.trim()))}>
        <${Field} name="id" label="Id of the chain, or of any run of it" required spellcheck=${false} autocomplete="off" />
      <//><//>
  <//>`;
}

/** What lists of chains near a limit show. */
export const NEAR = [
  { head: "Chain", main: true, cell: (chain) => html`<${IdLink} page="chains" id=${chain.id} text=${chain.workflow ?? undefined} />` },
  { head: "Near the limit of", cell: (chain) => chain.near.join(", ") },
  { head: "Runs", cell: (chain) => (chain.near.includes("runs") ? html`<${Progress} value=${chain.runs} most=${chain.runs_limit} label="Runs of the chain" kind="wait" />` : html`<span class="number">${formatNumber(chain.runs)}</span>`) },
  { head: "Warned", cell: (chain) => html`<${Time} at=${chain.warned_at} />` },
  { head: "Now", cell: (chain) => (chain.stopped_at ? html`<${Badge} text="stopped" kind="bad" />` : html`<${Badge} text="not stopped" kind="mute" />`) },
];

export default { path: "chains", nav: { label: "Chains", order: 30 }, view: ChainsPage };
