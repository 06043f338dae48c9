// Everything that the page asks of a server. `predict` is the one door to a prediction: a page that works without
// a network replaces this module and nothing else.

let key = sessionStorage.getItem("visionops-key") ?? "";
let askForKey = async () => "";
let asking = null; // the one question for a key that is open, whoever waits for it

/** What stands in for a person when the service wants a key: an async function that gives one, or "" to give up. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** A refusal that a person can act on: what was got, what is allowed, what to do. */
export class Problem extends Error {
  constructor({ got, allowed, do: act }) {
    super(got);
    Object.assign(this, { got, allowed, act });
  }
}

/** image: File or Blob. keep: may the service store it, for people to label? Resolves to {prediction_id, model, card, confidence,
 * confident, predictions | boxes}. */
export async function predict(image, keep) {
  try {
    return await (await send(keep ? "predict?keep=true" : "predict", { method: "POST", body: form(image) })).json();
  } catch (problem) {
    if (problem.got !== "keep=true") throw problem;
    const act = "Choose not to keep it, or ask your operator for a key that may and give it in a new tab.";
    throw new Problem({ got: "Without a key that allows it, no photo is kept.", allowed: problem.allowed, do: act });
  }
}

/** image: File or Blob. Resolves to a PNG Blob of the same shape as the image, or null when this model can't explain. */
export async function explain(image) {
  try {
    return await (await send("explain", { method: "POST", body: form(image) })).blob();
  } catch (problem) {
    if (problem instanceof Problem) return null;
    throw problem;
  }
}

/** boxes: [{label, box}], all that there is, or undefined where places were not looked at. */
export async function sendFeedback(id, label, boxes) {
  const headers = { "content-type": "application/json" };
  return (await send("feedback", { method: "POST", headers, body: JSON.stringify({ id, label, boxes }) })).json();
}

export async function passport(id) {
  return (await send(`predictions/${encodeURIComponent(id)}/lineage`)).json();
}

export async function modelVersion() {
  return (await send("model/version")).json();
}

function form(image) {
  const body = new FormData();
  body.append("file", image, image.name ?? "photo.jpg");
  return body;
}

async function send(path, options = {}) {
  const response = await fetchOrSay(path, options);
  if (response.status === 401) {
    asking ??= askForKey().finally(() => (asking = null));
    key = await asking;
    if (key) {
      sessionStorage.setItem("visionops-key", key);
      return send(path, options);
    }
    sessionStorage.removeItem("visionops-key");
  }
  if (response.ok) return response;
  throw new Problem(await problemOf(response));
}

async function fetchOrSay(path, options) {
  const headers = { ...options.headers, ...(key && { "x-api-key": key }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch {
    throw new Problem({
      got: "No answer from the service.",
      allowed: "a service that can be reached",
      do: "Check your connection and try again.",
    });
  }
}

async function problemOf(response) {
  try {
    const { error } = await response.json();
    return { got: error.got, allowed: error.allowed, do: error.do };
  } catch {
    return { got: `The service answered ${response.status}.`, allowed: "", do: "Try again; if it stays, tell the operator." };
  }
}
