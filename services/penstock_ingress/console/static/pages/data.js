// The app's data, to look at: types, and things of one that meet constraints.
import { html, useState } from "../vendor.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query, setQuery } from "../parts/router.js";
import { Empty, ErrorNote, write } from "../parts/show.js";
import { Listing, Loading } from "../parts/table.js";

const WITHOUT_VALUE = new Set(["is_empty", "is_not_empty", "empty", "not empty"]);
const MAX_SHOWN = 200;

function DataPage({ name }) {
  const types = useResource((options) => api.get("data", options), [], { every: 0 });
  if (types.data === undefined) {
    return html`<${Page} title="Data">${types.problem ? html`<${ErrorNote} problem=${types.problem} what="The data" />` : html`<${Loading} />`}<//>`;
  }
  const type = types.data.results.find((one) => one.name === name) ?? (name ? undefined : types.data.results[0]);
  return html`<${Page} title=${type ? type.display : "Data"} about="To look at only; workflows and the Data API change it.">
    <nav class="buttons" aria-label="Data types">${types.data.results.map((one) => html`<a key=${one.name} class=${`button ${one === type ? "primary" : ""}`}
      aria-current=${one === type ? "page" : undefined} href=${href("data", one.name)}>${one.display}</a>`)}</nav>
    ${type ? html`<${Things} key=${type.name} type=${type} />` : html`<${Empty} title="No such data type" />`}
  <//>`;
}

function Things({ type }) {
  const { constraints, after } = query.value;
  const resource = useResource((options) => api.get(`data/${encodeURIComponent(type.name)}`, { ...options, query: { constraints, after } }), [constraints, after], { every: 0 });
  const chosen = read(constraints);
  const use = (next) => setQuery({ constraints: next.length ? JSON.stringify(next) : null });
  const fields = type.fields.filter((field) => field.name !== "_id");
  return html`<${Section} title="Constraints">
      ${chosen.length > 0 && html`<ul class="constraints">${chosen.map((one, index) => html`<li key=${index}><code>${one.key}</code>${" "}${one.constraint_type}${" "}${one.value !== undefined && html`<code>${write(one.value, 0)}</code>`}
        ${" "}<button type="button" class="quiet" onClick=${() => use(chosen.filter((_, other) => other !== index))}>Remove</button></li>`)}</ul>`}
      <${Adder} type=${type} add=${(one) => use([...chosen, one])} />
    <//>
    <${Listing} resource=${resource} what="The things" caption=${`Things of the type ${type.display}, newest first`} id=${(thing) => thing._id}
      empty=${html`<${Empty} title="No things">${chosen.length ? "None meets these constraints." : "None has been made yet."}<//>`}
      columns=${[
        { head: "_id", main: true, cell: (thing) => html`<code>${thing._id}</code>` },
        ...fields.map((field) => ({ head: field.name, cell: (thing) => html`<${Value} value=${thing[field.name]} />` })),
      ]} />`;
}

function Value({ value }) {
  if (value === undefined || value === null) return html`<span class="soft">–</span>`;
  const text = typeof value === "string" ? value : write(value, 0);
  return text.length > MAX_SHOWN ? html`<details><summary>${text.slice(0, MAX_SHOWN)} …</summary>${text}</details>` : text;
}

function Adder({ type, add }) {
  const [name, setName] = useState(type.fields[0].name);
  const [kind, setKind] = useState("");
  const [value, setValue] = useState("");
  const field = type.fields.find((one) => one.name === name);
  const taken = field.constraints.includes(kind) ? kind : field.constraints.includes("equals") ? "equals" : field.constraints[0];
  const submit = (event) => {
    event.preventDefault();
    add(WITHOUT_VALUE.has(taken) ? { key: name, constraint_type: taken } : { key: name, constraint_type: taken, value: parse(field, taken, value) });
    setValue("");
  };
  return html`<form class="form inline" onSubmit=${submit}>
    <div class="field"><label for="constraint-field">Field</label><select id="constraint-field" value=${name} onChange=${(event) => setName(event.target.value)}>
      ${type.fields.map((one) => html`<option key=${one.name} value=${one.name}>${one.name} (${one.type})</option>`)}</select></div>
    <div class="field"><label for="constraint-kind">Constraint</label><select id="constraint-kind" value=${taken} onChange=${(event) => setKind(event.target.value)}>
      ${field.constraints.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}</select></div>
    ${!WITHOUT_VALUE.has(taken) && html`<div class="field"><label for="constraint-value">Value</label>
      <input id="constraint-value" value=${value} autocomplete="off" spellcheck=${false} onInput=${(event) => setValue(event.target.value)} /></div>`}
    <p class="buttons"><button type="submit">Add</button></p>
  </form>`;
}

// Numbers, lists and places as JSON; everything else as the text that was typed.
function parse(field, kind, text) {
  if (field.type === "text" && !/\bin$/.test(kind)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function read(text) {
  try {
    const value = JSON.parse(text ?? "[]");
    return Array.isArray(value) ? value.filter((one) => one && typeof one === "object") : [];
  } catch {
    return [];
  }
}

export default { path: "data", nav: { label: "Data", order: 95 }, view: DataPage };

/** The same for one type, by its name in the address. */
export const dataType = { path: "data/:name", view: DataPage };
