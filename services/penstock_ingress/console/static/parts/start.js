// Starting a run: a form made from a workflow's parameters, empty or filled with those of another run.
import { html } from "../vendor.js";
import { Dialog, Field, Form } from "./act.js";
import { api, parseExactly } from "./api.js";
import { useResource } from "./live.js";
import { href, navigate } from "./router.js";
import { ErrorNote, write } from "./show.js";
import { Loading } from "./table.js";

const TEXTS = new Set(["text", "date", "password"]);

/** The form in a window. `given`: parameters of a run that is to be like; `close`: what ends it. */
export function StartDialog({ workflow, given = {}, close }) {
  const { data, problem } = useResource((options) => api.get(`workflows/${encodeURIComponent(workflow)}`, options), [workflow], { every: 0 });
  let body = html`<${Loading} />`;
  if (problem) body = html`<${ErrorNote} problem=${problem} what="The workflow" />`;
  else if (data) body = html`<${StartForm} workflow=${workflow} parameters=${data.parameters} given=${given} cancel=${close} />`;
  return html`<${Dialog} title=${`Run ${workflow}`} close=${close} wide>${body}
    ${problem && html`<p class="buttons"><button type="button" onClick=${close}>Close</button></p>`}<//>`;
}

/** The form itself; it leads to the run that it starts. */
export function StartForm({ workflow, parameters, given = {}, cancel }) {
  const send = (values) => {
    const filled = Object.fromEntries(parameters.flatMap((one) => read(one, values[`p:${one.name}`], one.name in given)));
    const after = values.after.trim();
    return api.post("runs", { workflow, parameters: filled, ...(after ? { after } : {}) });
  };
  return html`<${Form} send=${send} label="Start run" cancel=${cancel} done=${(run) => `${run.workflow} is ${run.state}.`}
      after=${(run) => navigate(href("runs", run.id))}>
    ${parameters.length === 0 && html`<p class="soft">This workflow has no parameters.</p>`}
    ${parameters.map((one) => html`<${ParameterField} key=${one.name} parameter=${one} given=${given[one.name]} />`)}
    <${Field} name="after" label="Start after" hint="A duration such as 10m or 2h; empty: now." autocomplete="off" />
  <//>`;
}

function ParameterField({ parameter, given }) {
  const { name, type, is_optional: isOptional, default: standard } = parameter;
  const hint = [type, isOptional ? "optional" : "required", standard == null ? "" : `by default ${write(standard, 0)}`].filter(Boolean).join(", ");
  const field = { name: `p:${name}`, label: name, hint };
  if (type === "boolean") {
    const options = [["", isOptional ? "not given" : "choose"], ["true", "true"], ["false", "false"]];
    return html`<${Field} ...${field} kind="select" options=${options} value=${given == null ? "" : String(given)} />`;
  }
  if (type === "password") return html`<${Field} ...${field} kind="password" autocomplete="new-password" />`;
  if (type === "number") return html`<${Field} ...${field} value=${given == null ? "" : String(given)} inputmode="decimal" autocomplete="off" />`;
  if (typeof given === "string" || (given == null && TEXTS.has(type))) {
    const isLong = typeof given === "string" && (given.length > 80 || given.includes("\n"));
    return html`<${Field} ...${field} kind=${isLong ? "area" : "text"} value=${given ?? ""} autocomplete="off" />`;
  }
  return html`<${Field} ...${field} kind="area" value=${given == null ? "" : write(given)} hint=${`${hint}; as JSON`} />`;
}

// What was typed for a parameter, as [[name, value]]; nothing for one that is left out.
function read({ name, type, is_optional: isOptional }, text, isGiven) {
  if (text === "" && (isOptional || type !== "text") && !(isGiven && type === "text")) return [];
  if (TEXTS.has(type)) return [[name, text]];
  try {
    return [[name, parseExactly(text)]];
  } catch {
    if (type === "number" || type === "boolean" || type.startsWith("list of") || /^\s*[[{]/.test(text)) {
      throw new Error(`${name}: this is not JSON for ${type}; a text in it needs double quotes`);
    }
    return [[name, text]]; // the id of a thing, an option, an address
  }
}
