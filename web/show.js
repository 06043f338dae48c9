// Puts answers onto the page. Text only ever goes in as text, so nothing that a server or a file name says can run.

const $ = (id) => document.getElementById(id);
const HALF = 0.5;

/** early_blight -> early blight */
export function words(label) {
  return String(label).replaceAll("_", " ");
}

/** The photo as the browser shows it: upright by its EXIF orientation, as the service sees it. */
export async function showPhoto(image) {
  const photo = $("photo");
  const url = URL.createObjectURL(image);
  if (photo.src) URL.revokeObjectURL(photo.src);
  photo.src = url;
  await photo.decode().catch(() => {}); // a format that only the service can read: the answer still stands
}

export function showAnswer(answer) {
  const part = answer.confidence;
  $("answer").textContent = words(answer.label);
  const badge = $("badge");
  badge.className = answer.confident ? "sure" : part >= HALF ? "unsure" : "poor";
  badge.textContent = `${percent(part)} sure${answer.confident ? "" : ": below what this model needs to be trusted"}`;
  $("retake").hidden = answer.confident;
  const ranked = (answer.predictions ?? []).slice(0, 3);
  $("bars").hidden = !ranked.length;
  $("bars").replaceChildren(...ranked.map(bar));
  const scored = Number.isFinite(answer.score) && Number.isFinite(answer.threshold);
  $("score").hidden = !scored;
  $("score").textContent = scored ? `How unusual it is: ${figure(answer.score)}; usual is up to ${figure(answer.threshold)}` : "";
}

export function showHeat(png) {
  const heat = $("heat");
  if (heat.src) URL.revokeObjectURL(heat.src);
  heat.src = URL.createObjectURL(png);
  heat.style.opacity = $("slider").value / 100;
  heat.hidden = $("heatbar").hidden = false;
}

export function showCard(card) {
  $("card").hidden = !card;
  if (!card) return;
  const heading = make("h3", "What to do");
  $("card").replaceChildren(heading, pairs(card));
}

export function showPassport(found) {
  $("passport-body").replaceChildren(...sections(found));
  $("passport").showModal();
  $("passport").scrollTop = 0; // the browser scrolls to the button that it focuses
}

/** error: Problem, or whatever else went wrong. */
export function showProblem(error) {
  $("result").hidden = true;
  $("got").textContent = error.got ?? "Something in this page failed.";
  $("allowed").textContent = error.allowed ? `Allowed: ${error.allowed}` : "";
  $("do").textContent = error.act ?? "Reload the page and try again.";
  $("problem").hidden = false;
}

function bar({ label, probability }) {
  const item = document.createElement("li");
  const name = make("div", "", "name");
  name.append(make("span", words(label)), make("span", percent(probability)));
  const meter = document.createElement("meter");
  meter.value = probability;
  meter.setAttribute("aria-label", `${words(label)}: ${percent(probability)}`);
  item.append(name, meter);
  return item;
}

/** A nested object as headed lists: plain values first, then each object under its name. */
function sections(found, depth = 0) {
  const plain = Object.entries(found).filter(([, value]) => value === null || typeof value !== "object" || Array.isArray(value));
  const nested = Object.entries(found).filter(([, value]) => value !== null && typeof value === "object" && !Array.isArray(value));
  const parts = plain.length ? [pairs(Object.fromEntries(plain))] : [];
  for (const [name, value] of nested) parts.push(make(depth ? "h4" : "h3", words(name)), ...sections(value, depth + 1));
  return parts;
}

function pairs(values) {
  const list = document.createElement("dl");
  for (const [name, value] of Object.entries(values)) {
    const items = (Array.isArray(value) ? value : [value]).filter((item) => item !== "" && item !== null);
    if (!items.length) continue;
    const told = document.createElement("dd");
    told.append(...items.map((item) => make("div", typeof item === "object" ? JSON.stringify(item) : item)));
    list.append(make("dt", words(name)), told);
  }
  return list;
}

export function make(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = String(text);
  if (className) element.className = className;
  return element;
}

export function percent(part) {
  const rounded = Math.round(part * 100);
  return rounded === 100 && part < 1 ? "over 99 %" : `${rounded} %`;
}

function figure(number) {
  return number.toPrecision(3);
}
