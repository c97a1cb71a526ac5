// Who is signed in. The token lives in this module's memory alone: no cookie and no storage that another script or the
// next user of the browser could read. So it is gone when the page is reloaded.

import { call, Refusal } from "./service.js";

let token = null;

/** Signs in; throws a Refusal. */
export async function signIn(username, password) {
  const answer = await call("/token", { method: "POST", body: new URLSearchParams({ username, password }) });
  token = (await answer.json()).access_token;
}

/** Forgets the token. */
export function signOut() {
  token = null;
}

/** Whether there is a token. */
export const signedIn = () => token !== null;

/** The header that shows the token, or none. */
export const authorization = () => (token === null ? {} : { Authorization: `Bearer ${token}` });

/** `call` with the token. A 401 says that the token is no longer good, and ends its session. */
export async function signedCall(path) {
  const mine = token;
  try {
    return await call(path, { headers: authorization() });
  } catch (error) {
    if (error instanceof Refusal && error.status === 401 && token === mine) signOut();
    throw error;
  }
}
