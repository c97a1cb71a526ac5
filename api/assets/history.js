// The history: filters, pages by cursor, one row in full, and the export of what the filters leave.

import { byId, element, table } from "./dom.js";
import { explain } from "./errors.js";
import { bytes, count, duration, moment, words } from "./format.js";
import { signedCall, signedIn } from "./session.js";

const HEADS = ["Time", "Type", "Status", "Took", "Size", "Image", "User", "Result", "More"];
const PAGE = 25;

let applied = {}; // the filters, but for the window, as query parameters
let shown = null; // the query of the page that is shown
let cursors = [null]; // of the pages from the first to the one that is shown
let following = null;
let newest = 0; // of overlapping loads only the last one is shown

/** Takes the filters as they stand in the form; what is typed after that counts for nothing yet. */
export function apply() {
  const form = byId("filters").elements;
  const given = { status_code: form.status_code.value, request_type: form.request_type.value, sort: form.sort.value, user: form.user.value };
  applied = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== ""));
  if (form.nobody.checked) applied.user = "";
}

/** The window and the filters that were applied as a query. */
function query(extra = {}) {
  const given = { window: byId("window").value || null, ...applied, ...extra };
  return String(new URLSearchParams(Object.entries(given).filter(([, value]) => value !== null)));
}

function outcome(item) {
  if (item.error_message) return item.error_message;
  try {
    const result = JSON.parse(item.result);
    return result?.top_class ? words(result.top_class) : result?.message ?? "";
  } catch {
    return item.result ?? "";
  }
}

const pixels = (item) => (item.image_width === null ? "–" : `${item.image_width} × ${item.image_height}`);

function row(item) {
  const status = element("span", { class: item.status_code >= 400 ? "failed" : null }, String(item.status_code));
  const open = element("button", { type: "button", "aria-label": `Details of call ${item.id}`, click: () => details(item.id) }, "Details");
  return [moment(item.created_at), item.request_type, status, duration(item.processing_time), bytes(item.input_data_size), pixels(item), item.username ?? "–", outcome(item), open];
}

async function details(id) {
  const item = await attempt(async () => (await signedCall(`/history/${id}`)).json());
  if (!item) return;
  const fact = (name, value, look = null) => element("div", { class: look }, element("dt", {}, name), element("dd", {}, value));
  if (byId("details").open) return; // of a double click, the first
  byId("details-title").textContent = `Call ${item.id}`;
  byId("details-facts").replaceChildren(
    fact("Time", `${moment(item.created_at)}`),
    fact("Type", item.request_type),
    fact("Status", String(item.status_code)),
    fact("Took", duration(item.processing_time)),
    fact("Size", `${count(item.input_data_size)} bytes`),
    fact("Image", pixels(item)),
    fact("User", item.username ?? "–"),
    fact("Request ID", item.request_id, "wide"),
    ...(item.error_message ? [fact("Error", item.error_message, "wide")] : []),
    ...(item.result ? [fact("Result", element("pre", { tabindex: "0" }, pretty(item.result)), "wide")] : []),
  );
  byId("details").showModal();
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

let report = () => {};

/** Runs `work`; what goes wrong is said above the table, unless it ends the session. */
async function attempt(work) {
  try {
    byId("history-message").hidden = true;
    return await work();
  } catch (error) {
    if (report(error)) return null;
    byId("history-message").textContent =
      error.status === 400 ? error.detail : `${explain(error).title}. What stands below may be old.`;
    byId("history-message").hidden = false;
    return null;
  }
}

/** Shows the page that `wanted` leads to; if that fails, the one before stays. */
async function load(wanted = cursors) {
  const mine = (newest += 1);
  const asked = query();
  const found = await attempt(async () => (await signedCall(`/history?${query({ limit: PAGE, cursor: wanted.at(-1) })}`)).json());
  if (!found || mine !== newest) return;
  shown = asked;
  cursors = wanted;
  following = found.next_cursor;
  byId("total").textContent = `${count(found.total)} ${found.total === 1 ? "call" : "calls"}`;
  byId("rows").replaceChildren(
    found.items.length ? table("Calls", HEADS, found.items.map(row), [3, 4, 5]) : element("p", { class: "quiet" }, "No calls match."),
  );
  byId("page").textContent = `Page ${cursors.length}`;
  byId("previous").disabled = cursors.length === 1;
  byId("next").disabled = following === null;
}

/** Turns to the page that `wanted` leads to, or to the first one if the filters are no longer those of the page shown. */
const turn = (wanted) => (query() === shown ? load(wanted) : reload());

/** Leaves nothing of what was shown, and no page to turn to until the next one is there. */
export function clear() {
  newest += 1;
  cursors = [null];
  following = null;
  byId("rows").replaceChildren();
  for (const id of ["total", "page"]) byId(id).textContent = "";
  for (const id of ["previous", "next"]) byId(id).disabled = true;
}

/** From the first page again, with the filters as they were last applied. */
export const reload = () => load([null]);

/** What a regular refresh does: a deeper page stays as the reader left it. */
export const refreshed = () => (cursors.length === 1 ? load() : null);

async function download() {
  const format = byId("format").value;
  const blob = await attempt(async () => (await signedCall(`/history/export?${query({ format })}`)).blob());
  if (!blob) return;
  const link = element("a", { href: URL.createObjectURL(blob), download: `history.${format}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function cleared() {
  apply();
  if (signedIn()) reload();
}

/** Connects the controls; `ended` is given each error, and says whether it has dealt with it. */
export function listen(ended) {
  report = ended;
  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
    reload();
  });
  byId("filters").addEventListener("reset", () => setTimeout(cleared));
  byId("next").addEventListener("click", () => turn([...cursors, following]));
  byId("previous").addEventListener("click", () => turn(cursors.slice(0, -1)));
  byId("export").addEventListener("click", download);
  byId("details-close").addEventListener("click", () => byId("details").close());
}
