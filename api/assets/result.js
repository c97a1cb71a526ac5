// An answer of /forward as a person sees it: bars, times, words.

import { byId, element } from "./dom.js";
import { explain } from "./errors.js";
import { duration, percent, words } from "./format.js";

const PARTS = { upload: "Upload", queue: "Queue", model: "Model", record: "Record" };

/** The `Server-Timing` header as `[{name, seconds}]`, without the parts that have no duration. */
export function timings(header) {
  return (header ?? "")
    .split(",")
    .map((part) => /^\s*([\w-]+)\s*;.*?\bdur=([\d.]+)/.exec(part))
    .filter((match) => match !== null)
    .map(([, name, milliseconds]) => ({ name, seconds: Number(milliseconds) / 1000 }));
}

function bar({ class: name, probability }) {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${probability * 100}%`; // a property set by a script: the policy forbids only the attribute
  return element(
    "li",
    { "data-class": name },
    element("span", { class: "name" }, words(name)),
    element("span", { class: "number" }, percent(probability)),
    element("span", { class: "track", "aria-hidden": "true" }, fill),
  );
}

function where(header, total) {
  const parts = timings(header);
  const known = parts.reduce((sum, part) => sum + part.seconds, 0);
  const rows = parts.map((part) => [PARTS[part.name] ?? part.name, part.seconds, part.name]);
  if (rows.length > 0) rows.push(["Network and rest", Math.max(0, total - known), "rest"]);
  const strip = element("div", { class: "strip", "aria-hidden": "true" });
  for (const [, seconds, name] of rows) {
    const part = element("span", { class: `part ${name}` });
    part.style.flexGrow = String(seconds / total);
    strip.append(part);
  }
  const entry = (label, seconds, name) =>
    element("div", { "data-part": name }, element("dt", { class: name }, label), element("dd", {}, duration(seconds)));
  return [
    rows.length > 0 ? strip : null,
    element("dl", { class: "times" }, ...rows.map((row) => entry(...row)), entry("Total in this browser", total, "total")),
  ];
}

function show(...children) {
  byId("result").replaceChildren(...children.filter(Boolean));
  byId("result").setAttribute("aria-busy", "false");
  const { top, bottom } = byId("result").getBoundingClientRect();
  if (top > innerHeight - 60 || bottom < 60) byId("result").closest("section").scrollIntoView(); // on a phone it is further down
}

/** While the call is under way. */
export function showBusy(text) {
  byId("result").setAttribute("aria-busy", "true");
  byId("result").replaceChildren(element("p", { class: "busy" }, text));
}

/** The answer to an image or to JSON; `total` in seconds. */
export function showAnswer(answer, timing, total) {
  const { result } = answer;
  const raw = element("details", {}, element("summary", {}, "The answer as JSON"), element("pre", { tabindex: "0" }, JSON.stringify(answer, null, 2)));
  const warning = result.warning ? element("p", { class: "notice warning" }, result.warning) : null;
  if (!result.predictions) {
    show(element("p", { class: "top" }, result.message), ...where(timing, total), raw);
    raw.open = true;
    return;
  }
  show(
    element("p", { class: "top", "data-class": result.top_class }, words(result.top_class)),
    warning,
    element("ol", { class: "bars" }, ...result.predictions.map(bar)),
    element("h3", {}, "Where the time went"),
    ...where(timing, total),
    raw,
  );
}

/** An error in words, with a button that sends the same again. */
export function showError(error, kind, again) {
  const { title, text } = explain(error, kind);
  const { status = 0, detail } = error;
  show(
    element(
      "div",
      { class: "notice error", "data-status": status },
      element("p", { class: "title" }, title),
      element("p", {}, text),
      element("p", { class: "code" }, status ? `Code ${status}${detail ? `: ${detail}` : ""}` : "No connection"),
    ),
    element("button", { type: "button", click: again }, "Send again"),
  );
}
