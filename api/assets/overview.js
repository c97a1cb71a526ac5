// What the statistics and the model's state look like: figures, facts and small tables.

import { byId, element, table } from "./dom.js";
import { count, duration, percent } from "./format.js";

function entry(name, value, look = null) {
  return element("div", { class: look }, element("dt", {}, name), element("dd", {}, value));
}

function rate(perSecond) {
  if (perSecond === null) return "–";
  return perSecond < 1 ? `${(perSecond * 60).toFixed(1)} /min` : `${perSecond.toFixed(1)} /s`;
}

function groups(head, name, rows) {
  const cells = rows.map((row) => [String(row[name]), count(row.requests), percent(row.share), duration(row.mean_processing_time)]);
  return table(`By ${head.toLowerCase()}`, [head, "Requests", "Share", "Mean time"], cells, [1, 2, 3]);
}

/** The answer of `/stats`. */
export function showStats(stats) {
  byId("figures").replaceChildren(
    entry("Requests", count(stats.total_requests)),
    entry("Rate", rate(stats.requests_per_second)),
    entry("Errors", percent(stats.error_rate), stats.errors > 0 ? "bad" : null),
    entry("Median time", duration(stats.median_processing_time)),
    entry("95 % within", duration(stats.percentile_95_processing_time)),
    entry("99 % within", duration(stats.percentile_99_processing_time)),
  );
  const shared = (rows) => rows.map((row) => ({ ...row, share: row.requests / stats.total_requests }));
  byId("by-status").replaceChildren(groups("Status", "status_code", shared(stats.by_status)));
  byId("by-type").replaceChildren(groups("Type", "request_type", shared(stats.by_type)));
}

/** The answer of `/health/ready`. */
export function showModel(health) {
  byId("model-state").textContent = health.ready ? "Ready" : "Not ready";
  byId("model-state").classList.toggle("bad", !health.ready);
  const warning = health.ready ? health.warning : health.detail;
  byId("model-warning").hidden = !warning;
  byId("model-warning").textContent = warning ?? "";
  const { model = {}, workers, queue } = health;
  const facts = {
    Workers: workers,
    Queue: queue === undefined ? undefined : `${count(queue)} waiting`,
    Architecture: model.arch,
    Precision: model.precision,
    Engine: model.engine,
    Device: model.device,
    Classes: model.classes === undefined ? undefined : count(model.classes),
    Weights: model.weights,
    "Weights SHA-256": model.weights_sha256?.slice(0, 12),
  };
  const known = Object.entries(facts).filter(([, value]) => value !== undefined && value !== null);
  byId("model").replaceChildren(...known.map(([name, value]) => entry(name, String(value))));
}
