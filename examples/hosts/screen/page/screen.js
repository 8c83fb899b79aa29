// Shows what the status says; events only tell when to look again. So a reload, a lost event, or another screen that
// answered meanwhile changes nothing about what is right.
"use strict";
const $ = (id) => document.getElementById(id);
let language = localStorage.getItem("language");
let car = { parked: true, charging: false };
let status = null;
let title = null;
let note = "";
let shownDigest = "";
let busy = false;

const say = () => TEXTS[language];
const text = (localised) => localised?.[language === "zh" ? "zh-CN" : "en"] ?? localised?.en ?? "";
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.ceil(bytes / 1e6))} MB`);
const minutes = (seconds) => Math.max(1, Math.round(seconds / 60));

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path.slice(1), options);
  } catch {
    throw { code: "lost" };
  }
  const value = await answer.json();
  if (!answer.ok) throw value;
  return value;
}

async function act(method, path, body) {
  if (busy) return; // a finger that trembles
  busy = true;
  note = "";
  try {
    await ask(method, path, body);
  } catch (error) {
    const words = { "offer-changed": say().changed, driving: say().driving, lost: say().lost };
    note = `${words[error.code] ?? say().refused} ${say().code(error.code)}`;
  } finally {
    busy = false;
  }
  await look();
}

// Tonight: the next 22:00 by the car's clock, and only while it charges and is parked.
function tonight() {
  const at = new Date();
  if (at.getHours() >= 22) return { conditions: ["charging", "parked"] };
  at.setHours(22, 0, 0, 0);
  return { conditions: ["charging", "parked"], not_before: at.toISOString().slice(0, 19) + "Z" };
}

const decide = (answer, wishes = {}) => () =>
  act("POST", "/v1/decisions", { offer_digest: status.offer.digest, answer, channel: "host", ...wishes });
const post = (path, body = {}) => () => act("POST", path, body);

function offerView(view) {
  const { offer } = view;
  const facts = [text(offer.notes)];
  if (offer.urgency_reason) facts.unshift(say().urgent(text(offer.urgency_reason)));
  facts.push(view.estimate_s ? `${say().download(size(offer.planned_bytes))} · ${say().minutes(minutes(view.estimate_s))}` : say().download(size(offer.planned_bytes)));
  facts.push(offer.new_permissions.length ? say().rights(offer.new_permissions.join(", ")) : say().noRights);
  const actions = car.parked
    ? [[say().now, decide("accept"), true], [say().tonight, decide("accept", tonight())], [say().later, decide("later")], [say().skip, decide("skip")]]
    : [];
  return { title: say().offer(offer.to_version), facts, actions, note: car.parked ? "" : say().driving, digest: view.digest };
}

function updateView(model) {
  const waits = model.waits_for.map((name) => say().waits[name.split(":")[0]] ?? name);
  const step = say().step[model.phase] ?? model.phase;
  const facts = model.phase === "waiting" || model.paused ? waits : [];
  const progress = model.paused || !model.progress?.total ? null : Math.floor((100 * model.progress.done) / model.progress.total);
  if (model.progress?.left_s) facts.push(say().left(minutes(model.progress.left_s)));
  const begun = model.phase !== "waiting" || model.waits_before !== "fetch";
  const standing = model.answers.find((each) => each.answer === "accept" && each.revocable);
  const actions = [];
  if (model.phase === "activating" || model.phase === "rolling-back") return { title: `${step} · ${model.target_version}`, facts, actions, progress };
  if (!begun && standing) {
    // Nothing has happened yet: the answer is taken back, and the offer stands again.
    if (car.parked) actions.push([say().revoke, () => act("DELETE", `/v1/decisions/${standing.id}`)]);
  } else if (model.paused) {
    if (car.parked) actions.push([say().resume, post("/v1/resume"), true], [say().cancel, post("/v1/cancel")]);
  } else {
    actions.push([say().pause, post("/v1/pause")]);
    if (car.parked) actions.push([say().cancel, post("/v1/cancel")]);
  }
  return { title: `${step} · ${model.target_version}`, facts, actions, progress };
}

function restView(model) {
  const outcome = model.last_outcome;
  const actions = car.parked ? [[say().check, post("/v1/check"), true]] : [];
  if (car.parked && model.active_version && model.previous_version)
    actions.push([say().back(model.previous_version), post("/v1/rollback", { channel: "host" })]);
  if (!model.active_version) return { title: say().notInstalled, facts: [], actions };
  if (outcome?.result === "failed")
    return { title: say().failed, facts: [say().same(model.active_version), say().code(outcome.error?.code ?? "-")], actions };
  if (outcome?.result === "cancelled") return { title: say().cancelled, facts: [say().same(model.active_version)], actions };
  return { title: outcome ? say().done(model.active_version) : say().upToDate, facts: [], actions };
}

function show() {
  const known = status !== null;
  const view = !known ? { title: say().lost, facts: [], actions: [] }
    : status.target_version && status.phase !== "watching" ? updateView(status) : status.offer ? offerView(status.offer) : restView(status);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  $("name").textContent = known ? text(title) || status.model : "";
  $("version").textContent = known && status.active_version ? say().inUse(status.active_version) : "";
  $("language").textContent = say().other;
  $("title").textContent = view.title;
  $("facts").replaceChildren(...view.facts.filter(Boolean).map((fact) => Object.assign(document.createElement("p"), { textContent: fact })));
  $("note").textContent = note || view.note || "";
  const hasMeter = view.progress !== null && view.progress !== undefined;
  $("meter").hidden = !hasMeter;
  if (hasMeter) {
    $("meter").setAttribute("aria-valuenow", view.progress);
    $("meter").setAttribute("aria-label", view.title);
    $("bar").style.width = `${view.progress}%`;
  }
  drawActions(view.actions);
  if (view.digest && view.digest !== shownDigest) tellShown(view);
}

// Buttons stay while they say the same: one that is replaced under a finger is not pressed.
function drawActions(actions) {
  const labels = actions.map(([label]) => label).join("\n");
  if ($("actions").dataset.labels !== labels) {
    $("actions").dataset.labels = labels;
    $("actions").replaceChildren(...actions.map(([label, , main]) => Object.assign(document.createElement("button"), { type: "button", textContent: label, className: main ? "main" : "" })));
  }
  [...$("actions").children].forEach((button, index) => { button.onclick = actions[index][1]; });
}

// The agent takes no answer to what nobody saw; it keeps the words that were on the screen.
async function tellShown(view) {
  shownDigest = view.digest;
  const body = { offer_digest: view.digest, language: language === "zh" ? "zh-CN" : "en", text: [view.title, ...view.facts].join("\n"), channel: "host" };
  try {
    await ask("POST", "/v1/shown", body);
  } catch {
    shownDigest = ""; // the next look tries again
  }
}

async function look() {
  try {
    car = await ask("GET", "/car");
    language ??= car.language;
    status = (await ask("GET", "/v1/status")).models[0];
    title = (status.offer ?? (await ask("GET", "/v1/about"))).title;
  } catch {
    language ??= "en";
    status = null;
  }
  show();
}

// At most one look at a time, and one more when something came meanwhile: events may come ten times a second.
let looking = null;
let again = false;
function lookSoon() {
  again = true;
  looking ??= (async () => {
    while (again) {
      again = false;
      await look();
      await new Promise((done) => setTimeout(done, 200));
    }
    looking = null;
  })();
}

$("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  shownDigest = ""; // shown again, in other words
  show();
};
const events = new EventSource("events");
for (const kind of ["phase", "progress", "offer", "outcome", "decision", "engine", "notice", "reset"]) events.addEventListener(kind, lookSoon);
events.onopen = lookSoon;
events.onerror = lookSoon; // the browser connects again by itself
setInterval(lookSoon, 5000); // the car's own state changes without an event of the agent
lookSoon();
