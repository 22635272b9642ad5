// Tables that become cards on a narrow screen, and the way from one page of results to the next.
import { html, useState } from "../vendor.js";
import { Empty, ErrorNote } from "./show.js";
import { query, setQuery } from "./router.js";

/**
 * A table. `columns`: [{head, cell: (row) => …, align?: "right" or "whole" (its own line on a narrow screen), main?: true
 * (the row's name)}]; `id(row)`: its key;
 * `caption`: what is listed, for screen readers; `empty`: what to say when there is nothing.
 */
export function Table({ columns, rows, id = (row) => row.id, caption, empty }) {
  if (rows.length === 0) return empty ?? html`<${Empty} title="Nothing here" />`;
  return html`<table class="list">
    <caption class="unseen">${caption}</caption>
    <thead><tr>${columns.map(({ head, align }) => html`<th key=${head} scope="col" class=${align ?? ""}>${head || html`<span class="unseen">What can be done</span>`}</th>`)}</tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr key=${id(row)}>${columns.map(({ head, cell, align, main }) =>
        main
          ? html`<th key=${head} scope="row" class=${align ?? ""}>${cell(row)}</th>`
          : html`<td key=${head} data-head=${head} class=${align ?? ""}>${cell(row)}</td>`,
      )}</tr>`,
    )}</tbody>
  </table>`;
}

/**
 * What a resource of a list answers, as a table with its pages: `resource` is that of `useResource`; the rest as for
 * `Table`. The page after this one is named by `after` in the address.
 */
export function Listing({ resource, what, ...table }) {
  const { data, problem, isLoading } = resource;
  if (data === undefined) {
    return problem ? html`<${ErrorNote} problem=${problem} what=${what} />` : html`<${Loading} is=${isLoading} />`;
  }
  return html`<div class="listing">
    ${problem && html`<${Stale} problem=${problem} />`}
    ${data.results.length === 0 && data.after
      ? html`<${Empty} title="None here">None of those that were looked through meets the filters; there are older ones.<//>`
      : html`<${Table} rows=${data.results} ...${table} />`}
    <${Pager} after=${data.after} />
  </div>`;
}

/** That what is seen may be old, because asking again failed. */
export function Stale({ problem }) {
  return html`<p class="note wait" role="status">Not up to date: ${problem.message}</p>`;
}

export function Loading({ is = true }) {
  return is ? html`<p class="loading" role="status">Loading …</p>` : null;
}

function Pager({ after }) {
  const isLater = query.value.after !== undefined;
  if (!after && !isLater) return null;
  return html`<nav class="pager" aria-label="Pages">
    ${isLater && html`<button type="button" onClick=${() => setQuery({ after: null })}>Newest</button>`}
    ${after && html`<button type="button" onClick=${() => setQuery({ after })}>Older</button>`}
  </nav>`;
}

/**
 * Filters that live in the address. `fields`: [{name, label, kind: "text" | "search" | "select" | "time", options?,
 * hint?, none?}]; options are texts or [value, text], and `none` is what holds without a choice: "any" by default.
 */
export function Filters({ fields, children }) {
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()}>
    ${fields.map((field) => html`<${Filter} key=${field.name} ...${field} />`)}
    ${children}
    ${fields.some(({ name }) => query.value[name]) &&
    html`<button type="button" class="quiet" onClick=${() => setQuery(Object.fromEntries(fields.map(({ name }) => [name, null])))}>
      Clear filters
    </button>`}
  </form>`;
}

function Filter({ name, label, kind = "text", options, hint, none = "any" }) {
  const value = query.value[name] ?? "";
  const [typed, setTyped] = useState(null);
  const take = (text) => {
    setTyped(null);
    setQuery({ [name]: text.trim() });
  };
  if (kind === "select") {
    return html`<label>${label}
      <select name=${`by-${name}`} value=${value} onChange=${(event) => take(event.target.value)}>
        <option value="">${none}</option>
        ${options.map((option) => {
          const [code, text] = Array.isArray(option) ? option : [option, option];
          return html`<option key=${code} value=${code} selected=${code === value}>${text}</option>`;
        })}
      </select></label>`;
  }
  if (kind === "time") {
    return html`<label class="time">${label}
      <input name=${`by-${name}`} type="datetime-local" step="1" value=${toLocal(value)}
        onChange=${(event) => take(event.target.value ? new Date(event.target.value).toISOString() : "")} /></label>`;
  }
  return html`<label>${label}
    <input name=${`by-${name}`} type=${kind} value=${typed ?? value} placeholder=${hint ?? ""} autocomplete="off" spellcheck=${false}
      onInput=${(event) => setTyped(event.target.value)} onChange=${(event) => take(event.target.value)} /></label>`;
}

/** A time as an input for local times takes it. */
export function toLocal(text) {
  if (!text) return "";
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
