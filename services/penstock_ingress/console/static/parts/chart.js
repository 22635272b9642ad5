// Charts over time: drawn by uPlot on a canvas, and the same figures as a table for those who cannot see it.
import { html, uPlot, useEffect, useMemo, useRef } from "../vendor.js";
import { formatNumber } from "./show.js";
import { Table } from "./table.js";

const HEIGHT = 200;
const COLOURS = { good: "--good", bad: "--bad", wait: "--wait", busy: "--busy", mute: "--mute", accent: "--accent" };

/**
 * `times`: seconds since 1970; `series`: [{name, values, kind, isDashed, isBar}]: `values` has one number for each time,
 * `kind` gives the colour. `label` says what is shown, `unit` what is counted.
 */
export function Chart({ times, series, label, unit = "" }) {
  const frame = useRef(null);
  const chart = useRef(null);
  const shape = series.map(({ name }) => name).join();
  const values = useMemo(() => [times, ...series.map((one) => one.values)], [JSON.stringify([times, series])]);
  useEffect(() => {
    const draw = () => {
      chart.current?.destroy();
      chart.current = new uPlot(describe(frame.current.clientWidth, series), values, frame.current);
    };
    draw();
    const isDark = matchMedia("(prefers-color-scheme: dark)");
    isDark.addEventListener("change", draw);
    const sizes = new ResizeObserver(() => chart.current?.setSize({ width: frame.current.clientWidth, height: HEIGHT }));
    sizes.observe(frame.current);
    return () => {
      isDark.removeEventListener("change", draw);
      sizes.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [shape]);
  useEffect(() => chart.current?.setData(values), [values]);
  return html`<figure class="chart">
    <div ref=${frame} class="chart-frame" role="img" aria-label=${`${label}. ${sum(series, unit)}`}></div>
    <figcaption class="legend">${series.map(({ name, kind, values: own }) => html`<span key=${name}><span class=${`swatch ${kind}`} aria-hidden="true"></span>${name}${" "}<span class="number soft">${formatNumber(total(own))}</span></span>`)}</figcaption>
    <details><summary>As a table</summary>
      <div class="scroll" tabindex="0" role="group" aria-label=${label}><${Table} caption=${label} rows=${times.map((time, index) => ({ id: time, index })).reverse()} columns=${[
        { head: "Time", main: true, cell: ({ id }) => new Date(id * 1000).toLocaleString("en-GB") },
        ...series.map((one) => ({ head: one.name, align: "right", cell: ({ index }) => formatNumber(one.values[index] ?? 0) })),
      ]} /></div></details>
  </figure>`;
}

const total = (values) => values.reduce((sum, value) => sum + Number(value ?? 0), 0);
const sum = (series, unit) => series.map(({ name, values }) => `${name}: ${formatNumber(total(values))} ${unit}`).join(", ");

// Midnight is the day that begins there.
function formatTick(seconds) {
  const time = new Date(seconds * 1000);
  if (time.getHours() === 0 && time.getMinutes() === 0) return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

function describe(width, series) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(1, (high ?? 1) * 1.1)] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map(formatTick) }, { ...axis, size: 56, values: (_, ticks) => ticks.map(formatNumber) }],
    series: [
      {},
      ...series.map(({ name, kind, isDashed, isBar }) => ({
        label: name,
        stroke: colour(COLOURS[kind]),
        width: 1.75,
        dash: isDashed ? [5, 4] : undefined,
        points: { show: false },
        ...(isBar ? { paths: uPlot.paths.bars({ size: [0.7, 40] }), fill: colour(COLOURS[kind]) } : {}),
      })),
    ],
  };
}
