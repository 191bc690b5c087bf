// The page's entry point: connects the form, the calls, the images, the code and the history.

import { ApiError } from "../common/api.js";
import { showError } from "../common/errors.js";
import { getKey, onKeyChange, takeKeysFromUrl } from "../common/key.js";
import { createKeyForm } from "../common/key_form.js";
import { Call } from "./call.js";
import { CodePanel } from "./code_panel.js";
import { describePrice, withCurrency } from "./cost.js";
import { endpointOf } from "./endpoint.js";
import { MAX_PROMPT, clearFault, countCharacters, faultOfSeed, readFields, showFault, writeFields } from "./form.js";
import { addCall, onHistoryChange } from "./history.js";
import { showHistory } from "./history_view.js";
import { dataUrlOf } from "./image_blob.js";
import { loadModels, showModels } from "./models.js";
import { Progress } from "./progress.js";
import { showRatios } from "./ratios.js";
import { Reference } from "./reference.js";
import { showImages } from "./results.js";
import { randomSeed } from "./seed.js";

const byId = (id) => document.getElementById(id);
const form = byId("call");
const draw = byId("draw");
const cancel = byId("cancel");
const isNarrow = matchMedia("(max-width: 52rem)"); // the images are below the form, as in playground.css
const progress = new Progress(byId("progress"));
// What becomes of a cancelled call, by what `Call.cancel` returns.
const CANCELLED = {
  withdrawn: "Cancelled. Nothing was drawn, and it cost nothing.",
  sent: "Cancelled while it was sent. If it has arrived, it is drawn and charged.",
  goes_on: "MiniMax cannot be stopped: the call goes on and is charged. Its images will be in the history.",
};
let loading = null; // the newest request for the models
let models = new Map();
let running = null;
let unknown = null; // the newest call that did not reach the gateway for sure

takeKeysFromUrl();
byId("key").append(createKeyForm());
showRatios(form.querySelector(".ratios"));
const code = new CodePanel(byId("code"));
const reference = new Reference(showForm, showFaultOfReference);
form.addEventListener("input", showForm);
form.addEventListener("submit", (event) => { event.preventDefault(); if (!running) start(); });
cancel.onclick = stop;
onKeyChange(useModels);
useModels();
refreshHistory();
onHistoryChange(refreshHistory);

async function useModels() {
  const mine = loadModels();
  loading = mine;
  const loaded = await mine;
  if (loading !== mine) return; // the key was changed meanwhile
  models = loaded;
  showModels(form.elements.model, models);
  showForm();
}

/** Show what follows from the form: the count of characters, the price and the code. */
function showForm() {
  const fields = readFields(form);
  byId("prompt-count").textContent = `${countCharacters(fields.prompt)} / ${MAX_PROMPT}`;
  byId("price").textContent = describePrice(models.get(fields.model), Number(fields.n ?? 1));
  code.show({
    baseUrl: `${location.origin}/v1`,
    endpoint: endpointOf(fields.model, reference.file !== null),
    fields,
    file: reference.file?.name ?? null,
    imageUrl: reference.file ? null : reference.url.value || null,
    fault: faultOfSeed(form),
  });
}

/** Show `message` at the reference image. Empty: there is no fault any more. */
function showFaultOfReference(message) {
  if (message || byId("reference").contains(byId("fault"))) clearFault(form);
  if (message) showFault(form, "image", message);
}

async function start() {
  clearFault(form);
  for (const id of ["key-error", "error"]) byId(id).replaceChildren();
  byId("outcome").textContent = "";
  if (!getKey()) return askForKey();
  const fault = faultOfSeed(form);
  if (fault) return showProblem(new ApiError({ message: fault, status: 0, code: "invalid_value", param: "seed" }), {});
  const pending = {};
  setRunning(pending);
  const call = await nextCall().catch((error) => error);
  if (running !== pending) return; // it was cancelled meanwhile
  if (call instanceof Error) {
    setRunning(null);
    return showProblem(call, pending);
  }
  setRunning(call);
  if (unknown === call) unknown = null; // the catch below sets it again if that is still so
  try {
    await call.run((status) => { if (running === call) progress.show(status); });
    await keep(call);
  } catch (error) {
    if (!call.task) unknown = call;
    if (running === call && error.name !== "AbortError") showProblem(error, call);
  } finally {
    if (running === call) setRunning(null);
  }
}

