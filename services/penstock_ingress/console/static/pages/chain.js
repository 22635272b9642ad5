// One chain: its tree, how near it is to its limits, what repeats, and stopping and resuming it.
import { html, useState } from "../vendor.js";
import { ActionButton, Dialog, Field, Form } from "../parts/act.js";
import { api } from "../parts/api.js";
import { Graph } from "../parts/graph.js";
import { Page, Section } from "../parts/layout.js";
import { useResource } from "../parts/live.js";
import { href, query } from "../parts/router.js";
import { may } from "../parts/session.js";
import { Badge, Copyable, ErrorNote, Facts, IdLink, Time, formatNumber, hasEnded } from "../parts/show.js";
import { Listing, Loading, Stale } from "../parts/table.js";

const KINDS = { succeeded: "good", failed: "bad", terminated: "bad", running: "busy", skipped: "mute", cancelled: "mute" };
const CUTS = {
  depth_limit: "the depth limit", no_progress: "recursion without progress", chain_limit: "the limit of runs",
  workload_limit: "the limit of workload", chain_stopped: "a stop of the chain",
};

const HOW = {
  depth_limit: "A grant of depth lets them continue where they were cut.", chain_limit: "A grant of runs lets them continue where they were cut.",
  workload_limit: "A grant of workload lets them continue where they were cut.", no_progress: "No grant admits them: the workflow has to be changed.",
};

function ChainPage({ id }) {
  const from = query.value.from;
  const chain = useResource((options) => api.get(`chains/${id}`, { ...options, query: { limit: 1 } }), [id], { on: ["runs", "steering"] });
  const tree = useResource((options) => api.get(`chains/${id}/tree`, { ...options, query: { from, nodes: 150 } }), [id, from], { on: ["runs", "steering"] });
  const { data, problem } = chain;
  if (data === undefined) {
    return html`<${Page} title="Chain">${problem ? html`<${ErrorNote} problem=${problem} what="The chain" />` : html`<${Loading} />`}<//>`;
  }
  const reload = () => Promise.all([chain.reload(), tree.reload()]);
  return html`<${Page} title=${`Chain of ${data.root?.workflow ?? "a run that is no longer stored"}`}
      actions=${html`<${Actions} chain=${data} picture=${tree.data} reload=${reload} />`}>
    ${problem && html`<${Stale} problem=${problem} />`}
    <${Verdict} chain=${data} picture=${tree.data} />
    <${Gauges} chain=${data} picture=${tree.data} />
    <${Section} title="Tree" actions=${from && html`<a class="button" href=${href("chains", id)}>From the root</a>`}>
      ${tree.data === undefined
        ? tree.problem ? html`<${ErrorNote} problem=${tree.problem} what="The tree" />` : html`<${Loading} />`
        : html`<${Tree} id=${id} picture=${tree.data} />`}
    <//>
    ${query.value.fold && html`<${Folded} id=${id} run=${query.value.fold} />`}
    <${Section} title="The chain"><${About} chain=${data} /><//>
  <//>`;
}

// The whole story in one sentence, for somebody who was woken by it.
function Verdict({ chain, picture }) {
  const reasons = Object.entries(countCuts(picture)).filter(([reason]) => reason !== "chain_stopped" || !chain.stopped);
  const cycle = picture?.cycle;
  const live = countLive(chain);
  return html`<div class="verdict">
    ${chain.stopped && html`<p class="note bad"><strong>Stopped</strong>${" "}<${Time} at=${chain.stopped.at} />${chain.stopped.reason && `: ${chain.stopped.reason}`}${". "}Nothing of it starts until it is resumed.</p>`}
    ${reasons.map(([reason, count]) => html`<p key=${reason} class="note bad"><strong>${formatNumber(count)} ${count === 1 ? "run was" : "runs were"} cut</strong>${" "}by ${CUTS[reason] ?? reason}.${" "}${HOW[reason] ?? ""}</p>`)}
    ${cycle && html`<p class="note wait"><strong>Repeats ${formatNumber(cycle.rounds)} times:</strong>${" "}<span class="cycle">${[...cycle.workflows, cycle.workflows[0]].join(" → ")}</span></p>`}
    <p class="soft" role="status">${live === 0 ? "All of its runs have ended." : `${formatNumber(live)} of its ${formatNumber(chain.runs)} runs have not ended.`}</p>
  </div>`;
}

const countLive = (chain) => Object.entries(chain.counts).filter(([state]) => !hasEnded(state)).reduce((sum, [, runs]) => sum + runs, 0);

function countCuts(picture) {
  const cut = {};
  for (const node of picture?.nodes ?? []) {
    for (const [reason, count] of Object.entries(node.cut)) cut[reason] = (cut[reason] ?? 0) + count;
  }
  return cut;
}

