// The console's pages. The modules are served as they are: there is nothing to build.
//
// To add a page
//   1. Write pages/things.js. It exports {path, nav?, view}: `path` is the address below /console/{environment}/, in which
//      `:id` is handed to the view (`lists/:id`); `nav: {label, order}` puts it into the menu (overview 10, runs 20, chains
//      30, schedule 40, lists 45, logs 50, webhooks 60, workflows 70, workload 80, dead letters 90, data 95, settings 100).
//   2. Name it below, in one line.
//   3. Name its address in tests/console/pages.py, in one line: then it is looked at by axe-core, wide and narrow, in light
//      and dark, and its picture in tests/console/screenshots.py.
//
// What a page is made of
//   parts/layout.js   Page {title, about, actions}, Section {title, about, actions}
//   parts/live.js     useResource(load, inputs, {on: ["runs"], every}): {data, problem, isLoading, reload}, asked for again
//                     when something has changed, by the topics of GET stream (runs, logs, schedule, steering);
//                     useStream(path, {query, types, onEvent}, inputs): server-sent events, connected again by itself
//   parts/api.js      api.get("runs", {query, background}), api.post("runs", body), api.put, api.remove; all throw Problem,
//                     whose `message` is for people. Pass on what `load` is given: useResource((o) => api.get("runs", o), [])
//   parts/router.js   href("runs", id), href("runs", {state: "failed"}), navigate(), query.value, setQuery({state: null})
//   parts/table.js    Listing {resource, what, columns, caption, empty}, Table, Filters {fields}, Loading, Stale
//   parts/show.js     Badge, Time, Duration, IdLink, Facts, Json, Empty, ErrorNote, Progress, Copyable, formatNumber
//   parts/act.js      ActionButton {label, role, ask, act, done, after}, Form {send, label, done}, Field, Dialog
//   parts/start.js    StartDialog {workflow, given, close}; parts/retry.js: RetryDialog {id, close, after}
//   parts/notices.js  notify("text"), notify("text", "bad")
//   parts/session.js  may("operator"), seesPayloads(), session()
//   vendor.js         html (htm), hooks, signals, uPlot, dagre; .ci/vendor-console builds it
//
// What holds for every page
//   - What comes from outside is a child of an element, never innerHTML, a style or the beginning of an address.
//   - A button that changes something is an ActionButton or a Form, with the role that the management API wants.
//   - A list says what it is of (`caption`), and what is wrong or missing (`empty`, ErrorNote). Colour never says it alone.
//   - A value that may be null without sight of payloads is looked at with `?.`.
//   - console.css is the only style sheet; no style attributes, which the policy for content forbids.
export { default as chain } from "./pages/chain.js";
export { default as chains } from "./pages/chains.js";
export { default as data, dataType } from "./pages/data.js";
export { default as delivery } from "./pages/delivery.js";
export { default as letter } from "./pages/letter.js";
export { default as letters } from "./pages/letters.js";
export { default as logs } from "./pages/logs.js";
export { default as overview } from "./pages/overview.js";
export { default as run } from "./pages/run.js";
export { default as runs } from "./pages/runs.js";
export { default as schedule } from "./pages/schedule.js";
export { default as settings } from "./pages/settings.js";
export { default as webhooks } from "./pages/webhooks.js";
export { default as workflow } from "./pages/workflow.js";
export { default as workflows } from "./pages/workflows.js";
export { default as workload } from "./pages/workload.js";