/**
 * The call that the form asks for: once more the one before, if the gateway may have that without our knowing.
 * @throws {ApiError} if the reference image cannot be read.
 */
async function nextCall() {
  const known = await loading; // before that the form has no model
  const fields = readFields(form);
  const currency = known.get(fields.model)?.pricing?.currency ?? "";
  const chosen = await reference.value();
  const image = chosen instanceof File ? await dataUrlOf(chosen) : chosen;
  const call = new Call({ seed: randomSeed(), ...fields }, chosen, image, currency);
  const again = unknown?.isLike(call) && (fields.seed ?? unknown.fields.seed) === unknown.fields.seed;
  return again ? Object.assign(unknown, { currency }) : call; // no currency is known with a wrong key
}

function askForKey() {
  showError(byId("key-error"), new ApiError({ message: "An API key is needed.", status: 0, code: "no_key" }));
  byId("api-key").focus();
}

/** Keep the images of a call in the history, and show them unless another call was made meanwhile. */
async function keep(call) {
  const { time, fields, reference: given, images, urls, cost } = call;
  const saved = addCall({ time, fields, reference: given, images, urls, cost });
  if (running === call) {
    show(call);
    if (isNarrow.matches) byId("results").scrollIntoView();
    else byId("images-title").scrollIntoView({ block: "nearest" });
    if (call.withheld) byId("outcome").append(` ${describeWithheld(call.withheld)}`);
  }
  await saved.then(refreshHistory, () => {}); // a browser that stores nothing still shows the images
}

function show(call) {
  byId("empty").hidden = true;
  byId("outcome").textContent = call.cost;
  showImages(byId("images"), call, { again: drawAgain, use: (image) => reference.show(image) });
  allowAgain(running === null);
}

/** While a call runs, another one could not begin: its button would only overwrite the form. */
function allowAgain(isAllowed) {
  for (const again of byId("images").querySelectorAll(".again")) again.disabled = !isAllowed;
}

function describeWithheld(count) {
  return count === 1 ? "1 image was withheld as sensitive." : `${count} images were withheld as sensitive.`;
}

function showProblem(error, call) {
  if (!error.code) throw error; // a fault of this page
  if (error.code === "insufficient_balance") error.message = withCurrency(error.message, call.currency);
  showError(byId("error"), error, (!error.taskId && call.cost) || undefined); // a call that goes on may cost more yet
  const param = error.status === 413 ? "image" : error.param; // only the image can make a request too large
  if (param) showFault(form, param, error.message); // whose focus leads to the field instead
}

async function stop() {
  const call = running;
  const end = (await call.cancel?.()) ?? "withdrawn"; // without a method, it was not sent yet
  if (running !== call) return;
  setRunning(null);
  progress.stop(CANCELLED[end]);
}

/** Make an earlier call again: its fields, with the seed, and its reference are in the form then. */
function drawAgain(call) {
  writeFields(form, call.fields);
  reference.restore(call.reference);
  form.requestSubmit();
  if (running) cancel.scrollIntoView({ block: "nearest" }); // beside the progress
}

function setRunning(call) {
  const focused = document.activeElement;
  const hadFocus = [draw, cancel].includes(focused) || focused.matches(".again");
  running = call;
  allowAgain(call === null);
  draw.hidden = call !== null;
  cancel.hidden = call === null;
  if (call === null) progress.stop();
  // What the page has just scrolled to stays in view.
  if (hadFocus) (call === null ? draw : cancel).focus({ preventScroll: true });
}

function refreshHistory() {
  showHistory(byId("history"), (call) => { show(call); byId("images").scrollIntoView(); }).catch(() => {
    byId("history").textContent = "This browser stores nothing for this page.";
  });
}
