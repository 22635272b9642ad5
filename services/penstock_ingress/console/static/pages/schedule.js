// What is coming: runs, ticks, waits and items of lists, in order; and steering them.
import { html, useState } from "../vendor.js";
import { ActionButton, Dialog, Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query, setQuery } from "../parts/router.js";
import { may } from "../parts/session.js";
import { Badge, Empty, IdLink, Progress, Time, formatNumber } from "../parts/show.js";
import { Filters, Listing } from "../parts/table.js";

const TOPICS = ["schedule", "runs", "steering"];
const KINDS = { run: "Run", wait: "Run that waits", tick: "Tick", list: "Items of a list" };
const SHOWN = 25;
const PAGES = { run: "runs", wait: "runs" };

function SchedulePage() {
  const pauses = useResource((options) => api.get("schedule/pauses", options), [], { on: ["steering"] });
  const asked = Object.fromEntries(["workflow", "since", "until", "list", "chain", "after"].map((name) => [name, query.value[name]]).concat([["limit", SHOWN]]));
  const coming = useResource((options) => api.get("schedule", { ...options, query: asked }), [JSON.stringify(asked)], { on: TOPICS });
  const reload = () => Promise.all([pauses.reload(), coming.reload()]);
  return html`<${Page} title="Schedule" actions=${html`<${PauseAll} pauses=${pauses.data?.results} reload=${reload} />`}>
    <${Pauses} pauses=${pauses.data?.results ?? []} reload=${reload} />
    <${Section} title="Upcoming">
      <${Filters} fields=${[
        { name: "workflow", label: "Workflow" },
        { name: "since", label: "Due since", kind: "time" },
        { name: "until", label: "Due before", kind: "time" },
      ]} />
      <${Listing} resource=${{ ...coming, data: coming.data && { ...coming.data, after: null } }} what="The schedule" caption="What is coming, in order" id=${(entry) => `${entry.kind} ${entry.id}`} columns=${upcoming(reload)}
        empty=${html`<${Empty} title="Nothing is coming">Scheduled runs, ticks of recurrences and items of lists appear here.<//>`} />
      <${Turner} after=${coming.data?.after} />
    <//>
    <${Recurrences} />
    <${Lists} />
  <//>`;
}

// The schedule is in the order of time: what follows is later.
function Turner({ after }) {
  if (!after && !query.value.after) return null;
  return html`<nav class="pager" aria-label="Pages of the schedule">
    ${query.value.after && html`<button type="button" onClick=${() => setQuery({ after: null })}>Soonest</button>`}
    ${after && html`<button type="button" onClick=${() => setQuery({ after })}>Later</button>`}</nav>`;
}

function PauseAll({ pauses, reload }) {
  if (pauses === undefined) return null;
  const isPaused = pauses.some((one) => one.workflow === null && one.chain === null && one.list === null && one.since === null && one.until === null);
  return isPaused
    ? html`<${ActionButton} label="Resume the schedule" kind="primary" act=${() => api.post("schedule/resume", { missed: "queue" })} after=${reload}
        done="The schedule is resumed; what became due meanwhile runs." />`
    : html`<${ActionButton} label="Pause the schedule" kind="danger" act=${() => api.post("schedule/pause", { note: "paused in the console" })} after=${reload}
        ask="Nothing of this environment starts until it is resumed. What is being performed continues, and new runs are accepted and wait."
        done="The schedule is paused." />`;
}

function Pauses({ pauses, reload }) {
  if (pauses.length === 0) return null;
  return html`<div class="verdict">${pauses.map((one) => {
    const keys = Object.fromEntries(["workflow", "chain", "list", "since", "until"].map((name) => [name, one[name]]).filter(([, value]) => value !== null));
    const what = Object.entries(keys).map(([name, value]) => `${name} ${value}`).join(", ") || "everything in this environment";
    return html`<div key=${one.id} class="note wait pause"><p><strong>Paused:</strong>${" "}${what}, since${" "}<${Time} at=${one.paused_at} />${one.note && ` (${one.note})`}</p>
      <span class="buttons">
        <${ActionButton} label="Resume" act=${() => api.post("schedule/resume", { ...keys, missed: "queue" })} after=${reload} done="Resumed; what became due meanwhile runs." />
        <${ActionButton} label="Resume, drop what was missed" act=${() => api.post("schedule/resume", { ...keys, missed: "drop" })} after=${reload} kind="danger"
          ask="Runs that became due during the pause and had not begun are cancelled, and ticks are passed over." done="Resumed; what was missed is dropped." />
      </span></div>`;
  })}</div>`;
}

