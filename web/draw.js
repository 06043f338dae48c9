// A person's own boxes on the photo: at first those that were found, then without the wrong ones and with what was missed.
// A pointer draws; on a box it selects (a click) and moves the one that is selected. The list beside is what a keyboard uses.

import { colourOf, drawnBox, whereabouts } from "./boxes.js";
import { make, words } from "./show.js";

const STEP = 0.01; // of a key press, in shares of the photo
const LEAST_PX = 3; // on the screen: less is a click, and no box
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const $ = (id) => document.getElementById(id);
let marks = []; // {label, place: [x1, y1, x2, y2]} in shares of the photo
let chosen = -1; // of marks; what the choice of a label and the keys are about
let drag = null; // {pointer, start: [x, y], mark, from}: what one pointer does; from: the place of a mark that it moves
let size = { width: 1, height: 1 }; // of the photo, in pixels
let labels = []; // of the model, for the colours

/** answer: {boxes, width_px, height_px}. places: labels that a box may have. known: labels of the model. */
export function startMarking(answer, places, known) {
  size = { width: answer.width_px, height: answer.height_px };
  $("frame").style.setProperty("--aspect", size.width / size.height);
  labels = known;
  drag = null;
  marks = answer.boxes.map(({ label, box: [x1, y1, x2, y2] }) => ({
    label,
    place: [x1 / size.width, y1 / size.height, x2 / size.width, y2 / size.height],
  }));
  $("mark-label").replaceChildren(...places.map((label) => new Option(words(label), label)));
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
    if (event.button !== 0 || drag) return; // a second finger draws nothing
    event.preventDefault();
    layer.setPointerCapture(event.pointerId);
    const start = at(event);
    const mark = holds(marks[chosen], start) ? marks[chosen] : undefined;
    drag = { pointer: event.pointerId, start, mark, from: mark?.place };
  });
  layer.addEventListener("pointermove", (event) => event.pointerId === drag?.pointer && dragged(at(event)));
  layer.addEventListener("pointerup", (event) => event.pointerId === drag?.pointer && dropped(at(event)));
  layer.addEventListener("pointercancel", (event) => event.pointerId === drag?.pointer && dropped(null));
  $("mark-label").addEventListener("change", (event) => {
    if (marks[chosen]) marks[chosen].label = event.target.value;
    choose(chosen);
  });
  $("mark-add").addEventListener("click", () => {
    choose(marks.push({ label: $("mark-label").value, place: [0.4, 0.4, 0.6, 0.6] }) - 1);
    $("marked").lastElementChild.firstElementChild.focus();
  });
}

function dragged(to) {
  const { start, mark, from } = drag;
  if (from) {
    mark.place = shifted(from, to[0] - start[0], to[1] - start[1]);
  } else if (mark) {
    mark.place = spanned(start, to);
  } else {
    drag.mark = { label: $("mark-label").value, place: spanned(start, to) };
    choose(marks.push(drag.mark) - 1);
  }
  paint();
}

/** to: where the pointer left, null where the browser took it for something else. */
function dropped(to) {
  const { start, mark, from } = drag;
  drag = null;
  const { width, height } = $("marks").getBoundingClientRect();
  const [x1, y1, x2, y2] = spanned(start, to ?? start).map((part, axis) => part * (axis % 2 ? height : width));
  if (mark && from) {
    if (!to) mark.place = from;
  } else if (mark && (x2 - x1 < LEAST_PX || y2 - y1 < LEAST_PX)) {
    marks.splice(marks.indexOf(mark), 1);
  }
  // A new box is left alone, so that a label chosen for the next one doesn't rename it.
  const click = to && x2 - x1 < LEAST_PX && y2 - y1 < LEAST_PX;
  choose(click ? smallestAt(start) : from ? chosen : -1);
}

function holds(mark, [x, y]) {
  return mark && x >= mark.place[0] && x <= mark.place[2] && y >= mark.place[1] && y <= mark.place[3];
}

/** Of the marks, -1 where there is none. */
function smallestAt(point) {
  const area = ({ place: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  const [first] = marks.filter((mark) => holds(mark, point)).sort((one, other) => area(one) - area(other));
  return marks.indexOf(first);
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
  const where = whereabouts([x1, y1, x2 - x1, y2 - y1], size);
  button.append(make("span", number + 1, "tag"), make("span", words(label), "name"), make("span", where, "quiet"));
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
    marks[number].place = shifted(marks[number].place, dx, dy);
  }
  focused(number);
}

function shifted([x1, y1, x2, y2], dx, dy) {
  const x = Math.min(1 - (x2 - x1), Math.max(0, x1 + dx));
  const y = Math.min(1 - (y2 - y1), Math.max(0, y1 + dy));
  return [x, y, x + x2 - x1, y + y2 - y1];
}

function clamped(part) {
  return Math.min(1, Math.max(0, part));
}

function shown(marking) {
  $("mark").hidden = !marking;
  $("result").classList.toggle("marking", marking);
}
