// Deleting the history: takes the operator's token, which is sent once and forgotten, and a confirmation.

import { byId } from "./dom.js";
import { explain } from "./errors.js";
import { call } from "./service.js";

const WRONG_TOKEN = "That is not the admin token. Nothing was deleted.";

function say(sentence) {
  byId("deletion-message").textContent = sentence;
  byId("deletion-message").hidden = !sentence;
}

/** The header that shows the token, or null where the token has letters that no header can carry. */
function authorization(token) {
  try {
    return new Headers({ Authorization: `Bearer ${token}` });
  } catch {
    return null;
  }
}

function words(error) {
  if (error.status === 401 || error.status === 403) return WRONG_TOKEN;
  return `${explain(error).title}: not everything may have been deleted.`;
}

/** Connects the dialog; `deleted` is called when the rows are gone. */
export function listen(deleted) {
  const form = byId("deletion-form");
  const { before, token } = form.elements;

  async function remove(event) {
    event.preventDefault();
    const headers = authorization(token.value);
    say(headers ? "" : WRONG_TOKEN);
    if (!headers) return;
    const query = before.value ? `?before=${encodeURIComponent(new Date(before.value).toISOString())}` : "";
    const button = form.querySelector('[type="submit"]');
    button.disabled = true;
    try {
      await call(`/history${query}`, { method: "DELETE", headers });
      byId("deletion").close();
      deleted();
    } catch (error) {
      say(words(error));
    } finally {
      button.disabled = false;
    }
  }

  byId("delete").addEventListener("click", () => {
    say("");
    byId("deletion").showModal();
  });
  before.addEventListener("input", () => {
    byId("deletion-what").textContent = before.value ? "the calls from before that time" : "all calls";
  });
  form.addEventListener("submit", remove);
  byId("deletion-cancel").addEventListener("click", () => byId("deletion").close());
  byId("deletion").addEventListener("close", () => {
    form.reset();
    byId("deletion-what").textContent = "all calls";
  });
}
