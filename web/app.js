// From a photo to what is shown: wires the page's parts together.

import { Problem, explain, modelVersion, onKeyNeeded, passport, predict, sendFeedback } from "./api.js";
import { showBoxes } from "./boxes.js";
import { openCamera } from "./camera.js";
import { marked, startMarking, stopMarking, wireMarking } from "./draw.js";
import { showAnswer, showCard, showHeat, showPassport, showPhoto, showProblem, words } from "./show.js";

const NORMAL = "normal"; // what an image without a box is called
const $ = (id) => document.getElementById(id);
let current = null; // {image, id, answer}: what the page shows now
let model = null; // what the service says of its model, null until it has
let asked = 0; // counts photos, so that a late answer about an earlier one is dropped

async function look(image) {
  const number = ++asked;
  current = null;
  for (const id of ["problem", "result", "heat", "heatbar"]) $(id).hidden = true;
  $("busy").hidden = false;
  const keep = $("keep").checked;
  try {
    const answer = await predict(image, keep);
    if (!model) await introduce(); // it was not told without a key
    if (number !== asked) return;
    await showPhoto(image);
    if (number !== asked) return;
    current = { image, id: answer.prediction_id, answer };
    showAnswer(answer);
    showBoxes(answer, model?.labels ?? [], model?.confident_at ?? 0);
    showCard(answer.card);
    $("unkept").hidden = !keep || answer.kept === true;
    resetFeedback();
    $("result").hidden = false;
    $("answer").focus();
    // Boxes are on the photo already; of a heatmap there is more to see.
    if (model?.heatmap !== false) lookCloser(image, number);
  } catch (error) {
    if (number === asked) showProblem(error);
  } finally {
    if (number === asked) $("busy").hidden = true;
  }
}

async function lookCloser(image, number) {
  const heat = await explain(image).catch(() => null);
  if (heat && number === asked) showHeat(heat);
}

function resetFeedback() {
  $("ask").hidden = false;
  $("correct").hidden = true;
  $("several").hidden = $("found").childElementCount < 2;
  $("drawable").hidden = !current.answer.boxes || !model;
  $("right").textContent = current.answer.boxes?.length ? "Was this right, every box?" : "Was this right?";
  $("thanks").textContent = "";
  stopMarking();
}

/** boxes: of one of them is `label`, or there are none and it is normal; undefined where nobody looked at places. */
async function tell(label, boxes) {
  if (!current) return;
  const { id, answer } = current;
  try {
    await sendFeedback(id, label, boxes);
    if (current?.id !== id) return;
    $("ask").hidden = $("correct").hidden = true;
    stopMarking();
    const learns = answer.kept && (boxes || !answer.boxes || label === NORMAL);
    $("thanks").textContent = `Thank you. It counts for how well this model is doing${learns ? ", and the next one can learn from this photo" : ""}.`;
    $("thanks").focus(); // the button that had it is gone
  } catch (error) {
    $("thanks").textContent = error instanceof Problem ? `${error.got} ${error.act}` : "That did not work; try again.";
  }
}

/** All of it was right: places too, where the answer has them and its label is one of theirs. */
function agree() {
  const { label, boxes } = current.answer;
  const whole = boxes && (boxes.length ? boxes.some((one) => one.label === label) : label === NORMAL);
  return tell(label, whole ? boxes.map((one) => ({ label: one.label, box: one.box })) : undefined);
}

function tellMarked() {
  const boxes = marked();
  const { label } = current.answer;
  return tell(boxes.some((one) => one.label === label) ? label : (boxes[0]?.label ?? NORMAL), boxes);
}

function askForKey() {
  const dialog = $("key");
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const value = dialog.returnValue === "ok" ? $("key-value").value.trim() : "";
        $("key-value").value = "";
        resolve(value);
      },
      { once: true },
    );
    dialog.returnValue = "";
    if (!dialog.open) dialog.showModal();
  });
}

function wirePhoto() {
  const tellKept = () => {
    $("kept").textContent = $("keep").checked ? "It is kept for labelling." : "It is not kept.";
  };
  $("keep").addEventListener("change", tellKept);
  tellKept(); // a reload may leave it ticked
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) look(file);
    event.target.value = "";
  });
  const drop = $("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) look(file);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) look(file);
  });
  openCamera(look);
}

function wireAnswer() {
  $("slider").addEventListener("input", (event) => {
    $("heat").style.opacity = event.target.value / 100;
  });
  $("yes").addEventListener("click", agree);
  $("no").addEventListener("click", () => {
    $("correct").hidden = false;
    $("label").focus();
  });
  $("feedback").addEventListener("submit", (event) => {
    event.preventDefault();
    tell($("label").value);
  });
  $("draw").addEventListener("click", () => {
    const places = (model?.vocabulary ?? []).filter((label) => label !== NORMAL);
    $("correct").hidden = true;
    startMarking(current.answer, places, model.labels);
    $("mark-label").focus();
  });
  $("mark-send").addEventListener("click", tellMarked);
  $("mark-cancel").addEventListener("click", () => {
    resetFeedback();
    $("no").focus();
  });
  $("passport-open").addEventListener("click", async () => {
    try {
      showPassport(await passport(current.id));
    } catch (error) {
      showProblem(error);
    }
  });
}

async function introduce() {
  model = await modelVersion().catch(() => null);
  if (!model) return;
  $("title").textContent = model.title ?? words(model.system);
  document.title = $("title").textContent;
  $("model").textContent = `Model ${model.version}, ${model.arch}: ${model.labels.map(words).join(", ")}`;
  const known = model.vocabulary ?? model.labels;
  $("label").replaceChildren(...known.map((label) => new Option(words(label), label)));
}

onKeyNeeded(askForKey);
wirePhoto();
wireAnswer();
wireMarking();
introduce();