function Gauges({ chain, picture }) {
  if (picture === undefined) return null;
  const { depth, runs, workload, deepest } = picture.gauges;
  return html`<div class="gauges">
    <${Gauge} name="Depth" gauge=${depth} note=${deepest === depth.reached ? "" : `${deepest} hops from the root`} />
    <${Gauge} name="Runs" gauge=${runs} />
    <${Gauge} name="Workload" gauge=${workload.limit === null ? { ...workload, reached: chain.workload } : workload} unit="units" />
  </div>`;
}

function Gauge({ name, gauge, note, unit = "" }) {
  const most = gauge.limit === null ? null : gauge.limit + gauge.extra;
  const share = most ? gauge.reached / most : gauge.reached > 0 && most === 0 ? 1 : 0;
  const kind = share >= 1 ? "bad" : share >= 0.8 ? "wait" : "good";
  return html`<section class=${`gauge ${kind}`} aria-label=${name}>
    <h2>${name}</h2>
    <p class="gauge-value"><span class="number">${formatNumber(gauge.reached)}</span>${" "}<span class="soft">${most === null ? `${unit}, no limit` : `of ${formatNumber(most)} ${unit}`}</span></p>
    ${most !== null && html`<progress class=${kind} max="1" value=${Math.min(share, 1)} aria-label=${`${name}: ${gauge.reached} of ${most}`}></progress>`}
    <p class="soft small">${[gauge.extra > 0 && `${formatNumber(gauge.extra)} were granted`, note].filter(Boolean).join("; ")}</p>
  </section>`;
}

function Tree({ id, picture }) {
  const marked = new Set(picture.cycle?.workflows ?? []);
  const nodes = picture.nodes.map((node) => ({
    id: node.number,
    title: node.workflow,
    lines: [node.runs > 1 && `× ${formatNumber(node.runs)}`, Object.keys(node.cut).length ? `cut (${Object.keys(node.cut).join(", ")})` : node.state,
      node.hidden > 0 && `+ ${formatNumber(node.hidden)} below`].filter(Boolean),
    kind: KINDS[node.state] ?? "wait",
    isMarked: marked.has(node.workflow),
    address: leadTo(id, node),
    label: describe(node),
  }));
  const edges = picture.nodes.filter(({ parent }) => parent !== null).map(({ number, parent }) => ({ from: parent, to: number }));
  const hidden = picture.nodes.reduce((sum, node) => sum + node.hidden, 0);
  return html`<p class="soft">Siblings of one workflow and state are one box.
      ${hidden > 0 && ` ${formatNumber(hidden)} runs further down are not drawn: open a box that says “below”.`}
      ${!picture.is_complete && ` Only the ${formatNumber(picture.read)} runs nearest to the root were read.`}</p>
    <${Graph} nodes=${nodes} edges=${edges} label="The tree of the chain" />
    <details><summary>The tree as a list</summary><${Outline} id=${id} nodes=${picture.nodes} /></details>`;
}

function leadTo(id, node) {
  if (node.hidden > 0) return href("chains", id, { from: node.run });
  return node.runs > 1 ? href("chains", id, { from: query.value.from, fold: node.run }) : href("runs", node.run);
}

function describe(node) {
  const cut = Object.entries(node.cut).map(([reason, count]) => `, ${formatNumber(count)} cut by ${CUTS[reason] ?? reason}`).join("");
  const below = node.hidden > 0 ? `, ${formatNumber(node.hidden)} runs below` : "";
  return `Depth ${node.depth}: ${formatNumber(node.runs)} × ${node.workflow}, ${node.state}${cut}${below}`;
}

function Outline({ id, nodes }) {
  return html`<ol class="outline">${inOrder(nodes).map(
    (node) => html`<li key=${node.number} class=${`in-${Math.min(node.indent, 12)}`}><a href=${leadTo(id, node)}>${describe(node)}</a></li>`,
  )}</ol>`;
}

// Each node before those below it. Not by recursion: a chain may be deep.
function inOrder(nodes) {
  const below = Map.groupBy(nodes, ({ parent }) => parent);
  const waiting = (below.get(null) ?? []).map((node) => ({ ...node, indent: 0 })).reverse();
  const ordered = [];
  while (waiting.length > 0) {
    const node = waiting.pop();
    ordered.push(node);
    for (const child of [...(below.get(node.number) ?? [])].reverse()) waiting.push({ ...child, indent: node.indent + 1 });
  }
  return ordered;
}

