// The log: searched by kind, time, user and text; followed live; and all lines of one run.
import { html, useEffect, useState } from "../vendor.js";
import { api } from "../parts/api.js";
import { Page } from "../parts/layout.js";
import { useResource, useStream } from "../parts/live.js";
import { href, query, setQuery } from "../parts/router.js";
import { Badge, Empty, ErrorNote, IdLink, Json, formatTime } from "../parts/show.js";
import { Filters, Loading, Stale } from "../parts/table.js";

const NAMES = ["kinds", "level", "contains", "user", "workflow", "run", "chain", "since", "until"];
const LEVELS = { debug: "mute", info: "mute", warning: "wait", error: "bad" };
const MAX_FOLLOWED = 500;
const KINDS = [
  ["running_event", "Started running workflow"], ["event_condition_passed", "Event condition passed"],
  ["event_condition_failed_terminating", "Event condition not passed"], ["running_action", "Running action"],
  ["action_condition_failed", "Action condition failed"], ["action_completed", "Finished running action"],
  ["event_completed", "Finished running workflow"], ["error_occurred_during_workflow_execution", "Workflow error"],
  ["plugin_action_console_output", "Output of a step"], ["scheduled_task_to_run", "Scheduled task to run"],
  ["scheduled_task_completed", "Scheduled task completed"], ["http_request", "HTTP request"], ["http_request_response", "HTTP response"],
  ["received_request_for_api_workflow", "Request for API workflow"], ["sending_email_failed", "Sending email failed"],
  ["event_waiting", "Waiting"], ["event_retried", "Retried"], ["event_cancelled", "Cancelled"], ["chain_near_its_depth_limit", "Chain near a limit"],
  ["chain_stopped", "Chain stopped"], ["chain_resumed", "Chain resumed"],
];

function LogsPage() {
  const asked = Object.fromEntries(NAMES.map((name) => [name, query.value[name]]));
  const key = JSON.stringify([asked, query.value.after]);
  const page = useResource((options) => api.get("logs", { ...options, query: { ...asked, after: query.value.after, limit: 100 } }), [key], { every: 0 });
  const [isFollowing, setFollowing] = useState(false);
  const [fresh, setFresh] = useState([]);
  useEffect(() => setFresh([]), [key, isFollowing]);
  useStream("logs/stream", { query: asked, onEvent: (_, line) => line?.at && setFresh((old) => [line, ...old].slice(0, MAX_FOLLOWED)) }, [key], isFollowing);
  const run = query.value.run;
  return html`<${Page} title=${run ? "Log of a run" : "Logs"} actions=${html`
      ${run && html`<a class="button" href=${href("runs", run)}>The run</a><a class="button" href=${href("logs")}>All lines</a>`}
      <a class="button" href=${api.url("logs/export", asked)} download>Export</a>
      <button type="button" class=${isFollowing ? "primary" : ""} aria-pressed=${isFollowing} onClick=${() => setFollowing(!isFollowing)}>Follow</button>`}>
    <${Filters} fields=${[
      { name: "contains", label: "Contains", kind: "search", hint: "'a phrase' OR word" },
      { name: "kinds", label: "Kind", kind: "select", options: KINDS },
      { name: "level", label: "Level, at least", kind: "select", options: Object.keys(LEVELS) },
      { name: "user", label: "User", hint: "email or id" },
      { name: "workflow", label: "Workflow" },
      { name: "since", label: "Since", kind: "time" },
      { name: "until", label: "Before", kind: "time" },
      { name: "run", label: "Run", hint: "id" },
      { name: "chain", label: "Chain", hint: "id" },
    ]} />
    ${isFollowing && html`<p class="soft" role="status">New lines appear as they are written.</p>`}
    <${Lines} page=${page} fresh=${fresh} />
  <//>`;
}

function Lines({ page, fresh }) {
  const { data, problem, isLoading } = page;
  if (data === undefined) return problem ? html`<${ErrorNote} problem=${problem} what="The log" />` : html`<${Loading} is=${isLoading} />`;
  const lines = [...fresh, ...data.results];
  return html`${problem && html`<${Stale} problem=${problem} />`}
    ${lines.length === 0
      ? html`<${Empty} title="No lines">${data.after ? "None of the lines that were looked through meets the filters; there are older ones." : "Nothing was logged that meets the filters."}<//>`
      : html`<ol class="log" aria-label="Lines of the log, newest first">${lines.map((line, index) => html`<${Line} key=${`${line.id} ${line.at} ${line.event} ${line.step} ${lines.length - index}`} line=${line} />`)}</ol>`}
    <nav class="pager" aria-label="Pages of the log">
      ${query.value.after && html`<button type="button" onClick=${() => setQuery({ after: null })}>Newest</button>`}
      ${data.after && html`<button type="button" onClick=${() => setQuery({ after: data.after })}>Older</button>`}
    </nav>`;
}

function Line({ line }) {
  return html`<li class=${`log-line ${LEVELS[line.level] ?? ""}`}>
    <time datetime=${line.at} title=${line.at}>${formatTime(new Date(line.at), { millis: true })}</time>
    <${Badge} text=${line.level} kind=${LEVELS[line.level]} />
    <span class="log-words"><strong>${line.event}</strong>${line.step && html`${" "}<code>${line.step}</code>`}${" "}${line.message}
      ${line.user_email && html`${" "}<span class="soft">${line.user_email}</span>`}
      ${line.details != null && html`<details><summary>Details</summary><${Json} value=${line.details} label="details of the line" /></details>`}</span>
    <span class="log-of">${line.workflow && html`<span class="soft">${line.workflow}</span>`}
      ${line.run_id && html`${" "}<${IdLink} page="runs" id=${line.run_id} />${" "}<button type="button" class="quiet" onClick=${() => setQuery({ run: line.run_id })}>Zoom</button>`}</span>
  </li>`;
}

export default { path: "logs", nav: { label: "Logs", order: 50 }, view: LogsPage };
