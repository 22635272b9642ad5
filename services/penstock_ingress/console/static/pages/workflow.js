// One workflow: starting a run of it, what it is, what its versions changed, who starts whom, and pausing it.
import { html } from "../vendor.js";
import { ActionButton, Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { ParameterFields, readParameters } from "../parts/parameters.js";
import { href, navigate } from "../parts/router.js";
import { may } from "../parts/session.js";
import { Badge, Empty, ErrorNote, Facts, Json, Time, write } from "../parts/show.js";
import { Loading, Stale, Table } from "../parts/table.js";
import { Starts } from "./workflows.js";

const EVERY = 5000;

function WorkflowPage({ name }) {
  const path = `workflows/${encodeURIComponent(name)}`;
  const { data, problem, reload } = useResource((options) => api.get(path, options), [name], { every: EVERY });
  if (data === undefined) {
    return html`<${Page} title=${name}>${problem ? html`<${ErrorNote} problem=${problem} what="The workflow" />` : html`<${Loading} />`}<//>`;
  }
  return html`<${Page} title=${data.name} about=${data.label === data.name ? null : data.label} actions=${html`<${Pausing} path=${path} pauses=${data.pauses} reload=${reload} />`}>
    ${problem && html`<${Stale} problem=${problem} />`}
    ${data.pauses.map((one) => html`<p key=${one.id} class="note wait"><strong>Paused</strong> <${Time} at=${one.paused_at} />${one.note && `: ${one.note}`}</p>`)}
    <div class="columns">
      ${may("operator") && html`<${Section} title="Start a run"><${Starter} workflow=${data} /><//>`}
      <${Section} title="The workflow"><${Facts} rows=${[
        ["Started by", data.triggers.join(", ") || "other runs and people alone"],
        ["Deployment", data.version],
        ["Runs", html`<a href=${href("runs", { workflow: data.name })}>List its runs</a>`],
        ["Coming", html`<a href=${href("schedule", { workflow: data.name })}>What is scheduled</a>`],
      ]} />
      <${Parameters} parameters=${data.parameters} /><//>
    </div>
    <${Neighbours} name=${data.name} />
    <${Versions} path=${path} name=${data.name} />
    <${Section} title="Definition" about="What is as it is by default is left out."><${Json} value=${spell(data.definition)} label="the definition" /><//>
  <//>`;
}

function Pausing({ path, pauses, reload }) {
  const isPaused = pauses.some((one) => one.chain === null && one.list === null && one.since === null && one.until === null);
  if (!isPaused) {
    return html`<${ActionButton} label="Pause" act=${() => api.post(`${path}/pause`, { note: "paused in the console" })} after=${reload}
      ask="No run of it starts until it is resumed; new runs are accepted and wait." done="The workflow is paused." />`;
  }
  return html`<${ActionButton} label="Resume" kind="primary" act=${() => api.post(`${path}/resume`, { missed: "queue" })} after=${reload} done="The workflow is resumed; what became due meanwhile runs." />
    <${ActionButton} label="Resume, drop what was missed" kind="danger" act=${() => api.post(`${path}/resume`, { missed: "drop" })} after=${reload}
      ask="Runs that became due meanwhile and had not begun are cancelled." done="The workflow is resumed; what was missed is dropped." />`;
}

function Starter({ workflow }) {
  const send = (values) => {
    const wanted = { workflow: workflow.name, parameters: readParameters(workflow.parameters, values) };
    return api.post("runs", values.after ? { ...wanted, after: values.after } : wanted);
  };
  return html`<${Form} label="Start" send=${send} after=${(run) => navigate(href("runs", run.id))} done="A run has been accepted.">
    <${ParameterFields} parameters=${workflow.parameters} />
    <${Field} name="after" label="After" hint="A duration such as 10m or 2h; empty: at once" />
  <//>`;
}

function Parameters({ parameters }) {
  return html`<${Table} rows=${parameters} id=${({ name }) => name} caption="Parameters" empty=${html`<p class="soft">It has no parameters.</p>`} columns=${[
    { head: "Parameter", main: true, cell: (one) => html`<code>${one.name}</code>` },
    { head: "Type", cell: (one) => one.type },
    { head: "Needed", cell: (one) => (one.is_optional ? "no" : "yes") },
    { head: "Default", cell: (one) => (one.default == null ? html`<span class="soft">–</span>` : html`<code>${write(one.default, 0)}</code>`) },
  ]} />`;
}

function Neighbours({ name }) {
  const { data } = useResource((options) => api.get("graph", options), [name], { every: 0 });
  if (data === undefined) return null;
  const names = new Set([name, ...data.starts.filter((one) => one.workflow === name).map((one) => one.starts), ...data.starts.filter((one) => one.starts === name).map((one) => one.workflow)]);
  const cycles = data.cycles.filter(({ path }) => path.includes(name));
  return html`<${Section} title="Who starts whom">
    ${cycles.map((cycle) => html`<p key=${cycle.path.join()} class=${`note ${cycle.is_guarded ? "" : "wait"}`}><strong>${cycle.is_guarded ? "Cycle under a condition:" : "Cycle without a condition:"}</strong>${" "}<span class="cycle">${cycle.path.join(" → ")}</span></p>`)}
    ${names.size > 1 || cycles.length > 0 ? html`<${Starts} graph=${data} names=${names} />` : html`<p class="soft">By the definitions, no workflow starts it, and it starts none.</p>`}
  <//>`;
}

const KINDS = { added: "good", changed: "busy", removed: "bad" };

function Versions({ path, name }) {
  const { data, problem } = useResource((options) => api.get(`${path}/versions`, options), [name], { every: 0 });
  return html`<${Section} title="Versions" about="Those of the last hundred deployments that changed it.">
    ${data === undefined
      ? problem ? html`<${ErrorNote} problem=${problem} what="The list of versions" />` : html`<${Loading} />`
      : html`<ol class="versions">${data.results.map((one) => html`<li key=${one.version}>
          <p><strong>Deployment ${one.version}</strong> <${Badge} text=${one.change} kind=${KINDS[one.change]} /> <${Time} at=${one.deployed_at} /></p>
          ${one.parts.length > 0 && html`<${Differences} parts=${one.parts} />`}</li>`)}</ol>
        ${data.results.length === 0 && html`<${Empty} title="None of them did" />`}`}
  <//>`;
}

function Differences({ parts }) {
  const show = (value) => (value === null ? html`<span class="soft">not there</span>` : typeof value === "object" ? html`<${Json} value=${value} />` : html`<code>${String(value)}</code>`);
  return html`<${Table} rows=${parts} id=${({ path }) => path} caption="What it changed" columns=${[
    { head: "Where", main: true, cell: (one) => html`<code>${one.path}</code>` },
    { head: "Before", align: "whole", cell: (one) => show(one.before) },
    { head: "After", align: "whole", cell: (one) => show(one.after) },
  ]} />`;
}

// Types of parameters as they are written: ["text", true, null] is a list of text.
function spell(definition) {
  const parameters = definition.parameters?.map((one) => ({ ...one, type: Array.isArray(one.type) ? `${one.type[1] ? "list of " : ""}${one.type[0]}` : one.type }));
  return parameters ? { ...definition, parameters } : definition;
}

export default { path: "workflows/:name", view: WorkflowPage };