const upcoming = (reload) => [
  { head: "Workflow", main: true, cell: (entry) => PAGES[entry.kind] ? html`<${IdLink} page=${PAGES[entry.kind]} id=${entry.id} text=${entry.workflow} />` : entry.workflow },
  { head: "Due", cell: (entry) => html`<${Time} at=${entry.at} />` },
  { head: "What", cell: (entry) => html`${KINDS[entry.kind]}${entry.remaining !== null && `, ${formatNumber(entry.remaining)} left`}` },
  { head: "Held", cell: (entry) => (entry.paused ? html`<${Badge} text="paused" kind="wait" />` : html`<span class="soft">–</span>`) },
  { head: "Chain", cell: (entry) => html`<${IdLink} page="chains" id=${entry.chain_id} />` },
  {
    head: "Do",
    cell: (entry) => html`<span class="buttons">
      ${entry.kind === "run" && html`<${ActionButton} label="Run now" kind="quiet" act=${() => api.post(`schedule/${entry.id}/move`, { after: "0s" })} after=${reload} done="It is due now." />`}
      <${ActionButton} label=${entry.kind === "tick" ? "Skip" : "Cancel"} kind="quiet" after=${reload} act=${() => api.remove(`schedule/${entry.id}`)}
        ask=${entry.kind === "list" ? "The items of the list that have no run yet are given up." : entry.kind === "tick" ? "This tick starts no run; the recurrence continues with the next one." : "The run is cancelled."} done="Done." />
    </span>`,
  },
];

function Recurrences() {
  const resource = useResource((options) => api.get("recurrences", { ...options, query: { limit: 100 } }), [], { on: TOPICS });
  const [filling, setFilling] = useState(null);
  const columns = [
    { head: "Workflow", main: true, cell: (one) => html`<a href=${href("workflows", one.workflow)}>${one.workflow}</a>` },
    { head: "When", cell: (one) => html`<code>${one.cron ?? every(one.every)}</code> <span class="soft small">${one.timezone}</span>` },
    { head: "Next", cell: (one) => html`<${Time} at=${one.next_tick_at} />` },
    { head: "Last", cell: (one) => html`<${Time} at=${one.last_tick_at} />${one.last_run && html` <a href=${href("runs", one.last_run.id)}>${one.last_run.state ?? "run"}</a>`}` },
    { head: "Missed", align: "right", cell: (one) => html`<span class="number">${formatNumber(one.missed)}</span>` },
    { head: "State", cell: (one) => html`<${Badge} text=${one.state} kind=${{ active: "good", paused: "wait" }[one.state] ?? "mute"} />${one.pause_note && html` <span class="small">${one.pause_note}</span>`}` },
    { head: "Do", cell: (one) => html`<${RecurrenceActions} one=${one} reload=${resource.reload} fill=${() => setFilling(one)} />` },
  ];
  return html`<${Section} title="Recurrences">
    <${Listing} resource=${resource} what="The list of recurrences" caption="Recurrences, by workflow" columns=${columns}
      empty=${html`<${Empty} title="No recurrences">A workflow with <code>on: recurrence</code>, or a step <code>recur</code>, makes one.<//>`} />
    ${filling && html`<${Backfill} one=${filling} close=${() => setFilling(null)} reload=${resource.reload} />`}
  <//>`;
}

const every = (period) => (typeof period === "string" ? period : period ? `every ${JSON.stringify(period)}` : "–");

