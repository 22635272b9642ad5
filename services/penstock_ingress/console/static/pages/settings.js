// What an environment is bounded by, who is notified, who has which token, and who did what.
import { html, useState } from "../vendor.js";
import { ActionButton, Dialog, Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { environment, query } from "../parts/router.js";
import { may } from "../parts/session.js";
import { Badge, Copyable, Empty, ErrorNote, Facts, Json, Time, formatNumber } from "../parts/show.js";
import { Filters, Listing, Loading } from "../parts/table.js";

const LIMITS = [
  ["depth_limit", "Depth limit", "Hops from the root of a chain at which it is cut."],
  ["chain_runs_limit", "Runs per chain", "A chain with more is cut."],
  ["chain_workload_limit", "Workload units per chain", "0: no limit."],
  ["workload_allowance", "Workload units per month", "A mail at 75 and 100 %; 0: no allowance."],
  ["workload_spike_factor", "Spike factor", "An hour with this many times the week's median; 0: never."],
  ["workload_spike_minimum", "Spike minimum", "Units below which no hour is a spike."],
];

function SettingsPage() {
  return html`<${Page} title="Settings" about=${`Of the environment ${environment.value}. Changes hold at once, in every process.`}>
    <${EnvironmentSettings} />
    ${may("admin") && html`<${Tokens} />`}
    <${AuditLog} />
  <//>`;
}

function EnvironmentSettings() {
  const { data, problem, reload } = useResource((options) => api.get("settings", options), [], { every: 0 });
  if (data === undefined) return problem ? html`<${ErrorNote} problem=${problem} what="The settings" />` : html`<${Loading} />`;
  return html`<div class="columns"><${Limits} settings=${data} reload=${reload} /><${Notifications} settings=${data} reload=${reload} /></div>`;
}

function Limits({ settings, reload }) {
  if (!may("admin")) {
    return html`<${Section} title="Limits"><${Facts} rows=${[
      ...LIMITS.map(([name, label]) => [label, settings[name] == null ? "none" : formatNumber(settings[name])]),
      ["What is too deep", settings.depth_policy], ["Kept for", settings.retention],
    ]} /><//>`;
  }
  const save = (values) => {
    const changed = { depth_policy: values.depth_policy, retention: values.retention.trim() };
    for (const [name, label] of LIMITS) {
      const number = Number(values[name]);
      if (values[name].trim() === "" || Number.isNaN(number)) throw new Error(`${label}: this is not a number`);
      if (number !== Number(settings[name] ?? 0)) changed[name] = number;
    }
    return api.put("settings", changed);
  };
  return html`<${Section} title="Limits"><${Form} send=${save} label="Save limits" role="admin" kind="pairs" done="The limits are saved." after=${reload}>
    ${LIMITS.map(([name, label, hint]) => html`<${Field} key=${name} name=${name} label=${label} hint=${hint} value=${String(settings[name] ?? 0)} inputmode="decimal" required />`)}
    <${Field} name="depth_policy" label="What is too deep" kind="select" value=${settings.depth_policy}
      options=${[["terminate", "is cut"], ["observe", "is only recorded"]]} />
    <${Field} name="retention" label="Kept for" value=${settings.retention} hint="What has ended, such as 30d." required />
  <//><//>`;
}

function Notifications({ settings, reload }) {
  const webhooks = settings.notification_webhooks;
  const about = html`<${Facts} rows=${[
    ["Signed webhooks", webhooks.length === 0 ? "none" : webhooks.map(({ url }) => html`<code key=${url}>${url}</code> `)],
    ["How often", Object.entries(settings.notification_every).map(([kind, every]) => `${kind}: ${every}`).join(", ") || "each kind once a day"],
  ]} />`;
  if (!may("admin")) {
    return html`<${Section} title="Notifications"><${Facts} rows=${[["Mail", settings.notification_addresses.join(", ") || "nobody"]]} />${about}<//>`;
  }
  const save = (values) => api.put("settings", {
    notification_addresses: lines(values.notification_addresses),
    notification_slack: lines(values.notification_slack),
  });
  return html`<${Section} title="Notifications"><${Form} send=${save} label="Save notifications" role="admin" done="Who is notified is saved." after=${reload}>
      <${Field} name="notification_addresses" label="Mail addresses" kind="area" value=${settings.notification_addresses.join("\n")} hint="One on each line." />
      <${Field} name="notification_slack" label="Slack-compatible webhooks" kind="area" rows="2" value=${settings.notification_slack.join("\n")}
        hint="One on each line, best as \${secrets.NAME}." />
    <//>${about}<//>`;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

function Tokens() {
  const resource = useResource((options) => api.get("tokens", { ...options, query: { limit: 200 } }), [], { on: ["steering"], every: 5000 });
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState(null);
  return html`<${Section} title="Tokens" about="Those that hold here. A token is shown once, when it is made."
      actions=${html`<button type="button" class="primary" onClick=${() => setMaking(true)}>Make a token</button>`}>
    <${Listing} resource=${resource} what="The list of tokens" caption="Tokens, newest first" columns=${tokenColumns(resource.reload)}
      empty=${html`<${Empty} title="No tokens">The one in PENSTOCK_ADMIN_TOKEN is not listed.<//>`} />
    ${isMaking && html`<${Dialog} title="Make a token" close=${() => setMaking(false)}>
      <${Form} send=${makeToken} label="Make token" role="admin" cancel=${() => setMaking(false)}
        after=${(token) => { setMaking(false); setMade(token); void resource.reload(); }}>
        <${Field} name="label" label="Label" hint="Who or what bears it; the audit names it." required maxlength="100" />
        <${Field} name="role" label="Role" kind="select" value="viewer"
          options=${[["viewer", "viewer: looks"], ["operator", "operator: also acts"], ["admin", "admin: everything"]]} />
        <${Field} name="expires" label="Holds for" hint="Such as 30d; empty: until it is revoked." />
        <${Field} name="payloads" label="Payloads" kind="select" value="yes" options=${[["yes", "are shown"], ["no", "are hidden"]]} />
        <${Field} name="workflows" label="Workflows" hint="Names with commas between them; empty: all." />
      <//><//>`}
    ${made && html`<${Dialog} title="Your token" close=${() => setMade(null)}>
      <p>It is shown this once. Keep it where passwords are kept.</p>
      <p><${Copyable} text=${made.token} /></p>
      <p class="buttons"><button type="button" class="primary" onClick=${() => setMade(null)}>I have it</button></p><//>`}
  <//>`;
}

function makeToken(values) {
  const workflows = values.workflows.split(",").map((name) => name.trim()).filter(Boolean);
  return api.post("tokens", {
    label: values.label, role: values.role, payloads: values.payloads === "yes",
    ...(values.expires.trim() && { expires: values.expires.trim() }),
    ...(workflows.length > 0 && { workflows }),
  });
}

const tokenColumns = (reload) => [
  { head: "Label", main: true, cell: (one) => one.label || html`<span class="soft">no label</span>` },
  { head: "Role", cell: (one) => html`<${Badge} text=${one.role ?? "user"} kind=${one.role === "admin" ? "wait" : "mute"} />${one.payloads ? "" : html` <span class="soft">no payloads</span>`}` },
  { head: "Reach", cell: (one) => `${one.environment ?? "both environments"}${one.workflows ? `; ${one.workflows.join(", ")}` : ""}` },
  { head: "Made", cell: (one) => html`<${Time} at=${one.created_at} /> <span class="soft">by ${one.created_by}</span>` },
  { head: "Last used", cell: (one) => html`<${Time} at=${one.last_used_at} />` },
  { head: "Ends", cell: (one) => (one.expires_at ? html`<${Time} at=${one.expires_at} />` : "never") },
  { head: "", cell: (one) => html`<${ActionButton} label="Revoke" role="admin" kind="danger" name=${`Revoke ${one.label}`} act=${() => api.remove(`tokens/${one.id}`)} after=${reload}
      ask=${`Whoever uses the token ${one.label} is refused from that moment on, and logged out here.`} done="The token is revoked." />` },
];

function AuditLog() {
  const asked = Object.fromEntries(["actor", "action", "since", "until", "after"].map((name) => [name, query.value[name]]));
  const resource = useResource((options) => api.get("audit", { ...options, query: asked }), [JSON.stringify(asked)], { on: ["steering"], every: 3000 });
  return html`<${Section} title="Audit log" about="Who steered what.">
    <${Filters} fields=${[
      { name: "actor", label: "Who" }, { name: "action", label: "Action", hint: "run, settings.set …" },
      { name: "since", label: "Since", kind: "time" }, { name: "until", label: "Before", kind: "time" },
    ]} />
    <${Listing} resource=${resource} what="The audit log" caption="Acts, newest first" columns=${ACTS} empty=${html`<${Empty} title="Nobody did anything" />`} />
  <//>`;
}

const ACTS = [
  { head: "Action", main: true, cell: (act) => html`<code>${act.action}</code>` },
  { head: "Who", cell: (act) => act.actor },
  { head: "When", cell: (act) => html`<${Time} at=${act.at} />` },
  { head: "To what", align: "whole", cell: (act) => (act.subject ? html`<code>${act.subject}</code>` : html`<span class="soft">the environment</span>`) },
  { head: "Change", align: "whole", cell: (act) => act.before == null && act.after == null ? html`<span class="soft">–</span>`
      : html`<details><summary>before and after</summary><${Json} value=${{ before: act.before, after: act.after }} label="change" /></details>` },
];

export default { path: "settings", nav: { label: "Settings", order: 100 }, view: SettingsPage };
