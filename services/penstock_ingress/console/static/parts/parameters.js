// A form made from the parameters that a workflow declares.
import { html } from "../vendor.js";
import { Field } from "./act.js";
import { write } from "./show.js";

const NONE = "";

/** The fields of such a form. `values`: what is filled in, by name. */
export function ParameterFields({ parameters, values = {} }) {
  return parameters.map((parameter) => html`<${ParameterField} key=${parameter.name} parameter=${parameter} value=${values[parameter.name]} />`);
}

function ParameterField({ parameter, value }) {
  const { name, type, is_optional: isOptional } = parameter;
  const hint = [type, isOptional ? (parameter.default == null ? "optional" : `optional; ${write(parameter.default, 0)} if it is left empty`) : null].filter(Boolean).join(", ");
  const shared = { name: `p.${name}`, label: name, hint, required: !isOptional };
  switch (type) {
    case "text":
      return html`<${Field} ...${shared} kind=${String(value ?? "").includes("\n") ? "area" : "text"} value=${value} required=${false} />`;
    case "number":
      return html`<${Field} ...${shared} kind="number" step="any" value=${value} />`;
    case "boolean":
      return html`<${Field} ...${shared} kind="select" options=${[[NONE, "not given"], ["true", "yes"], ["false", "no"]]} value=${value == null ? NONE : String(value)} />`;
    case "date":
      return html`<${Field} ...${shared} value=${value} hint=${`${hint}; such as 2030-01-31T09:00:00Z`} />`;
    default:
      return html`<${Field} ...${shared} kind="area" rows="3" value=${value === undefined ? "" : write(value)} hint=${`${hint}, as JSON (a text without quotes is taken as one)`} />`;
  }
}

/** What somebody has filled in, as the parameters of a run. Throws Error for what is not JSON where it has to be. */
export function readParameters(parameters, values) {
  const read = {};
  for (const { name, type, is_optional: isOptional } of parameters) {
    const text = values[`p.${name}`] ?? "";
    if (text === NONE && (isOptional || type !== "text")) continue;
    read[name] = readValue(name, type, text);
  }
  return read;
}

function readValue(name, type, text) {
  if (type === "text" || type === "date") return text;
  if (type === "number") return Number(text);
  if (type === "boolean") return text === "true";
  try {
    return JSON.parse(text);
  } catch {
    if (/^\s*[[{"]/.test(text) || type.startsWith("list of")) throw new Error(`${name}: this is not JSON`);
    return text;
  }
}
