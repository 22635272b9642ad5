// One run.
import { html } from "../vendor.js";
import { api } from "../parts/api.js";
import { Page } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { ErrorNote, Json } from "../parts/show.js";
import { Loading } from "../parts/table.js";

function RunPage({ id }) {
  const { data: run, problem } = useResource((options) => api.get(`runs/${id}`, options), [id]);
  if (run === undefined) return html`<${Page} title="Run">${problem ? html`<${ErrorNote} problem=${problem} what="The run" />` : html`<${Loading} />`}<//>`;
  return html`<${Page} title=${run.workflow}><${Json} value=${run} label="the run" /><//>`;
}

export default { path: "runs/:id", view: RunPage };
