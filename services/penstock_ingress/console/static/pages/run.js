// One run: why it waits, what it belongs to, what it did step by step, and what can be done about it.
import { html, useState } from "../vendor.js";
import { ActionButton } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href } from "../parts/router.js";
import { may, seesPayloads } from "../parts/session.js";
import { Badge, Copyable, Duration, Empty, ErrorNote, Facts, IdLink, Json, Progress, Time, formatNumber, hasEnded } from "../parts/show.js";
import { RetryDialog } from "../parts/retry.js";
import { StartDialog } from "../parts/start.js";
import { Loading, Stale, Table } from "../parts/table.js";
import { LogLines } from "../parts/lines.js";
import { Timeline } from "../parts/timeline.js";

const WAITS = {
  due: "Its time has not come.",
  time: "A step waits for a time.",
  signal: "A step waits for a signal.",
  runs: "A step waits for other runs to end.",
  concurrency: "Its workflow performs as many runs at once as it may.",
  rate: "Its workflow has started as many runs as it may for now.",
  sequence: "The run before it in its sequence has not ended.",
  debounce: "Another run of its key may replace it until its time has come.",
  retry: "It failed, or one of its steps did, and is tried again later.",
  paused: "It is due, and a pause of the schedule holds it.",
  executor: "It is due, and no executor has taken it yet.",
};

function RunPage({ id }) {
  const { data: run, problem, reload } = useResource((options) => api.get(`runs/${encodeURIComponent(id)}`, options), [id]);
  if (run === undefined) {
    return html`<${Page} title="Run">${problem ? html`<${ErrorNote} problem=${problem} what="The run" />` : html`<${Loading} />`}<//>`;
  }
  const title = html`${run.workflow} <${Badge} text=${run.state} />`;
  return html`<${Page} title=${title} name=${`${run.workflow}, ${run.state}`} about=${html`Run <${Copyable} text=${run.id} />`}
      actions=${html`<${Actions} run=${run} reload=${reload} />`}>
    ${problem && html`<${Stale} problem=${problem} />`}
    <div role="status">${run.waiting_for && html`<${Waiting} run=${run} />`}</div>
    ${run.error != null && html`<${RunError} run=${run} />`}
    <${Section} title="Facts"><${RunFacts} run=${run} /><//>
    <${Section} title="Steps" about=${stepsAbout(run)}><${Timeline} run=${run} /><//>
    <div class="columns">
      <${Section} title="Parameters"><${Payload} value=${run.parameters} label="parameters" /><//>
      <${Section} title="Result"><${Payload} value=${run.result} label="result" none="No result." /><//>
    </div>
    <${Section} title="Chain"><${Family} run=${run} /><//>
    <${Section} title="Log" actions=${html`<a class="button" href=${href("logs", { run: run.id })}>All lines</a>`}>
      <${LogLines} lines=${run.logs} empty="This run has written no lines." />
    <//>
  <//>`;
}

function Actions({ run, reload }) {
  const [isStarting, setStarting] = useState(false);
  const [isMending, setMending] = useState(false);
  const path = `runs/${run.id}`;
  return html`
    ${run.state === "failed" &&
    html`<${ActionButton} label="Retry" kind="primary" act=${() => api.post(`${path}/retry`)} after=${reload}
      done="It is taken up again, from the step that failed." />`}
    ${run.state === "failed" && may("operator") && html`<button type="button" onClick=${() => setMending(true)}>Retry with changes</button>`}
    ${isMending && html`<${RetryDialog} id=${run.id} close=${() => setMending(false)} after=${reload} />`}
    ${!hasEnded(run.state) &&
    html`<${ActionButton} label="Cancel run" kind="danger" act=${() => api.post(`${path}/cancel`)} after=${reload}
      ask="What it has done stays done; what is left is not performed. A cancelled run cannot be continued."
      done=${({ cancelled }) => (cancelled ? "The run is cancelled." : "It had ended before.")} />`}
    ${may("operator") && html`<button type="button" onClick=${() => setStarting(true)}>Start another</button>`}
    ${isStarting && html`<${StartDialog} workflow=${run.workflow} given=${run.parameters ?? {}} close=${() => setStarting(false)} />`}
  `;
}

function Waiting({ run }) {
  const { reason, key, holder, since } = run.waiting_for;
  return html`<p class="note wait"><strong>${WAITS[reason] ?? "It waits."}</strong>
    ${key && html` <code>${key}</code>.`}
    ${holder && html` Held by <${IdLink} page="runs" id=${holder} />.`}
    ${run.waiting?.until && html` Until <${Time} at=${run.waiting.until} />.`}
    ${reason === "due" && html` Due <${Time} at=${run.scheduled_at} />.`}
    ${since && html` Since <${Time} at=${since} />.`}</p>`;
}

