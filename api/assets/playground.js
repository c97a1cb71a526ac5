// The playground: something is chosen → sent to /forward → its answer, and the same call as text to copy.

import { byId, element } from "./dom.js";
import { bytes } from "./format.js";
import { showAnswer, showBusy, showError } from "./result.js";
import { asFile, samples } from "./samples.js";
import { call, health, Refusal } from "./service.js";
import { authorization, signedIn, signIn, signOut } from "./session.js";
import { copy, snippets } from "./snippets.js";
import { tabs } from "./tabs.js";
import { explainSignIn } from "./errors.js";

let image = null;
let preview = null;
let sending = null;

const kind = () => (byId("tab-json").getAttribute("aria-selected") === "true" ? "json" : "image");
const address = () => (kind() === "json" ? "/forward" : `/forward?top_k=${encodeURIComponent(byId("top-k").value)}`);

function showSnippets() {
  const of = { url: location.origin + address(), kind: kind(), name: image?.name || "photo.jpg", text: byId("json").value, signed: signedIn() };
  for (const [language, text] of Object.entries(snippets(of))) byId(`code-${language}`).textContent = text;
}

async function send() {
  if (kind() === "image" && !image) return;
  sending?.abort();
  const mine = (sending = new AbortController());
  const form = new FormData();
  const sent = kind();
  if (sent === "image") form.append("image", image);
  else form.append("data", byId("json").value);
  showSnippets();
  showBusy(sent === "image" ? "Looking at the picture…" : "Sending…");
  const started = performance.now();
  try {
    const answer = await call(address(), { method: "POST", body: form, headers: authorization(), signal: mine.signal });
    const body = await answer.json();
    showAnswer(body, answer.headers.get("Server-Timing"), (performance.now() - started) / 1000);
  } catch (error) {
    if (error.name === "AbortError") return; // something newer is on its way
    if (error.status === 401) askToSignIn();
    if (!(error instanceof Refusal)) console.error(error); // the answer broke off, or a defect of this page
    showError(error, sent, send);
  }
}

/** `of` files that were given, the first is sent. */
function choose(file, of = 1) {
  image = file;
  if (preview) URL.revokeObjectURL(preview);
  preview = URL.createObjectURL(file);
  const picture = element("img", { src: preview, alt: `Preview of ${file.name}` });
  picture.addEventListener("error", () => picture.replaceWith(element("p", { class: "quiet" }, "This browser cannot show it; the service may still read it.")));
  byId("preview").replaceChildren(picture, element("p", { class: "quiet" }, `${file.name} · ${bytes(file.size)}${of > 1 ? ` · the first of ${of} files` : ""}`));
  byId("drop").classList.add("filled");
  send();
}

function chooseFrom(files) {
  const [file] = files ?? [];
  if (file) choose(file, files.length);
  return Boolean(file);
}

function pick(input, button) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    chooseFrom(input.files);
    input.value = ""; // the same file may be chosen again
  });
}

function listen() {
  pick(byId("file"), byId("choose"));
  pick(byId("camera"), byId("photograph"));
  for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      if (type !== "dragleave") event.preventDefault();
      byId("drop").classList.toggle("over", type === "dragover");
      if (type === "drop" && kind() === "image") chooseFrom(event.dataTransfer.files);
    });
  }
  document.addEventListener("paste", (event) => {
    if (kind() === "image" && chooseFrom(event.clipboardData.files)) event.preventDefault();
  });
  byId("top-k").addEventListener("change", () => (image ? send() : showSnippets()));
  byId("json").addEventListener("input", showSnippets);
  byId("send-json").addEventListener("click", send);
  tabs(byId("kinds"), showSnippets);
  tabs(byId("languages"));
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.addEventListener("click", async () => {
      await copy(byId(button.dataset.copies));
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
}

function showSamples() {
  for (const { name, file, canvas } of samples()) {
    canvas.setAttribute("aria-hidden", "true");
    const button = element("button", { type: "button", class: "sample", click: () => choose(asFile(canvas, file)) }, canvas, element("span", {}, name));
    byId("samples").append(element("li", {}, button));
  }
}

function showAccount(sentence) {
  byId("account-state").textContent = sentence;
  byId("sign-out").hidden = !signedIn();
  byId("sign-in").hidden = signedIn();
  showSnippets();
}

function askToSignIn() {
  byId("account").open = true;
  if (!signedIn()) return;
  signOut();
  showAccount("Your session has ended. Sign in again.");
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, password } = event.target.elements;
  try {
    await signIn(username.value, password.value);
    password.value = "";
    showAccount(`Signed in as ${username.value}.`);
  } catch (error) {
    byId("account-state").textContent = explainSignIn(error);
  }
});
byId("sign-out").addEventListener("click", () => {
  signOut();
  showAccount("Signed out.");
});

byId("photograph").hidden = navigator.maxTouchPoints === 0; // where there is no camera to hold
listen();
showSamples();
showSnippets();
const state = await health();
const problem = state.ready ? state.warning : state.detail;
byId("health").hidden = !problem;
byId("health").textContent = problem ?? "";
