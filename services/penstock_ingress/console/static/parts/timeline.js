// What a run did, step by step: each with a bar that says when it was performed, and behind it what it got and gave.
import { html, useState } from "../vendor.js";
import { api } from "./api.js";
import { useResource } from "./live.js";
import { seesPayloads } from "./session.js";
import { Badge, Empty, ErrorNote, Json, Time, formatSeconds, hasEnded } from "./show.js";
import { Loading, Table } from "./table.js";

const KINDS = { succeeded: "good", failed: "bad", skipped: "mute", waiting: "wait" };
const MIN_WIDTH = 0.6;

/** The steps of a run as `runs/{id}` shows them. */
export function Timeline({ run }) {
  const { data: workflow } = useResource((options) => api.get(`workflows/${encodeURIComponent(run.workflow)}`, options), [run.workflow], { every: 0 });
  if (run.steps.length === 0) {
    return html`<${Empty} title=${hasEnded(run.state) ? "No step was performed" : "No step has ended yet"} />`;
  }
  const written = workflow && workflow.version === run.version ? index(workflow.definition.steps) : new Map();
  const span = measure(run);
  return html`<ol class="steps">${run.steps.map(
    (step) => html`<li key=${step.step}><${Step} run=${run} step=${step} span=${span} written=${written.get(step.step.split("/").at(-1))} /></li>`,
  )}</ol>`;
}

function Step({ run, step, span, written }) {
  const [isOpen, setOpen] = useState(false);
  const seconds = (new Date(step.finished_at) - new Date(step.started_at)) / 1000;
  return html`<details class="step" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>
      <span class="step-name"><strong>${step.step}</strong> <span class="soft">${step.action}</span></span>
      <${Badge} text=${step.outcome} kind=${KINDS[step.outcome]} />
      <${Bars} step=${step} span=${span} />
      <span class="number">${formatSeconds(Math.max(seconds, 0))}</span>
    </summary>
    <div class="step-body">
      ${isOpen && seesPayloads() && html`<div><h3>What it was given</h3><${Inputs} run=${run} step=${step} /></div>`}
      ${written && html`<div><h3>As it is written</h3><${Json} value=${written} label=${`definition of ${step.step}`} /></div>`}
      ${step.error != null && html`<div><h3>Error</h3><${Json} value=${step.error} label=${`error of ${step.step}`} /></div>`}
      ${step.result != null && html`<div><h3>Result</h3><${Json} value=${step.result} label=${`result of ${step.step}`} /></div>`}
      ${!seesPayloads() && html`<p class="soft">Your token has no sight of payloads.</p>`}
      ${step.tries.length > 0 && html`<div class="whole"><h3>Tries</h3><${Table} rows=${step.tries} caption=${`Tries of ${step.step}`} columns=${TRIES}
        id=${(one) => `${one.attempt}/${one.started_at}`} /></div>`}
    </div>
  </details>`;
}

// Inputs are not stored: the server evaluates the arguments of the step again, and says what it cannot know.
function Inputs({ run, step }) {
  const { data, problem } = useResource((options) => api.get(`runs/${run.id}/inputs`, { ...options, query: { step: step.step } }), [run.id, step.step, step.finished_at], { every: 0, on: [] });
  if (problem) return html`<${ErrorNote} problem=${problem} what="What it was given" />`;
  if (data === undefined) return html`<${Loading} />`;
  return html`${data.changed_at && html`<p class="note wait">The run was retried with other parameters or by another version after this step, which may have been given something else.</p>`}
    ${data.inputs != null && html`<${Json} value=${data.inputs} label=${`inputs of ${step.step}`} />`}
    ${data.notes.length > 0 && html`<ul class="notes">${data.notes.map(({ at, why }) => html`<li key=${at}>${at && html`<code>${at}</code>: `}${why}</li>`)}</ul>`}`;
}

// Bars are an SVG, because the policy for content forbids style attributes; what they say stands beside them as text.
function Bars({ step, span }) {
  const tries = step.tries.length > 0 ? step.tries : [step];
  return html`<svg class="bars" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rail" x="0" y="3.4" width="100" height="1.2" />
    ${tries.map((one, position) => {
      const from = place(one.started_at, span);
      const width = Math.max(place(one.finished_at ?? step.finished_at, span) - from, MIN_WIDTH);
      const isLast = position === tries.length - 1;
      return html`<rect key=${position} class=${isLast ? KINDS[step.outcome] : "bad"} x=${Math.min(from, 100 - width)} y="0" width=${width} height="8" rx="0.8" />`;
    })}
  </svg>`;
}

const TRIES = [
  { head: "Attempt", main: true, cell: (one) => `attempt ${one.attempt}` },
  { head: "Started", cell: (one) => html`<${Time} at=${one.started_at} exact />` },
  { head: "Took", cell: (one) => (one.finished_at ? formatSeconds(Math.max(new Date(one.finished_at) - new Date(one.started_at), 0) / 1000) : "waits") },
  { head: "Status", cell: (one) => one.status ?? "–" },
  { head: "Error", align: "whole", cell: (one) => (one.error == null ? "–" : html`<code>${one.error.message ?? JSON.stringify(one.error)}</code>`) },
  { head: "Next after", cell: (one) => (one.pause_seconds == null ? "–" : formatSeconds(Number(one.pause_seconds))) },
];

function measure(run) {
  const times = run.steps.flatMap((step) => [step.started_at, step.finished_at, ...step.tries.map((one) => one.started_at)]).map((text) => new Date(text).getTime());
  const from = Math.min(...times);
  return { from, width: Math.max(Math.max(...times) - from, 1) };
}

const place = (at, span) => ((new Date(at).getTime() - span.from) / span.width) * 100;

// By id: every step of a definition, those inside of others included.
function index(steps, found = new Map()) {
  for (const step of Array.isArray(steps) ? steps : []) {
    if (step && typeof step === "object") {
      if (step.id) found.set(step.id, step);
      for (const inner of Object.values(step)) if (Array.isArray(inner)) index(inner, found);
    }
  }
  return found;
}