function RunError({ run }) {
  const { error } = run;
  const message = typeof error === "object" ? error.message : error;
  return html`<div class="note bad"><strong>${run.state === "terminated" ? "Cut" : "Failed"}${error?.step ? html` in step <code>${error.step}</code>` : ""}</strong>
    ${message != null && html`<p>${String(message)}</p>`}
    <details><summary>The whole error</summary><${Json} value=${error} label="error" /></details></div>`;
}

function RunFacts({ run }) {
  const tries = run.attempts;
  const attempts = [`${tries.begun} begun`, tries.failed && `${tries.failed} failed`, tries.crashed && `${tries.crashed} lost with their executor`];
  return html`<${Facts} rows=${[
    ["Workflow", html`<a href=${href("workflows", run.workflow)}>${run.workflow}</a>${run.version == null ? "" : html` <span class="soft">version ${run.version}</span>`}`],
    ["Started by", html`${run.trigger}${run.recurrence ? html`, <a href=${href("recurrences", run.recurrence.id)}>a tick</a>` : ""}${run.webhook?.id ? html`, <a href=${href("webhooks", run.webhook.id)}>a delivery</a>` : ""}`],
    ["Created", html`<${Time} at=${run.created_at} exact />`],
    ["Due", html`<${Time} at=${run.scheduled_at} exact />`],
    ["Started", html`<${Time} at=${run.started_at} exact />`],
    ["Finished", html`<${Time} at=${run.finished_at} exact />`],
    ["Took", html`<${Duration} from=${run.started_at} until=${run.finished_at} />`],
    ["Attempts", attempts.filter(Boolean).join(", ")],
    ["Depth", run.depth_budget == null ? String(run.depth)
      : html`<${Progress} value=${run.depth} most=${run.depth_budget} label="Depth, of its limit" kind=${run.depth >= run.depth_budget ? "bad" : run.depth >= run.depth_budget * 0.8 ? "wait" : "good"} />`],
    ["Workload", html`<span class="number">${formatNumber(run.workload)}</span> <span class="soft">units</span>`],
    ["List", run.list_id ? html`<${IdLink} page="lists" id=${run.list_id} />` : undefined],
    ["User", run.user ?? undefined],
  ]} />`;
}

function Family({ run }) {
  const { data, problem } = useResource((options) => api.get("runs", { ...options, query: { parent: run.id, limit: 100 } }), [run.id], { every: hasEnded(run.state) ? 5000 : 1500 });
  const children = data?.results ?? [];
  const cut = children.filter(({ state }) => state === "terminated").length;
  return html`<${Facts} rows=${[
      ["Chain", html`<${IdLink} page="chains" id=${run.chain_id} text="the whole chain" />`],
      ["Parent", run.parent_run_id ? html`<${IdLink} page="runs" id=${run.parent_run_id} />` : "none: this is the root"],
      ["Children", html`${children.length}${data?.after ? " or more" : ""}${cut ? html` <${Badge} text=${`${cut} cut`} kind="bad" />` : ""}`],
    ]} />
    ${problem && html`<${Stale} problem=${problem} />`}
    ${children.length > 0 && html`<${Table} rows=${children} caption="Runs that this run has scheduled" columns=${CHILD_COLUMNS} />`}
    ${data?.after && html`<p><a href=${href("runs", { parent: run.id })}>All children</a></p>`}`;
}

const CHILD_COLUMNS = [
  { head: "Workflow", main: true, cell: (child) => html`<${IdLink} page="runs" id=${child.id} text=${child.workflow} />` },
  { head: "State", cell: (child) => html`<${Badge} text=${child.state} /> ${child.state === "terminated" && html`<strong class="cut">cut</strong>`}` },
  { head: "Due", cell: (child) => html`<${Time} at=${child.scheduled_at} />` },
  { head: "Why", align: "whole", cell: (child) => html`<span class="soft">${child.error?.message ?? WAITS[child.waiting_for?.reason] ?? ""}</span>` },
];

function Payload({ value, label, none = "None." }) {
  if (!seesPayloads()) return html`<p class="soft">Your token has no sight of payloads.</p>`;
  const isNothing = value == null || (typeof value === "object" && Object.keys(value).length === 0);
  return isNothing ? html`<p class="soft">${none}</p>` : html`<${Json} value=${value} label=${label} />`;
}

function stepsAbout(run) {
  return run.steps.length === 0 ? undefined : `${run.steps.length} steps, in the order in which they began. Open one for what it was given and what it gave.`;
}

export default { path: "runs/:id", view: RunPage };
