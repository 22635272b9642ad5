// What goes on in an environment, at a glance.
import { html } from "../vendor.js";
import { Page } from "../parts/layout.js";
import { Empty } from "../parts/show.js";

function OverviewPage() {
  return html`<${Page} title="Overview"><${Empty} title="Figures come here" /><//>`;
}

export default { path: "overview", nav: { label: "Overview", order: 10 }, view: OverviewPage };
