// From a photo to what is shown: wires the page's parts together.

import { Problem, explain, modelVersion, onKeyNeeded, passport, predict, sendFeedback } from "./api.js";
import { showBoxes } from "./boxes.js";
import { openCamera } from "./camera.js";
import { showAnswer, showCard, showHeat, showPassport, showPhoto, showProblem, words } from "./show.js";

const $ = (id) => document.getElementById(id);
let current = null; // {image, id, label}: what the page shows now
let model = null; // what the service says of its model, null until it has
let asked = 0; // counts photos, so that a late answer about an earlier one is dropped

async function look(image) {
  const number = ++asked;
  current = null;
  for (const id of ["problem", "result", "heat", "heatbar"]) $(id).hidden = true;
  $("busy").hidden = false;
  try {
    const answer = await predict(image);
    if (number !== asked) return;
    await showPhoto(image);
    if (number !== asked) return;
    current = { image, id: answer.prediction_id, label: answer.label };
    showAnswer(answer);
    showBoxes(answer, model?.labels ?? [], model?.confident_at ?? 0);
    showCard(answer.card);
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
  $("thanks").textContent = "";
}

async function tell(label) {
  const id = current?.id;
  if (!id) return;
  try {
    await sendFeedback(id, label);
    if (current?.id !== id) return;
    $("ask").hidden = $("correct").hidden = true;
    $("thanks").textContent = "Thank you. It counts for how well this model is doing.";
  } catch (error) {
    $("thanks").textContent = error instanceof Problem ? `${error.got} ${error.act}` : "That did not work; try again.";
  }
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
  $("yes").addEventListener("click", () => tell(current.label));
  $("no").addEventListener("click", () => {
    $("correct").hidden = false;
    $("label").focus();
  });
  $("feedback").addEventListener("submit", (event) => {
    event.preventDefault();
    tell($("label").value);
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
introduce();
