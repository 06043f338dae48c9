// What was found on the photo: boxes over it and the same as a list beside it. The list is what a keyboard and a screen
// reader use; pointing at either lights both.

import { make, percent, words } from "./show.js";

const COLOURS = 8; // .colour0 … in style.css
const FEW = 5; // up to so many boxes carry their name on the photo; of more only the number stands there
const THIRDS = [["upper left", "top", "upper right"], ["left", "middle", "right"], ["lower left", "bottom", "lower right"]];

const $ = (id) => document.getElementById(id);

/** answer: {boxes: [{label, confidence, box: [x1, y1, x2, y2]}], width_px, height_px}, corners in pixels of the upright photo;
 * an answer of a model that finds nothing in places has no `boxes`. labels: of the model. sureAt: as it says of itself. */
export function showBoxes(answer, labels, sureAt) {
  const found = (answer.boxes ?? []).map((one, number) => ({
    ...one,
    number,
    colour: colourOf(one.label, labels),
    sure: one.confidence >= sureAt,
    place: shares(one.box, answer),
  }));
  // The large ones below: a small one in a large one can still be pointed at.
  const below = [...found].sort((one, other) => area(other) - area(one));
  $("boxes").replaceChildren(...below.map((one) => drawn(one, found.length <= FEW)));
  $("found").replaceChildren(...found.map((one) => row(one, answer)));
  $("count").hidden = !answer.boxes;
  $("count").textContent = found.length ? `${found.length} found on the photo` : "Nothing found on the photo.";
  $("count").className = found.length ? "" : "calm";
}

/** The class of a label's colour: labels of a model keep theirs, wherever they are shown. */
export function colourOf(label, labels) {
  return `colour${Math.max(0, labels.indexOf(label)) % COLOURS}`;
}

/** [left, top, width, height] in shares of the photo */
function shares([x1, y1, x2, y2], { width_px: width, height_px: height }) {
  return [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height];
}

function drawn(one, named) {
  const text = named ? `${one.number + 1} ${words(one.label)} ${percent(one.confidence)}` : `${one.number + 1}`;
  const group = drawnBox(one.place, text, `${one.colour} ${one.sure ? "" : "faint"}`);
  group.dataset.box = one.number;
  wire(group, one.number);
  return group;
}

/** A <g> for an <svg> that covers the photo. place: [left, top, width, height] in shares of it. */
export function drawnBox([left, top, width, height], text, classes) {
  const group = shape("g", { class: classes });
  const sides = { x: share(left), y: share(top), width: share(width), height: share(height) };
  const right = left + width / 2 > 0.6; // its name then ends at the box's right edge, so that it stays on the photo
  const name = { x: share(right ? left + width : left), y: share(top), dy: top > 0.08 ? "-.4em" : "1.15em", dx: right ? "-.3em" : ".3em" };
  group.append(
    shape("rect", { ...sides, class: "ground" }),
    shape("rect", { ...sides, class: "line" }),
    shape("text", { ...name, "text-anchor": right ? "end" : "start" }, text),
  );
  return group;
}

/** "lower right, 80 × 100 px". place: [left, top, width, height] in shares of a photo of size {width, height} in pixels. */
export function whereabouts([left, top, wide, high], { width, height }) {
  const part = THIRDS[third(top + high / 2)][third(left + wide / 2)];
  return `${part}, ${Math.round(wide * width)} × ${Math.round(high * height)} px`;
}

function row(one, { width_px: width, height_px: height }) {
  const item = document.createElement("li");
  const button = make("button", "", `plain ${one.colour}`);
  button.type = "button";
  button.dataset.box = one.number;
  const meter = document.createElement("meter");
  meter.value = one.confidence;
  meter.setAttribute("aria-hidden", "true");
  button.append(
    make("span", one.number + 1, "tag"),
    make("span", words(one.label), "name"),
    make("span", percent(one.confidence), one.sure ? "sure" : "unsure"),
    make("span", whereabouts(one.place, { width, height }), "quiet"),
    meter,
  );
  for (const name of ["focus", "click"]) button.addEventListener(name, () => light(one.number));
  button.addEventListener("blur", () => light(null));
  wire(button, one.number);
  item.append(button);
  return item;
}

function wire(element, number) {
  element.addEventListener("pointerenter", () => light(number));
  element.addEventListener("pointerleave", () => light(null));
}

/** number: of the box that is pointed at, null for none. */
function light(number) {
  for (const element of document.querySelectorAll("[data-box]")) {
    element.classList.toggle("lit", number !== null && Number(element.dataset.box) === number);
  }
  $("boxes").classList.toggle("chosen", number !== null);
}

function area({ place: [, , width, height] }) {
  return width * height;
}

function third(part) {
  return Math.min(2, Math.max(0, Math.floor(part * 3)));
}

function share(part) {
  return `${(100 * part).toFixed(3)}%`;
}

function shape(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}
