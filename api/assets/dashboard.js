// The dashboard: signed out or signed in; signed in, everything is read again for a window, now and then.

import { latencyChart, requestsChart } from "./charts.js";
import * as deletion from "./deletion.js";
import { byId } from "./dom.js";
import { explain, explainSignIn } from "./errors.js";
import * as history from "./history.js";
import { showModel, showStats } from "./overview.js";
import { health, Refusal } from "./service.js";
import { signedCall, signedIn, signIn, signOut } from "./session.js";

const INTERVAL = 10_000;
const BUCKETS = 48;

let timer = null;
let newest = 0;
let buckets = [];

function say(id, sentence) {
  byId(id).textContent = sentence;
  byId(id).hidden = !sentence;
}

function show(inside) {
  byId("signed-in").hidden = !inside;
  byId("signed-out").hidden = inside;
}

/** Ends the session, leaves nothing of it on the page, and says why. */
function leave(sentence) {
  signOut();
  clearTimeout(timer);
  newest += 1; // answers that are still on their way are dropped
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const id of ["figures", "model", "requests", "latency", "by-status", "by-type", "updated", "details-facts"]) byId(id).replaceChildren();
  history.clear();
  byId("filters").reset();
  show(false);
  say("sign-in-message", sentence);
  byId("sign-in").elements.username.focus();
}

/** Whether nothing is left to say of the error: it ends the session, or comes after its end. */
function ended(error) {
  if (byId("signed-in").hidden) return true;
  if (error.status === 401) {
    if (!signedIn()) leave("Your session has ended. Sign in again.");
    return true;
  }
  if (error.status === 403) leave("This account is not an administrator.");
  else if (!(error instanceof Refusal)) console.error(error); // a broken connection, or a defect of this page
  return error.status === 403;
}

function drawCharts() {
  requestsChart(byId("requests"), buckets);
  latencyChart(byId("latency"), buckets);
}

async function read() {
  const mine = (newest += 1);
  const window = byId("window").value;
  const query = new URLSearchParams(window ? { window, buckets: BUCKETS } : { buckets: BUCKETS });
  const json = async (path) => (await signedCall(`${path}?${query}`)).json();
  try {
    const answers = await Promise.all([json("/stats"), json("/stats/timeline"), health()]);
    if (mine !== newest) return;
    const [stats, timeline, state] = answers;
    say("message", "");
    showStats(stats);
    showModel(state);
    buckets = timeline.buckets;
    drawCharts();
    byId("updated").textContent = `Updated ${new Date().toLocaleTimeString("en", { hour12: false })}`;
  } catch (error) {
    if (mine === newest && !ended(error)) say("message", `${explain(error).title}. The figures below may be old.`);
  }
}

/** Reads everything, and comes back later while that is asked for and somebody looks. */
async function refresh(readHistory = history.refreshed) {
  clearTimeout(timer);
  if (!signedIn()) return;
  if (!document.hidden) await Promise.all([read(), readHistory()]);
  clearTimeout(timer);
  if (signedIn() && byId("live").checked) timer = setTimeout(refresh, INTERVAL);
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = event.target.elements;
  try {
    await signIn(username.value, password.value);
  } catch (error) {
    say("sign-in-message", explainSignIn(error));
    return;
  }
  password.value = "";
  say("sign-in-message", "");
  byId("user").textContent = username.value;
  show(true);
  byId("title").focus();
  history.apply();
  refresh(history.reload);
});
byId("sign-out").addEventListener("click", () => leave("Signed out."));
byId("window").addEventListener("change", () => refresh(history.reload));
byId("refresh").addEventListener("click", () => refresh(history.reload));
byId("live").addEventListener("change", () => refresh());
document.addEventListener("visibilitychange", () => refresh());
addEventListener("resize", () => {
  if (signedIn()) drawCharts();
});
history.listen(ended);
deletion.listen(() => refresh(history.reload));