function RecurrenceActions({ one, reload, fill }) {
  if (one.state === "ended") return null;
  const path = `recurrences/${one.id}`;
  return html`<span class="buttons">
    ${one.state === "paused"
      ? html`<${ActionButton} label="Resume" kind="quiet" act=${() => api.post(`${path}/resume`)} after=${reload} done="It ticks again." />`
      : html`<${ActionButton} label="Pause" kind="quiet" act=${() => api.post(`${path}/pause`)} after=${reload} done="It does not tick until it is resumed." />`}
    <${ActionButton} label="Trigger" kind="quiet" act=${() => api.post(`${path}/trigger`)} after=${reload} done="A run has started, as a tick would." />
    ${may("operator") && html`<button type="button" class="quiet" onClick=${fill}>Backfill …</button>`}
  </span>`;
}

function Backfill({ one, close, reload }) {
  const read = (text) => new Date(text).toISOString();
  return html`<${Dialog} title=${`Backfill ${one.workflow}`} close=${close}>
    <p class="soft">Starts a run for each tick of that time that had none.</p>
    <${Form} label="Start the runs" cancel=${close} after=${() => (close(), reload())} done=${(answer) => `${formatNumber(answer.run_ids.length)} runs have started for ${formatNumber(answer.ticks)} ticks.`}
      send=${(values) => api.post(`recurrences/${one.id}/backfill`, { since: read(values.since), until: read(values.until) })}>
      <${Field} name="since" label="From" kind="datetime-local" required />
      <${Field} name="until" label="Until" kind="datetime-local" required />
    <//><//>`;
}

function Lists() {
  const resource = useResource((options) => api.get("lists", { ...options, query: { limit: 20 } }), [], { on: TOPICS });
  return html`<${Section} title="Lists">
    <${Listing} resource=${{ ...resource, data: resource.data && { ...resource.data, after: null } }} what="The lists" caption="The newest lists" columns=${lists(resource.reload)}
      empty=${html`<${Empty} title="No lists">A step <code>schedule_list</code> makes one, and <code>POST lists</code>.<//>`} />
  <//>`;
}

const lists = (reload) => [
  { head: "Workflow", main: true, cell: (list) => html`<a href=${href("workflows", list.workflow)}>${list.workflow}</a>` },
  { head: "State", cell: (list) => html`<${Badge} text=${list.paused ? "paused" : list.state} kind=${list.paused ? "wait" : { finished: "good", failed: "bad" }[list.state] ?? "busy"} />` },
  { head: "Ended", cell: (list) => html`<${Progress} value=${list.total - list.remaining} most=${list.total} label="Items that have ended" kind=${list.failed + list.terminated > 0 ? "bad" : "good"} />` },
  { head: "Failed", align: "right", cell: (list) => html`<span class="number">${formatNumber(list.failed + list.terminated)}</span>` },
  { head: "Rate", cell: (list) => (list.rate ? `${formatNumber(list.rate)}/s` : html`<span class="soft">–</span>`) },
  { head: "Expected end", cell: (list) => (list.finished_at ? html`<${Time} at=${list.finished_at} />` : html`<${Time} at=${list.expected_end} />`) },
  {
    head: "Do",
    cell: (list) => html`<span class="buttons">
      ${list.remaining > 0 && (list.paused
        ? html`<${ActionButton} label="Resume" kind="quiet" act=${() => api.post(`lists/${list.id}/resume`)} after=${reload} done="The list continues." />`
        : html`<${ActionButton} label="Pause" kind="quiet" act=${() => api.post(`lists/${list.id}/pause`)} after=${reload} done="No item starts until it is resumed." />`)}
      ${list.remaining > 0 && html`<${ActionButton} label="Cancel" kind="quiet" act=${() => api.post(`lists/${list.id}/cancel`)} after=${reload} ask="Items that have not ended are given up or cancelled." done="The list is being cancelled." />`}
      ${list.failed > 0 && html`<${ActionButton} label="Retry failed" kind="quiet" act=${() => api.post(`lists/${list.id}/retry`)} after=${reload} done="Its failed items are taken up again." />`}
    </span>`,
  },
];

export default { path: "schedule", nav: { label: "Schedule", order: 40 }, view: SchedulePage };
