// What was consumed: by workflow, activity or hour, against the month's allowance.
import { html } from "../vendor.js";
import { api } from "../parts/api.js";
import { Chart } from "../parts/chart.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query } from "../parts/router.js";
import { Empty, ErrorNote, Facts, Progress, formatNumber } from "../parts/show.js";
import { Filters, Listing, Loading } from "../parts/table.js";

const WAYS = [["workflow", "Workflow"], ["activity", "Activity"], ["hour", "Hour"]];
const EVERY = 5000;

function WorkloadPage() {
  const by = query.value.by ?? "workflow";
  const asked = { by, since: query.value.since, until: query.value.until, workflow: query.value.workflow, after: query.value.after, limit: 100 };
  const resource = useResource((options) => api.get("workload", { ...options, query: asked }), [JSON.stringify(asked)], { every: EVERY });
  const hours = useResource((options) => api.get("workload", { ...options, query: { by: "hour", workflow: query.value.workflow, since: sinceDays(7), limit: 200 } }), [query.value.workflow], { every: EVERY * 4 });
  const settings = useResource((options) => api.get("settings", options), [], { every: 0 });
  return html`<${Page} title="Workload" about="In units, as each activity weighs. Sums of hours are written every few seconds.">
    ${resource.data && html`<${Month} month=${resource.data.month} settings=${settings.data} />`}
    <${Section} title="The last seven days">
      ${hours.data ? html`<${Hours} page=${hours.data} />` : hours.problem ? html`<${ErrorNote} problem=${hours.problem} what="The chart" />` : html`<${Loading} />`}
    <//>
    <${Section} title=${`By ${by}`}>
      <nav class="buttons" aria-label="Group by">${WAYS.map(([way, label]) => html`<a key=${way} class=${`button ${way === by ? "primary" : ""}`}
        aria-current=${way === by ? "true" : undefined} href=${href("workload", { ...query.value, by: way, after: null })}>${label}</a>`)}</nav>
      <${Filters} fields=${[
        { name: "workflow", label: "Workflow" },
        { name: "since", label: "Since", kind: "time" },
        { name: "until", label: "Before", kind: "time" },
      ]} />
      ${resource.data && html`<p class="soft">${formatNumber(resource.data.units)} units in all.</p>`}
      <${Listing} resource=${resource} what="The workload" caption=${`Workload by ${by}`} id=${(one) => one.workflow ?? one.activity ?? one.hour ?? "none"} columns=${columns(resource.data)}
        empty=${html`<${Empty} title="Nothing was consumed" />`} />
    <//>
  <//>`;
}

function Month({ month, settings }) {
  const share = month.allowance ? month.units / month.allowance : 0;
  const kind = share >= 1 ? "bad" : share >= 0.75 ? "wait" : "good";
  return html`<${Section} title="This month" actions=${html`<a href=${href("settings")}>Change the thresholds</a>`}><${Facts} rows=${[
    ["Consumed", `${formatNumber(month.units)} units`],
    ["Allowance", month.allowance ? html`<${Progress} value=${month.units} most=${month.allowance} label="Workload of this month" kind=${kind} />` : "none is set"],
    ["Mails at", month.allowance ? "75 % and 100 % of the allowance" : undefined],
    ["A spike is", settings && (settings.workload_spike_factor
      ? `an hour with ${formatNumber(settings.workload_spike_factor)} × the week's median, and at least ${formatNumber(settings.workload_spike_minimum)} units`
      : "not looked for")],
    ["Limit per chain", settings && (settings.chain_workload_limit === null ? "none" : `${formatNumber(settings.chain_workload_limit)} units`)],
  ]} /><//>`;
}

function Hours({ page }) {
  const known = new Map(page.results.map((one) => [Math.floor(new Date(one.hour).getTime() / 1000), one.units]));
  const end = Math.floor(Date.now() / 3600000) * 3600;
  const times = Array.from({ length: 7 * 24 }, (_, index) => end - (7 * 24 - 1 - index) * 3600);
  return html`<${Chart} times=${times} label="Workload by hour" unit="units" series=${[
    { name: "units", kind: "accent", isBar: true, values: times.map((time) => known.get(time) ?? 0) },
  ]} />`;
}

// To the hour, so that the same question is asked again.
const sinceDays = (days) => new Date(Math.floor(Date.now() / 3600000) * 3600000 - days * 86400000).toISOString();

const columns = (page) => [
  { head: "Of", main: true, cell: (one) => one.workflow ? html`<a href=${href("workflows", one.workflow)}>${one.workflow}</a>` : one.activity?.replaceAll("_", " ") ?? (one.hour ? new Date(one.hour).toLocaleString("en-GB") : "no workflow (Data API)") },
  { head: "Units", align: "right", cell: (one) => html`<span class="number">${formatNumber(one.units)}</span>` },
  { head: "Share", cell: (one) => html`<${Progress} value=${one.units} most=${page.units} label="Share of all" kind="good" />` },
  { head: page?.by === "activity" ? "Times" : "Runs", align: "right", cell: (one) => html`<span class="number">${formatNumber(one.count)}</span>` },
];

export default { path: "workload", nav: { label: "Workload", order: 80 }, view: WorkloadPage };