function Folded({ id, run }) {
  const asked = { run, after: query.value.after };
  const resource = useResource((options) => api.get(`chains/${id}/folded`, { ...options, query: asked }), [id, run, query.value.after], { every: 0 });
  return html`<${Section} title="Runs of one box" actions=${html`<a class="button" href=${href("chains", id, { from: query.value.from })}>Close</a>`}>
    <${Listing} resource=${resource} what="The runs of the box" caption="Runs that are one box of the tree" columns=${[
      { head: "Workflow", main: true, cell: (one) => html`<${IdLink} page="runs" id=${one.id} text=${one.workflow} />` },
      { head: "Run", cell: (one) => html`<${IdLink} page="runs" id=${one.id} />` },
      { head: "State", cell: (one) => html`<${Badge} text=${one.state} />` },
      { head: "Created", cell: (one) => html`<${Time} at=${one.created_at} />` },
      { head: "Why", align: "whole", cell: (one) => one.error?.message ?? "" },
    ]} /><//>`;
}

function About({ chain }) {
  const states = Object.entries(chain.counts).map(([state, runs]) => html`<span key=${state} class="state-count"><${Badge} text=${state} /> ${formatNumber(runs)}</span>`);
  return html`<${Facts} rows=${[
    ["Id", html`<${Copyable} text=${chain.id} />`],
    ["Root", chain.root && html`<${IdLink} page="runs" id=${chain.root.id} text=${chain.root.workflow} />`],
    ["Began", chain.root && html`<${Time} at=${chain.root.created_at} />`],
    ["Workload", `${formatNumber(chain.workload)} units`],
    ["Runs by state", states],
    ["Runs by depth", html`<span>${Object.entries(chain.depths).slice(0, 30)
      .map(([depth, counts]) => `${depth}: ${formatNumber(Object.values(counts).reduce((sum, runs) => sum + runs, 0))}`).join(" · ")}</span>`],
    ["Runs", html`<a href=${href("runs", { chain: chain.id })}>List all runs</a>`],
    ["Log", html`<a href=${href("logs", { chain: chain.id })}>Log of the chain</a>`],
  ]} />`;
}

function Actions({ chain, picture, reload }) {
  const [isGranting, setGranting] = useState(false);
  const path = `chains/${chain.id}`;
  const after = reload;
  const say = (answer) => `${formatNumber(answer.resumed)} runs were readmitted; ${formatNumber(answer.still_terminated)} stay terminated.`;
  const offer = suggest(picture);
  return html`
    ${!chain.stopped && countLive(chain) > 0 && html`<${ActionButton} label="Stop" kind="danger" act=${() => api.post(`${path}/stop`, { reason: "stopped in the console" })} after=${after}
      done=${(answer) => `The chain is stopped; ${formatNumber(answer.cancelled)} runs were cancelled.`} />`}
    ${offer && !chain.stopped && html`<${ActionButton} label=${offer.label} kind="primary" act=${() => api.post(`${path}/resume`, offer.grant)} done=${say} after=${after} />`}
    ${(chain.stopped || chain.counts.terminated > 0) && html`<${ActionButton} label="Resume" kind=${chain.stopped ? "primary" : ""} act=${() => api.post(`${path}/resume`)} done=${say} after=${after} />`}
    ${may("operator") && html`<button type="button" onClick=${() => setGranting(true)}>Grant more …</button>`}
    ${isGranting && html`<${Dialog} title="Grant this chain more, and resume it" close=${() => setGranting(false)}>
      <p class="soft">Beyond its limits, in all. A grant is never taken back; it holds for this chain alone.</p>
      <${Form} label="Grant and resume" done=${say} cancel=${() => setGranting(false)}
        send=${(values) => api.post(`${path}/resume`, {
          extra_depth: Number(values.depth || 0), extra_runs: Number(values.runs || 0), extra_workload: Number(values.workload || 0),
        })}
        after=${async () => (setGranting(false), after())}>
        <${Field} name="depth" label="Extra depth, in hops" kind="number" min="0" step="1" value="0" />
        <${Field} name="runs" label="Extra runs" kind="number" min="0" step="1" value="0" />
        <${Field} name="workload" label="Extra workload, in units" kind="number" min="0" step="any" value="0" />
      <//><//>`}`;
}

// What lets a chain that was cut continue: as much again as its limit is, beyond what it was granted before.
function suggest(picture) {
  const cut = countCuts(picture);
  if (picture === undefined) return null;
  const { depth, runs, workload } = picture.gauges;
  if (cut.depth_limit && depth.limit) return { label: `Resume, ${formatNumber(depth.limit)} deeper`, grant: { extra_depth: depth.extra + depth.limit } };
  if (cut.chain_limit && runs.limit) return { label: `Resume, ${formatNumber(runs.limit)} more runs`, grant: { extra_runs: runs.extra + runs.limit } };
  if (cut.workload_limit && workload.limit) return { label: `Resume, ${formatNumber(workload.limit)} more units`, grant: { extra_workload: workload.extra + workload.limit } };
  return null;
}

export default { path: "chains/:id", view: ChainPage };
