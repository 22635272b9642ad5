// Graphs as pictures that can be read aloud: laid out by dagre, drawn as SVG.
import { dagre, html, useEffect, useMemo, useRef, useState } from "../vendor.js";

const SIZE = { width: 188, height: 54 };
const SCALES = [0.35, 0.5, 0.7, 1, 1.4];
const NARROW = 760;
const MAX_LETTERS = 24;

/**
 * `nodes`: [{id, title, lines: [text], kind, isMarked, address, label}]: `kind` gives the colour, `label` is read aloud,
 * a node leads to `address`. `edges`: [{from, to, kind}]. `label`: what the picture shows. `direction`: TB or LR.
 */
export function Graph({ nodes, edges, label, direction = "TB" }) {
  const shape = JSON.stringify([nodes.map(({ id }) => id), edges.map(({ from, to }) => [from, to]), direction]);
  const placed = useMemo(() => place(nodes, edges, direction), [shape]);
  const [scale, setScale] = useState(SCALES.indexOf(innerWidth <= NARROW ? 0.7 : 1));
  const factor = SCALES[scale];
  const frame = useRef(null);
  useEffect(() => {
    // What one looks for first is where it begins.
    const first = placed.places.get(nodes[0]?.id);
    if (first) frame.current.scrollTo(first.x * factor - frame.current.clientWidth / 2, 0);
  }, [nodes[0]?.id, factor]);
  return html`<figure class="graph">
    <div class="graph-tools buttons" role="group" aria-label="Size of the picture">
      <button type="button" class="quiet" disabled=${scale === 0} onClick=${() => setScale(scale - 1)}>Smaller</button>
      <button type="button" class="quiet" disabled=${scale === SCALES.length - 1} onClick=${() => setScale(scale + 1)}>Larger</button>
    </div>
    <div ref=${frame} class="graph-window" tabindex="0" role="group" aria-label=${label}>
      <svg role="group" aria-label=${label} width=${placed.width * factor} height=${placed.height * factor}
        viewBox=${`0 0 ${placed.width} ${placed.height}`}>
        <defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9"
          markerUnits="userSpaceOnUse" orient="auto">
          <path d="M0 0 10 5 0 10z" class="arrow" /></marker></defs>
        ${edges.map((edge, index) => html`<path key=${`${edge.from} ${edge.to} ${index}`} class=${`edge ${edge.kind ?? ""}`}
          d=${placed.lines[index]} marker-end="url(#arrow)" />`)}
        ${nodes.map((node) => html`<${Node} key=${node.id} node=${node} at=${placed.places.get(node.id)} />`)}
      </svg>
    </div>
  </figure>`;
}

function Node({ node, at }) {
  if (at === undefined) return null;
  const content = html`<g class=${`node ${node.kind ?? "mute"} ${node.isMarked ? "marked" : ""}`}
      transform=${`translate(${at.x - SIZE.width / 2} ${at.y - SIZE.height / 2})`}>
    <title>${node.label}</title>
    <rect width=${SIZE.width} height=${SIZE.height} rx="8" />
    <text x="12" y="22" class="node-title">${cut(node.title)}</text>
    <text x="12" y="41" class="node-line">${cut(node.lines.join(" · "), 26)}</text>
  </g>`;
  return node.address ? html`<a href=${node.address} aria-label=${node.label}>${content}</a>` : content;
}

const cut = (text, most = MAX_LETTERS) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function place(nodes, edges, direction) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: direction, nodesep: 18, ranksep: 38, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  const known = new Set(nodes.map(({ id }) => id));
  for (const { id } of nodes) graph.setNode(String(id), { ...SIZE });
  edges.forEach(({ from, to }, index) => {
    if (known.has(from) && known.has(to)) graph.setEdge(String(from), String(to), {}, String(index));
  });
  dagre.layout(graph);
  const { width = 0, height = 0 } = graph.graph();
  const lines = edges.map(({ from, to }, index) => {
    const edge = graph.edge(String(from), String(to), String(index));
    if (!edge?.points) return "";
    if (from === to) return drawLoop(graph.node(String(from)), edges.slice(0, index).filter((one) => one.from === from && one.to === to).length);
    return edge.points.map(({ x, y }, turn) => `${turn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  });
  return {
    width: Math.max(width, SIZE.width),
    height: Math.max(height, SIZE.height),
    places: new Map(nodes.map(({ id }) => [id, graph.node(String(id))])),
    lines,
  };
}

// From a node to itself: a bow below it, a deeper one for each that is there already.
function drawLoop({ x, y }, count) {
  const [half, bottom, depth] = [SIZE.width / 4 + 14 * count, y + SIZE.height / 2, 30 + 16 * count];
  return `M${x + half} ${bottom}C${x + half} ${bottom + depth} ${x - half} ${bottom + depth} ${x - half} ${bottom}`;
}
