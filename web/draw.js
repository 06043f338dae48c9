// A person's own boxes on the photo: at first those that were found, then without the wrong ones and with what was missed.
// Drawn with a pointer; the list beside is what a keyboard uses: it selects, moves (arrows), resizes (with Shift) and removes.

import { colourOf, drawnBox } from "./boxes.js";
import { make, words } from "./show.js";

const STEP = 0.01; // of a key press, in shares of the photo
const LEAST_PX = 3; // on the screen: less is a click, and no box
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const $ = (id) => document.getElementById(id);
let marks = []; // {label, place: [x1, y1, x2, y2]} in shares of the photo
let chosen = -1; // of marks; what the choice of a label and the keys are about
let size = { width: 1, height: 1 }; // of the photo, in pixels
let labels = []; // of the model, for the colours

/** answer: {boxes, width_px, height_px}. known: labels of the model. */
export function startMarking(answer, known) {
  size = { width: answer.width_px, height: answer.height_px };
  labels = known;
  marks = answer.boxes.map(({ label, box: [x1, y1, x2, y2] }) => ({
    label,
    place: [x1 / size.width, y1 / size.height, x2 / size.width, y2 / size.height],
  }));
  $("mark-label").replaceChildren(...known.map((label) => new Option(words(label), label)));
  choose(-1);
  shown(true);
}

export function stopMarking() {
  marks = [];
  shown(false);
}

/** [{label, box: [x1, y1, x2, y2]}], corners in pixels of the upright photo */
export function marked() {
  return marks.map(({ label, place: [x1, y1, x2, y2] }) => ({
    label,
    box: [x1 * size.width, y1 * size.height, x2 * size.width, y2 * size.height].map((value) => Math.round(value * 10) / 10),
  }));
}

export function wireMarking() {
  const layer = $("marks");
  layer.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    const start = at(event);
    choose(marks.push({ label: $("mark-label").value, place: [...start, ...start], start }) - 1);
  });
  layer.addEventListener("pointermove", (event) => {
    const mark = marks[chosen];
    if (!mark?.start) return;
    mark.place = spanned(mark.start, at(event));
    paint();
  });
  layer.addEventListener("pointerup", () => finish(false));
  layer.addEventListener("pointercancel", () => finish(true));
  $("mark-label").addEventListener("change", (event) => {
    if (marks[chosen]) marks[chosen].label = event.target.value;
    choose(chosen);
  });
  $("mark-add").addEventListener("click", () => {
    choose(marks.push({ label: $("mark-label").value, place: [0.4, 0.4, 0.6, 0.6] }) - 1);
    $("marked").lastElementChild.firstElementChild.focus();
  });
}

function finish(cancelled) {
  const mark = marks[chosen];
  if (!mark?.start) return;
  delete mark.start;
  const [x1, y1, x2, y2] = mark.place;
  const { width, height } = $("marks").getBoundingClientRect();
  const small = (x2 - x1) * width < LEAST_PX || (y2 - y1) * height < LEAST_PX;
  if (small || cancelled) marks.splice(chosen, 1);
  choose(small || cancelled ? -1 : chosen);
}

function at(event) {
  const { left, top, width, height } = $("marks").getBoundingClientRect();
  return [clamped((event.clientX - left) / width), clamped((event.clientY - top) / height)];
}

function spanned([x1, y1], [x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

function choose(number) {
  chosen = number;
  if (marks[number]) $("mark-label").value = marks[number].label;
  $("marked").replaceChildren(...marks.map(row));
  paint();
}

function paint() {
  $("marks").replaceChildren(
    ...marks.map(({ label, place: [x1, y1, x2, y2] }, number) =>
      drawnBox([x1, y1, x2 - x1, y2 - y1], `${number + 1}`, `${colourOf(label, labels)}${number === chosen ? " lit" : ""}`),
    ),
  );
  [...$("marked").children].forEach((item, number) => item.classList.toggle("lit", number === chosen));
}

function row({ label, place: [x1, y1, x2, y2] }, number) {
  const item = document.createElement("li");
  const button = make("button", "", `plain ${colourOf(label, labels)}`);
  button.type = "button";
  const pixels = `${Math.round((x2 - x1) * size.width)} × ${Math.round((y2 - y1) * size.height)} px`;
  button.append(make("span", number + 1, "tag"), make("span", words(label), "name"), make("span", pixels, "quiet"));
  button.addEventListener("click", () => focused(number));
  button.addEventListener("keydown", (event) => pressed(event, number));
  const remove = make("button", "Remove", "plain");
  remove.type = "button";
  remove.setAttribute("aria-label", `Remove ${number + 1} ${words(label)}`);
  remove.addEventListener("click", () => removed(number));
  item.append(button, remove);
  return item;
}

function focused(number) {
  choose(number);
  $("marked").children[number]?.firstElementChild.focus();
}

function pressed(event, number) {
  if (event.key === "Delete" || event.key === "Backspace") removed(number);
  else if (MOVES[event.key]) moved(number, MOVES[event.key], event.shiftKey);
  else return;
  event.preventDefault();
}

function removed(number) {
  marks.splice(number, 1);
  choose(-1);
  ($("marked").children[Math.min(number, marks.length - 1)]?.firstElementChild ?? $("mark-add")).focus();
}

/** Its far corner alone with `resizing`, else all of it; never out of the photo. */
function moved(number, [right, down], resizing) {
  const [x1, y1, x2, y2] = marks[number].place;
  const [dx, dy] = [right * STEP, down * STEP];
  if (resizing) {
    marks[number].place = [x1, y1, Math.min(1, Math.max(x1 + STEP, x2 + dx)), Math.min(1, Math.max(y1 + STEP, y2 + dy))];
  } else {
    const x = Math.min(1 - (x2 - x1), Math.max(0, x1 + dx));
    const y = Math.min(1 - (y2 - y1), Math.max(0, y1 + dy));
    marks[number].place = [x, y, x + x2 - x1, y + y2 - y1];
  }
  focused(number);
}

function clamped(part) {
  return Math.min(1, Math.max(0, part));
}

function shown(marking) {
  $("mark").hidden = !marking;
  $("result").classList.toggle("marking", marking);
}
