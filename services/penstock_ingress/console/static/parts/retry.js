// Retrying a failed run with what was mended: from another step, by the current definition, with other parameters.
import { html } from "../vendor.js";
import { Dialog, Field, Form } from "./act.js";
import { api, parseExactly } from "./api.js";
import { useResource } from "./live.js";
import { seesPayloads } from "./session.js";
import { ErrorNote, write } from "./show.js";
import { Loading } from "./table.js";

/** The form in a window. `id`: of the run; `after`: what follows a retry. */
export function RetryDialog({ id, close, after }) {
  const { data: run, problem } = useResource((options) => api.get(`runs/${id}`, options), [id], { every: 0, on: [] });
  let body = html`<${Loading} />`;
  if (run) body = html`<${RetryForm} run=${run} close=${close} after=${after} />`;
  else if (problem) body = html`<${ErrorNote} problem=${problem} what="The run" /><p class="buttons"><button type="button" onClick=${close}>Close</button></p>`;
  return html`<${Dialog} title="Retry with changes" close=${close} wide>${body}<//>`;
}

function RetryForm({ run, close, after }) {
  const { data: workflow } = useResource((options) => api.get(`workflows/${encodeURIComponent(run.workflow)}`, options), [run.workflow], { every: 0, on: [] });
  const finish = async (answer) => {
    close();
    await after?.(answer);
  };
  return html`<${Form} send=${(values) => api.post(`runs/${run.id}/retry`, read(values, run))} label="Retry" cancel=${close}
      done="It is taken up again." after=${finish}>
    <${Field} name="from" label="From step" list="steps-of-the-run" autocomplete="off"
      hint="This step and all after it are performed again; those before it stay finished. Empty: the step that failed." />
    <datalist id="steps-of-the-run">${stepsOf(run, workflow).map((name) => html`<option key=${name} value=${name} />`)}</datalist>
    <${Field} name="version" label="Definition" kind="select" value="pinned"
      options=${[["pinned", run.version == null ? "the one it began with" : `version ${run.version}, with which it began`], ["current", "the one that is deployed now"]]} />
    ${seesPayloads() && html`<${Field} name="parameters" label="Parameters" kind="area" rows="8" value=${write(run.parameters ?? {})}
      hint="As JSON. What you change is replaced; what you leave out stays as it is." />`}
  <//>`;
}

// Steps of the workflow itself, in order: those that are deployed, then others that the run has performed.
function stepsOf(run, workflow) {
  const performed = run.steps.map(({ step }) => step).filter((path) => !/[[/]/.test(path));
  return [...new Set([...(workflow?.definition.steps ?? []).map(({ id }) => id), ...performed])].filter(Boolean);
}

function read({ from, version, parameters }, run) {
  const changed = parameters === undefined ? {} : findChanged(parameters, run.parameters ?? {});
  return {
    ...(from.trim() ? { from: from.trim() } : {}),
    ...(version === "pinned" ? {} : { version }),
    ...(Object.keys(changed).length ? { parameters: changed } : {}),
  };
}

function findChanged(text, before) {
  let given;
  try {
    given = parseExactly(text);
  } catch (error) {
    throw new Error(`parameters: this is not JSON (${error.message})`);
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new Error('parameters: expected an object, such as {"name": "value"}');
  }
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => !(name in before) || write(value, 0) !== write(before[name], 0)));
}
