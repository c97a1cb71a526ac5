// Charts in plain SVG, each with a sentence for screen readers and a table of the same figures.

import { element, shape, table } from "./dom.js";
import { count, duration, moment } from "./format.js";

const HEIGHT = 210, LEFT = 58, RIGHT = 6, TOP = 10, BOTTOM = 26;

/** A round number not under `highest`, and the steps up to it. */
function scale(highest) {
  const power = 10 ** Math.floor(Math.log10(highest || 1));
  const step = [0.25, 0.5, 1, 2.5].map((part) => part * power).find((part) => part * 4 >= highest) ?? power * 2.5;
  return [0, 1, 2, 3, 4].map((place) => place * step);
}

function timeLabels(buckets, wide) {
  const hours = (new Date(buckets.at(-1).until) - new Date(buckets[0].since)) / 3.6e6;
  const options = hours > 36 ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", hour12: false };
  const every = Math.ceil(buckets.length / (wide ? 6 : 3));
  return buckets.map((bucket, i) => (i % every ? null : new Date(bucket.since).toLocaleString("en", options)));
}

/** The frame of a chart, and where things are in it. */
function frame(buckets, highest, write, label, width) {
  const steps = scale(highest);
  const y = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / steps.at(-1);
  const step = (width - LEFT - RIGHT) / buckets.length;
  const svg = shape("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label });
  for (const value of steps) {
    svg.append(
      shape("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      shape("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, write(value)),
    );
  }
  timeLabels(buckets, width > 480).forEach((text, i) => {
    if (text) svg.append(shape("text", { x: LEFT + i * step, y: HEIGHT - 6 }, text));
  });
  return { svg, y, step, x: (i) => LEFT + i * step };
}

function bars({ svg, x, y, step }, buckets, series) {
  buckets.forEach((bucket, i) => {
    let below = 0;
    for (const { value, look } of series) {
      const height = y(below) - y(below + value(bucket));
      if (height > 0) svg.append(shape("rect", { class: `area ${look}`, x: x(i) + 0.5, width: Math.max(1, step - 1), y: y(below) - height, height }));
      below += value(bucket);
    }
  });
}

function lines({ svg, x, y, step }, buckets, series) {
  for (const { value, look } of series) {
    let path = "";
    buckets.forEach((bucket, i) => {
      if (value(bucket) === null) return;
      const at = [x(i) + step / 2, y(value(bucket))];
      const joined = i > 0 && value(buckets[i - 1]) !== null; // a bucket without calls breaks the line
      path += `${joined ? "L" : "M"}${at.map((number) => number.toFixed(1)).join(" ")}`;
      svg.append(shape("circle", { class: `dot ${look}`, cx: at[0], cy: at[1], r: 2.5 }));
    });
    svg.append(shape("path", { class: `line ${look}`, d: path }));
  }
}

function key({ name, look }, stacked) {
  const sign = stacked
    ? shape("rect", { class: `area ${look}`, width: 10, height: 8, rx: 2 })
    : shape("line", { class: `line ${look}`, x1: 0, x2: 20, y1: 4, y2: 4 });
  return element("span", { class: "key" }, shape("svg", { viewBox: "0 0 20 8", "aria-hidden": "true" }, sign), name);
}

function rows(buckets, series, write) {
  return buckets
    .filter((bucket) => bucket.requests > 0)
    .map((bucket) => [moment(bucket.since), ...series.map(({ value }) => write(value(bucket)))]);
}

/** A section with a chart of `buckets`; each of `series` has a name, a value and a look, `stacked` ones are bars. */
function chart(section, title, buckets, series, { write, stacked, summary }) {
  const open = section.querySelector("details")?.open; // as it was before this refresh
  const caption = element("figcaption", {}, element("h2", {}, title), ...series.map((one) => key(one, stacked)));
  if (!buckets.some((bucket) => bucket.requests > 0)) {
    section.replaceChildren(element("figure", {}, caption, element("p", { class: "quiet" }, "No calls in this window.")));
    return;
  }
  const values = buckets.map((bucket) => series.map(({ value }) => value(bucket) ?? 0));
  const highest = Math.max(...values.map((all) => (stacked ? all.reduce((a, b) => a + b) : Math.max(...all))));
  const drawn = frame(buckets, stacked ? Math.max(4, highest) : highest, write, `${title}. ${summary}`, Math.max(280, section.clientWidth - 42));
  (stacked ? bars : lines)(drawn, buckets, series);
  buckets.forEach((bucket, i) => {
    const told = [moment(bucket.since), ...series.map(({ name, value }) => `${name}: ${write(value(bucket))}`)].join("\n");
    drawn.svg.append(shape("rect", { class: "hit", x: drawn.x(i), width: drawn.step, y: TOP, height: HEIGHT - TOP - BOTTOM }, shape("title", {}, told)));
  });
  const figures = table(title, ["From", ...series.map(({ name }) => name)], rows(buckets, series, write), [1, 2, 3]);
  const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}, as a table` }, figures);
  section.replaceChildren(
    element("figure", {}, caption, drawn.svg, element("details", { open }, element("summary", { class: "quiet" }, "As a table"), scroll)),
  );
}

/** Answers and errors over time. */
export function requestsChart(section, buckets) {
  const sum = (name) => count(buckets.reduce((total, bucket) => total + bucket[name], 0));
  chart(
    section,
    "Requests",
    buckets,
    [
      { name: "Answered", value: (bucket) => bucket.requests - bucket.errors, look: "first" },
      { name: "Errors", value: (bucket) => bucket.errors, look: "bad" },
    ],
    { write: count, stacked: true, summary: `${sum("requests")} requests, ${sum("errors")} errors.` },
  );
}

/** Quantiles of the processing time over time. */
export function latencyChart(section, buckets) {
  const quantile = (name, percentile, look) => ({ name, look, value: (bucket) => bucket[`${percentile}_processing_time`] });
  const worst = Math.max(0, ...buckets.map((bucket) => bucket.percentile_99_processing_time ?? 0));
  chart(
    section,
    "Processing time",
    buckets,
    [quantile("Median", "median", "first"), quantile("95 %", "percentile_95", "second"), quantile("99 %", "percentile_99", "third")],
    { write: duration, stacked: false, summary: `The highest 99th percentile is ${duration(worst)}.` },
  );
}
