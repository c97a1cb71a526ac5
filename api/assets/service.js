// Calls of the service. What is no success is thrown as a Refusal.

/** An answer with an error code, or none at all (status 0). */
export class Refusal extends Error {
  constructor(status, detail, answer) {
    super(detail);
    this.status = status;
    this.detail = detail;
    this.retryAfter = Number(answer?.headers.get("Retry-After")) || null;
    this.requestId = answer?.headers.get("X-Request-ID") ?? null;
  }
}

async function detailOf(answer) {
  try {
    return String((await answer.json()).detail ?? "");
  } catch {
    return ""; // a proxy's page, or a body cut off
  }
}

/** `fetch` of a path of this service. */
export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "");
  }
  if (!answer.ok) throw new Refusal(answer.status, await detailOf(answer), answer);
  return answer;
}

/** What `/health/ready` says: `{ready: true, ...}` or `{ready: false, detail}`. */
export async function health() {
  try {
    return { ready: true, ...(await (await call("/health/ready")).json()) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ready: false, detail: error.detail || "not ready: the service cannot be reached" };
  }
}
