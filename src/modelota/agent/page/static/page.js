// What the page gains from scripts; every view works without them.
//
//   <body data-live="phase outcome">   on these events of the agent the view is fetched anew, part by part
//   <… id="x" data-region>             a part that is replaced when it has changed; focus and open details stay
//   <… data-again="2">                 fetched anew after so many seconds, a few times: something is still to come
//   <… data-digest="…">                an offer: never replaced by another one under somebody's finger
//   <… data-progress="model">          figures that follow the agent's progress events
//   <form data-once>                   is sent once, however often its button is pressed
//   <button data-busy="…">             what it says while its form is on the way
//   <details class="menu">             closes on Escape and on a click elsewhere
"use strict";

(() => {
  const HIDDEN_S = 60; // a tab that nobody sees gives its connection back after this
  const AGAIN_MS = 3000;
  const AGAIN_TIMES = 5;
  const RETRY_MAX_MS = 60000;
  const LEAVING_MS = 20000;
  const FETCH_MS = 30000;
  const SOON_MS = 250;
  const kinds = (document.body.dataset.live || "").split(" ").filter(Boolean);
  const language = document.documentElement.lang;

  // -- events ---------------------------------------------------------------------------------------------------

  let source = null;
  let lastId = "";
  let hiddenTimer = 0;
  let retryTimer = 0;
  let retryMs = AGAIN_MS;
  let isLost = false;

  function open() {
    clearTimeout(retryTimer);
    if (source) return;
    const from = lastId ? `?after=${encodeURIComponent(lastId)}` : "";
    const opened = new EventSource(`/events${from}`);
    source = opened;
    opened.onopen = () => {
      retryMs = AGAIN_MS;
      lost(false);
      refresh(); // what happened between the view and this connection
    };
    opened.onerror = () => {
      lost(true);
      if (opened.readyState !== EventSource.CLOSED || source !== opened) return; // it tries again by itself
      source = null;
      retryTimer = setTimeout(() => { refresh(); open(); }, retryMs);
      retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
    };
    for (const kind of new Set([...kinds, "progress"])) {
      opened.addEventListener(kind, (event) => {
        lastId = event.lastEventId || lastId;
        const told = parsed(event.data);
        if (!told) return;
        if (kind === "progress" || kind === "cleaning") progressed(told);
        if (kinds.includes(kind)) refresh();
      });
    }
  }

  function close() {
    clearTimeout(retryTimer);
    if (source) source.close();
    source = null;
  }

  function lost(is) {
    const notice = document.getElementById("offline");
    clearTimeout(lost.timer);
    if (!is) isLost = false;
    if (!notice) return;
    if (!is) notice.hidden = true;
    else if (!isLost) lost.timer = setTimeout(() => { isLost = true; notice.hidden = false; }, AGAIN_MS);
  }

  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }

  // -- fetching the view anew -----------------------------------------------------------------------------------

  let isFetching = false;
  let isStale = false;
  let isLeaving = false; // an answer is on its way, or a link was followed: nothing may come between
  let againLeft = AGAIN_TIMES;

  function again() {
    const waiting = document.querySelector("[data-again]");
    if (!waiting || againLeft <= 0) return;
    againLeft -= 1;
    setTimeout(refresh, Number(waiting.dataset.again) * 1000);
  }

  async function refresh() {
    if (document.hidden || isFetching || isLeaving) {
      isStale = true;
      return;
    }
    isFetching = true;
    isStale = false;
    let wait = SOON_MS; // news that came meanwhile
    try {
      const signal = AbortSignal.timeout(FETCH_MS);
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store", signal });
      const text = await answer.text();
      if (isLeaving) return;
      if (answer.redirected) location.replace(answer.url); // the operation is over, for example
      else if (answer.ok) adopt(new DOMParser().parseFromString(text, "text/html"));
      else if (answer.status === 401 || answer.status === 403) location.reload(); // the session ended
    } catch {
      isStale = true; // the page's process or the agent is away
      wait = AGAIN_MS;
    } finally {
      isFetching = false;
    }
    if (isStale && !document.hidden && source) setTimeout(refresh, wait);
  }

  function adopt(fresh) {
    if (!sameRegions(fresh)) {
      if (!isFilledIn(document)) location.reload(); // the view has another shape now
      return;
    }
    for (const old of document.querySelectorAll("[data-region]")) replace(old, fresh.getElementById(old.id));
    document.title = fresh.title;
    again();
  }

  function sameRegions(fresh) {
    const names = (from) => [...from.querySelectorAll("[data-region]")].map((each) => each.id).join(" ");
    return names(document) === names(fresh);
  }

  function replace(old, fresh) {
    if (old.dataset.as === undefined) old.dataset.as = plain(old);
    const next = plain(fresh);
    if (old.dataset.as === next || (isFilledIn(old) && !old.querySelector("[data-progress]"))) return;
    const digest = (from) => from.querySelector("[data-digest]")?.dataset.digest;
    if (digest(old) && digest(fresh) && digest(old) !== digest(fresh)) {
      changed(old);
      return;
    }
    const focused = document.activeElement && old.contains(document.activeElement) ? document.activeElement : null;
    const opened = [...old.querySelectorAll("details[open][id]")].map((each) => each.id);
    const step = headingOf(old);
    const added = document.importNode(fresh, true);
    added.dataset.as = next;
    old.replaceWith(added);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused) (sameAs(focused, added) || document.getElementById("main")).focus({ preventScroll: true });
    if (headingOf(added) !== step) say(headingOf(added));
    prepare(added);
  }

  // What a part says, without what changes by itself or what its reader did to it.
  function plain(region) {
    const copy = region.cloneNode(true);
    copy.removeAttribute("data-as");
    for (const each of copy.querySelectorAll("details[open]")) each.removeAttribute("open");
    for (const each of copy.querySelectorAll("[data-part], progress")) each.replaceWith();
    return copy.innerHTML;
  }

  // What stands in the new part for what had the focus in the old one.
  function sameAs(element, region) {
    const tag = element.localName;
    const parent = element.parentElement;
    let where = null;
    if (element.id) where = `#${CSS.escape(element.id)}`;
    else if (parent && parent.id) where = `#${CSS.escape(parent.id)} > ${tag}`;
    else if (element.getAttribute("href")) where = `${tag}[href="${CSS.escape(element.getAttribute("href"))}"]`;
    return where && region.querySelector(where);
  }

  function headingOf(region) {
    const heading = region.querySelector("[data-progress]")?.closest(".card")?.querySelector("h2, h1");
    return heading ? heading.textContent.trim() : "";
  }

  function isFilledIn(region) {
    return [...region.querySelectorAll("input, textarea, select")].some(
      (each) => each.type !== "hidden" && (each.checked !== each.defaultChecked || (each.value || "") !== (each.defaultValue ?? each.value)),
    );
  }

  // Another offer stands now: the buttons on the screen are the old one's, and answer nothing any more.
  function changed(region) {
    for (const each of region.querySelectorAll("[data-digest] button")) each.disabled = true;
    for (const each of region.querySelectorAll("[data-digest] .changed")) {
      if (each.hidden) say(each.textContent.trim());
      each.hidden = false;
    }
  }

  // -- progress -------------------------------------------------------------------------------------------------

  let spoken = 0;

  function progressed(event) {
    for (const region of document.querySelectorAll("[data-progress]")) {
      if (region.dataset.progress !== event.model) continue;
      const data = event.data;
      if (region.dataset.step && data.step && region.dataset.step !== data.step) {
        refresh();
        continue;
      }
      const words = parsed(region.dataset.words || "{}");
      const bar = region.querySelector("progress");
      const percent = data.total ? Math.min(100, Math.floor((data.done * 100) / data.total)) : null;
      if (percent !== null) bar.value = percent;
      put(region, "amount", amount(data, percent, words));
      const counted = data.step === "testing" || data.step === "removing";
      put(region, "rate", data.rate_per_s == null || counted ? "" : `${size(data.rate_per_s)}/s`);
      put(region, "left", data.left_s == null ? "" : fill(words.left, { time: about(data.left_s, words) }));
      const tenth = percent === null ? 0 : Math.floor(percent / 25);
      if (tenth > spoken) say(`${percent} %`);
      spoken = tenth;
    }
  }

  function put(region, part, text) {
    const place = region.querySelector(`[data-part="${part}"]`);
    if (place && place.textContent !== text) place.textContent = text;
  }

  function amount(data, percent, words) {
    if (data.step === "testing") return data.total == null ? "" : fill(words.tests, data);
    if (data.step === "removing") return percent === null ? "" : `${percent} %`;
    if (percent === null) return data.done ? size(data.done) : "";
    return fill(words.amount, { done: size(data.done), total: size(data.total), percent });
  }

  function fill(template, values) {
    return (template || "").replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
  }

  // The same rules as modelota.i18n.units: SI steps, one digit below ten.
  function size(bytes) {
    const steps = ["B", "kB", "MB", "GB", "TB", "PB"];
    let value = bytes;
    let step = 0;
    while (step < steps.length - 1 && (value >= 1000 || (step > 0 && Math.round(value) >= 1000))) {
      value /= 1000;
      step += 1;
    }
    const digits = step > 0 && Math.round(value * 10) / 10 < 10 ? 1 : 0;
    return `${value.toFixed(digits)} ${steps[step]}`;
  }

  function about(seconds, words) {
    if (seconds < 10) return words.few;
    const rounded = seconds >= 60 ? seconds : seconds > 45 ? 60 : Math.ceil(seconds / 10) * 10;
    return fill(words.about, { duration: duration(rounded, words) });
  }

  function duration(seconds, words) {
    if (Math.round(seconds) < 60) return counted(words.second, Math.round(seconds));
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return counted(words.minute, minutes);
    if (minutes >= 48 * 60) return counted(words.day, Math.round(seconds / 86400));
    const rest = minutes % 60;
    const hours = counted(words.hour, Math.floor(minutes / 60));
    return rest ? `${hours} ${counted(words.minute, rest)}` : hours;
  }

  function counted(forms, number) {
    const one = new Intl.PluralRules(language).select(number) === "one";
    return fill((forms || ["{n}", "{n}"])[one ? 0 : 1], { n: number });
  }

  function say(text) {
    const place = document.getElementById("said");
    if (place && text) place.textContent = text;
  }

  // -- forms and menus ------------------------------------------------------------------------------------------

  function prepare(region) {
    for (const form of region.querySelectorAll("form[data-once]")) {
      form.addEventListener("submit", (event) => {
        if (form.dataset.sent) {
          event.preventDefault();
          return;
        }
        form.dataset.sent = "yes";
        const button = event.submitter;
        setTimeout(() => { // after the form was read: a disabled button would not be in it
          if (button && button.dataset.busy) button.textContent = button.dataset.busy;
          for (const each of form.querySelectorAll("button")) each.setAttribute("aria-disabled", "true");
        });
      });
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  window.addEventListener("beforeunload", () => {
    isLeaving = true;
    setTimeout(() => { // its reader stayed after all
      isLeaving = false;
      if (isStale && source) refresh();
    }, LEAVING_MS);
  });

  // A view that comes back out of the browser's memory is an old one.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    isLeaving = false;
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    if (kinds.length) location.reload();
  });

  prepare(document);
  if (!kinds.length) return;
  again();

  function seen() {
    clearTimeout(hiddenTimer);
    if (document.hidden) {
      hiddenTimer = setTimeout(close, HIDDEN_S * 1000);
      return;
    }
    if (source && isStale) refresh();
    open();
  }

  document.addEventListener("visibilitychange", seen);
  window.addEventListener("pagehide", close);
  open();
  seen();
})();
