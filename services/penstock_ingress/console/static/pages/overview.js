// What an environment does, at a glance.
import { html } from "../vendor.js";
import { api } from "../parts/api.js";
import { Chart } from "../parts/chart.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href } from "../parts/router.js";
import { Badge, Empty, ErrorNote, IdLink, Time, formatNumber, formatSeconds } from "../parts/show.js";
import { Loading, Stale, Table } from "../parts/table.js";
import { NEAR } from "./chains.js";

const OUTCOMES = [["succeeded", "good"], ["failed", "bad"], ["terminated", "wait"], ["skipped", "mute"], ["cancelled", "accent"]];
const REASONS = {
  due: "Not due yet", time: "Wait for a time", signal: "Wait for a signal", runs: "Wait for other runs", concurrency: "Held by a limit of runs at once",
  rate: "Held by a rate", sequence: "Held by their sequence", debounce: "Wait for quiet", retry: "To be tried again", paused: "Held by a pause",
  executor: "Wait for an executor", running: "Being performed",
};
const LATE_SECONDS = 10;

function OverviewPage() {
  const { data, problem } = useResource((options) => api.get("overview", options), [], { on: ["runs", "steering"] });
  if (data === undefined) {
    return html`<${Page} title="Overview">${problem ? html`<${ErrorNote} problem=${problem} what="The overview" />` : html`<${Loading} />`}<//>`;
  }
  return html`<${Page} title="Overview">
    ${problem && html`<${Stale} problem=${problem} />`}
    <${Figures} data=${data} />
    <${Section} title="Runs per minute" about="As the services counted them in the last hour; the last seconds are not in it yet."><${Minutes} data=${data} /><//>
    <div class="columns">
      <${Section} title="Runs that have not ended"><${Live} data=${data} /><//>
      <${Section} title="Services"><${Replicas} replicas=${data.replicas} /><//>
    </div>
    <${Section} title="Chains near a limit" actions=${html`<a href=${href("chains")}>All chains</a>`}>
      <${Table} rows=${data.chains} caption="Chains near a limit, newest first" columns=${NEAR} empty=${html`<${Empty} title="No chain came near a limit in the last day" />`} />
    <//>
    <${Section} title="Recent errors" actions=${html`<a href=${href("runs", { state: "failed" })}>All failed runs</a>`}>
      <${Table} rows=${data.errors} caption="Runs that failed, newest first" columns=${ERRORS} empty=${html`<${Empty} title="No run has failed" />`} />
    <//>
  <//>`;
}

const ERRORS = [
  { head: "Workflow", main: true, cell: (error) => html`<${IdLink} page="runs" id=${error.id} text=${error.workflow} />` },
  { head: "Failed", cell: (error) => html`<${Time} at=${error.finished_at ?? error.created_at} />` },
  { head: "Why", align: "whole", cell: (error) => error.message ?? html`<span class="soft">not shown</span>` },
];

function Figures({ data }) {
  const last = data.minutes.reduce((sums, { outcomes }) => {
    for (const [name, runs] of Object.entries(outcomes)) sums[name] = (sums[name] ?? 0) + runs;
    return sums;
  }, {});
  const unwell = data.replicas.filter(({ health }) => health !== "working").length;
  const isLate = data.lateness_seconds > LATE_SECONDS;
  return html`<div class="gauges">
    <${Figure} name="Lateness" value=${data.lateness_seconds < 1 ? "none" : formatSeconds(data.lateness_seconds)} kind=${isLate ? "bad" : "good"}
      note="of the run that waits longest for an executor" />
    <${Figure} name="Being performed" value=${formatNumber(data.live.running ?? 0)} note=${data.is_exact ? "runs" : "runs, at least"} />
    <${Figure} name="Failed" value=${formatNumber(last.failed ?? 0)} kind=${last.failed ? "bad" : "good"} note=${`of ${formatNumber(last.admitted ?? 0)} runs admitted in the last hour`} />
    <${Figure} name="Services" value=${`${data.replicas.length - unwell} of ${data.replicas.length}`} kind=${unwell || data.replicas.length === 0 ? "bad" : "good"} note="work" />
  </div>`;
}

function Figure({ name, value, note, kind = "" }) {
  return html`<section class=${`gauge ${kind}`} aria-label=${name}><h2>${name}</h2>
    <p class="gauge-value"><span class="number">${value}</span></p><p class="soft small">${note}</p></section>`;
}

function Minutes({ data }) {
  const end = Math.floor(new Date(data.at).getTime() / 60000) * 60;
  const times = Array.from({ length: 60 }, (_, index) => end - (59 - index) * 60);
  const known = new Map(data.minutes.map(({ minute, outcomes }) => [Math.floor(new Date(minute).getTime() / 1000), outcomes]));
  const series = [["admitted", "busy"], ...OUTCOMES].map(([name, kind]) => ({
    name, kind, isDashed: name === "admitted", values: times.map((time) => known.get(time)?.[name] ?? 0),
  }));
  const shown = series.filter(({ name, values }) => ["admitted", "succeeded", "failed"].includes(name) || values.some(Boolean));
  return html`<${Chart} times=${times} series=${shown} label="Runs per minute in the last hour, by outcome" unit="runs" />`;
}

function Live({ data }) {
  const rows = Object.entries(data.live).map(([reason, runs]) => ({ id: reason, runs })).sort((one, other) => other.runs - one.runs);
  return html`${!data.is_exact && html`<p class="soft">There are more than 2,000 in one state: the counts are of the first 2,000.</p>`}
    <${Table} rows=${rows} caption="Runs that have not ended, by reason" empty=${html`<${Empty} title="Nothing waits, nothing runs" />`} columns=${[
      { head: "Why", main: true, cell: ({ id }) => REASONS[id] ?? id },
      { head: "Runs", align: "right", cell: ({ runs }) => html`<span class="number">${formatNumber(runs)}</span>` },
    ]} />`;
}

function Replicas({ replicas }) {
  return html`<${Table} rows=${replicas} caption="Processes of all services" empty=${html`<${Empty} title="No service has reported itself" />`} columns=${[
    { head: "Service", main: true, cell: (one) => one.service },
    { head: "Host", cell: (one) => html`<code>${one.host}</code>` },
    { head: "Health", cell: (one) => html`<${Badge} text=${one.health} kind=${one.health === "working" ? "good" : "bad"} />${one.stuck.length > 0 && html` <span class="small">${one.stuck.join("; ")}</span>`}` },
    { head: "Seen", cell: (one) => html`<${Time} at=${one.seen_at} />` },
    { head: "Runs since", cell: (one) => html`<${Time} at=${one.started_at} />` },
  ]} />`;
}

export default { path: "overview", nav: { label: "Overview", order: 10 }, view: OverviewPage };
