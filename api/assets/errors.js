// Every error of the service in a person's words: what happened and what to do now.

const TITLES = {
  0: "No answer",
  400: "That could not be read",
  401: "Sign in first",
  403: "The model could not process this image",
  408: "The upload took too long",
  413: "Too large",
  429: "Too many calls",
  500: "The service failed",
  503: "The service is busy or not ready",
  504: "The model took too long",
};
const ADVICE = {
  0: "The service could not be reached. Check your connection and that the service is running.",
  400: "The service reads JPEG, PNG, GIF, WebP, BMP, TIFF and AVIF images, and asks for 1 to 1000 classes.",
  401: "This service takes signed-in calls only, or your token is no longer good. Sign in below, then send it again.",
  403: "The file begins like an image, but its content is cut off or damaged. Save it anew, or choose another one.",
  408: "The file did not arrive in the time that the service allows. Try a smaller one, or a faster connection.",
  413: "Send a smaller file, or the same picture with fewer pixels.",
  429: "You have sent more calls than this service allows for now.",
  500: "This is a fault of the service, not of what you sent. Its log has the details.",
  503: "Too many pictures are waiting, or the model server is starting or down. Nothing is wrong with yours.",
  504: "The model server did not answer in time. It may be overloaded; try again in a moment.",
};

const OF_WHAT_WAS_SENT = [400, 403, 408, 413, 503, 504]; // their words are about an image

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;

function wait(seconds) {
  return seconds === 1 ? "Try again in a second." : `Try again in ${seconds} seconds.`;
}

/** `{title, text}` for a Refusal, or for an answer that broke off; `kind` is what was sent: image or json. */
export function explain(error, kind = "image") {
  const { status = 0, detail, retryAfter, requestId } = error;
  const sentences = [ADVICE[status] ?? "The service refused the call."];
  if (status === 400 && kind === "json") sentences[0] = "The text is no valid JSON. Names and text need double quotes.";
  if (status === 413 && detail) sentences.unshift(sentence(detail));
  if (!(status in ADVICE) && detail) sentences.push(`It says: ${detail}.`);
  if (retryAfter) sentences.push(wait(retryAfter));
  if (status === 500 && requestId) sentences.push(`Its operator can find it there by the request ID ${requestId}.`);
  return { title: TITLES[status] ?? `Error ${status}`, text: sentences.join(" ") };
}

/** What keeps somebody from signing in; there, what an error means for an image is no help, and the service speaks. */
export function explainSignIn(error) {
  if (error.status === 401) return "Wrong username or password.";
  const { title, text } = explain(error);
  if (OF_WHAT_WAS_SENT.includes(error.status)) return sentence(error.detail || `signing in failed with error ${error.status}`);
  return `${title}. ${text}`;
}
