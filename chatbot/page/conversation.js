// What the page does in the browser itself. Nothing is kept here: no storage, no cookie, no address change.
"use strict";
(() => {
  const WARN_S = 60; // the warning comes so long before the page is wiped, or at half time when that is shorter
  const byId = (id) => document.getElementById(id);
  const box = () => document.querySelector("#question textarea");
  const facts = () => document.querySelector("#top header")?.dataset ?? {};

  // --- what is pressed -------------------------------------------------------------------------------------------
  const presses = {
    ask: (button) => {
      if (button.matches(".suggestion")) { fill(button.dataset.ask); } // in the place of what was begun, until it has arrived
      closeSuggestions();
      bridge("click", { do: "ask", ask: button.dataset.ask });
    },
    choose: (button) => bridge("click", { do: "choose", answer: button.dataset.answer, language: button.dataset.language }),
    language: (button) => bridge("select", { do: "language", language: button.dataset.language }),
    skip: (link, event) => { event.preventDefault(); box()?.focus(); },
    reveal: (button) => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      byId(button.getAttribute("aria-controls")).hidden = !open;
    },
    shorten: (button) => toggle(button, byId(button.dataset.for).classList.toggle("short")),
    speak,
    print: () => window.print(),
    pdf: () => bridge("select", { do: "pdf" }),
    "close-sheet": () => bridge("select", { do: "close-sheet" }),
    unhelpful: (button) => {
      const part = button.closest(".helpful");
      say(part, part.querySelector(".thanks").dataset.sorry);
      if (part.querySelector(".word input")) { part.querySelector(".word").hidden = false; part.querySelector(".word input").focus(); }
      else { note(part, false); }
    },
    helpful: (button) => {
      const part = button.closest(".helpful"), helped = button.dataset.helpful === "yes";
      note(part, helped, part.querySelector(".word input")?.value ?? "");
      part.querySelector(".word").hidden = true;
      say(part, part.querySelector(".thanks").dataset.thanks);
    },
  };

  function fill(text) {
    box().value = text;
    box().dispatchEvent(new Event("input", { bubbles: true }));
  }

  function bridge(kind, detail) {
    document.querySelector("#bridge .prose")?.dispatchEvent(new CustomEvent("own-" + kind, { detail }));
  }

  function toggle(button, on) {
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? button.dataset.on : button.dataset.off;
  }

  function note(part, helped, word = "") {
    bridge("select", { do: "helpful", turn: Number(part.dataset.turn), helpful: helped, word });
  }

  function say(part, text) {
    part.querySelector(".thanks").textContent = text;
    part.querySelector("[role=group]").hidden = true;
  }

  document.addEventListener("click", (event) => {
    const pressed = event.target.closest?.("[data-do]");
    if (pressed) { presses[pressed.dataset.do]?.(pressed, event); }
    if (event.target.closest?.("#stop, #clear, #send")) { box()?.focus(); }
    if (event.target.closest?.("#send")) { closeSuggestions(); }
    if (event.target.closest?.("#clear")) { speechSynthesis?.cancel(); }
    if (!event.target.closest?.("#composer")) { closeSuggestions(); }
  });

  // --- suggestions while typing ----------------------------------------------------------------------------------
  let typing = 0;
  document.addEventListener("input", (event) => {
    if (event.target !== box()) { return; }
    clearTimeout(typing);
    typing = setTimeout(() => bridge("input", { typed: box()?.value ?? "" }), 250);
  });
  const suggestions = () => [...document.querySelectorAll("#suggestions button")];
  function closeSuggestions() {
    clearTimeout(typing);
    byId("suggestions")?.classList.add("closed");
  }
  document.addEventListener("keydown", (event) => {
    const rows = suggestions();
    const open = rows.length > 0 && !byId("suggestions").classList.contains("closed");
    if (event.key === "Enter" && event.target === box()) { closeSuggestions(); }
    if (!open) { return; }
    const at = rows.indexOf(document.activeElement), inBox = document.activeElement === box();
    if (event.key === "Escape" && (inBox || at >= 0)) { closeSuggestions(); box().focus(); }
    if (event.key === "ArrowUp" && (at > 0 || (inBox && box().selectionStart === 0) || (inBox && !box().value.includes("\n")))) {
      event.preventDefault(); rows[inBox ? rows.length - 1 : at - 1].focus();
    }
    if (event.key === "ArrowDown" && at >= 0) { event.preventDefault(); (rows[at + 1] ?? box()).focus(); }
  });

  // --- what arrives ----------------------------------------------------------------------------------------------
  let shown = null;
  const newestInView = () => document.querySelector("#newest .turn")?.scrollIntoView({ behavior: "instant", block: "start" });
  function newestChanged() {
    const turn = document.querySelector("#newest .turn");
    const number = turn ? turn.id : null;
    if (turn && number !== shown) {
      if (!document.activeElement || document.activeElement === document.body) { turn.focus({ preventScroll: true }); }
      newestInView();
      speechSynthesis?.cancel();
    }
    shown = number;
    offerSpeech();
  }

  function headChanged() {
    const { lang, dir } = facts();
    if (!lang) { return; }
    document.documentElement.lang = lang;
    document.documentElement.dir = dir;
    for (const block of document.querySelectorAll(".gradio-container .block")) { block.dir = dir; } // Gradio says ltr
  }

  function suggestionsChanged() {
    const rows = suggestions();
    byId("suggestions").classList.toggle("closed", rows.length === 0 || !(box()?.value.trim()));
    if (rows.length) { whisper((facts().found ?? "").replace("{n}", rows.length)); }
  }

  // --- the take-away sheet ---------------------------------------------------------------------------------------
  function sheetChanged() {
    const title = document.querySelector("#sheet h1");
    const wasOpen = document.body.classList.contains("sheet-open");
    document.body.classList.toggle("sheet-open", Boolean(title));
    if (title && !wasOpen) { scrollTo(0, 0); title.focus(); }
    if (!title && wasOpen) { newestInView(); document.querySelector("#keep")?.focus(); }
  }
  function pdfChanged() {
    const made = document.querySelector("#pdf [data-pdf]");
    if (!made || made === pdfChanged.saved) { return; }
    pdfChanged.saved = made;
    const bytes = Uint8Array.from(atob(made.dataset.pdf), (sign) => sign.charCodeAt(0));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes], { type: "application/pdf" }));
    link.download = made.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  function whisper(text) { const live = byId("whisper"); if (live && live.textContent !== text) { live.textContent = text; } }

  // --- reading aloud, with voices of this machine alone ----------------------------------------------------------
  const voiceFor = (lang) => (window.speechSynthesis?.getVoices() ?? []).find((v) => v.localService && v.lang.toLowerCase().startsWith(lang));
  function offerSpeech() {
    for (const button of document.querySelectorAll("[data-do=speak]")) { button.hidden = !voiceFor(button.dataset.lang); }
  }
  function speak(button) {
    const speaking = button.getAttribute("aria-pressed") === "true";
    speechSynthesis.cancel();
    document.querySelectorAll("[data-do=speak]").forEach((other) => toggle(other, false));
    if (speaking) { return; }
    const card = byId(button.dataset.for).cloneNode(true);
    card.querySelectorAll(".card-tools, .kind, .source").forEach((part) => part.remove());
    const speech = new SpeechSynthesisUtterance(card.innerText || card.textContent);
    speech.voice = voiceFor(button.dataset.lang);
    speech.lang = speech.voice.lang;
    speech.onend = () => toggle(button, false);
    toggle(button, true);
    speechSynthesis.speak(speech);
  }

  // --- shared computers ------------------------------------------------------------------------------------------
  let touched = Date.now(), warning = null;
  const somethingToWipe = () => document.querySelector("#newest .turn") || box()?.value;
  function stillHere() { touched = Date.now(); }
  for (const kind of ["keydown", "pointerdown", "wheel", "touchstart", "scroll"]) {
    addEventListener(kind, () => { if (!warning) { stillHere(); } }, { passive: true, capture: true });
  }
  function closeWarning() { warning?.remove(); warning = null; stillHere(); box()?.focus(); }
  function wipe() {
    warning?.remove(); warning = null; stillHere();
    speechSynthesis?.cancel();
    document.querySelector("#clear")?.click();
  }
  function openWarning(left) {
    const words = facts();
    warning = document.createElement("dialog");
    warning.id = "idle";
    warning.setAttribute("role", "alertdialog");
    warning.innerHTML = '<h2 id="idle-title"></h2><p id="idle-text"></p><button type="button" id="idle-stay"></button><button type="button" id="idle-clear"></button>';
    warning.setAttribute("aria-labelledby", "idle-title");
    warning.setAttribute("aria-describedby", "idle-text");
    const put = (id, text) => { warning.querySelector(id).textContent = text; };
    put("#idle-title", words.idleTitle); put("#idle-stay", words.idleStay); put("#idle-clear", words.idleClear);
    warning.querySelector("#idle-stay").onclick = closeWarning;
    warning.querySelector("#idle-clear").onclick = wipe;
    warning.oncancel = (event) => { event.preventDefault(); closeWarning(); };
    (document.querySelector(".gradio-container") ?? document.body).append(warning);
    countDown(left);
    warning.showModal();
    warning.querySelector("#idle-stay").focus();
  }
  function countDown(left) { warning.querySelector("#idle-text").textContent = (facts().idleText ?? "").replace("{seconds}", Math.ceil(left)); }
  setInterval(() => {
    const idle = Number(facts().idleS ?? 0);
    if (!idle || !somethingToWipe()) { return; }
    const left = idle - (Date.now() - touched) / 1000;
    if (left <= 0) { wipe(); }
    else if (left <= Math.min(WARN_S, idle / 2)) { warning ? countDown(left) : openWarning(left); }
  }, 500);
  // A page kept for the back button shows nothing of the conversation.
  addEventListener("pagehide", () => {
    speechSynthesis?.cancel();
    for (const id of ["past", "newest", "announce", "sheet", "pdf", "suggestions"]) { byId(id)?.replaceChildren(); }
    if (box()) { box().value = ""; }
  });
  addEventListener("pageshow", (event) => { if (event.persisted) { location.reload(); } });

  // --- start -----------------------------------------------------------------------------------------------------
  // Gradio may put a new element in the place of one that it had drawn first: what is watched is looked up each time.
  const watched = new Map();
  const acts = {
    newest: newestChanged, top: headChanged, suggestions: suggestionsChanged, sheet: sheetChanged, pdf: pdfChanged,
  };
  function attach() {
    const announce = document.querySelector("#announce .prose:not([role])");
    announce?.setAttribute("role", "status");
    if (byId("composer") && !byId("whisper")) {
      const live = document.createElement("div");
      live.id = "whisper"; live.className = "sr-only"; live.setAttribute("role", "status");
      byId("composer").append(live);
    }
    box()?.setAttribute("autocomplete", "off");
    for (const [id, act] of Object.entries(acts)) {
      const there = byId(id);
      if (!there || !box() || watched.get(id) === there) { continue; }
      watched.set(id, there);
      // What changes little, Gradio changes in place: attributes count as well as elements.
      new MutationObserver(act).observe(there, { childList: true, subtree: true, attributeFilter: ["data-lang", "id"] });
      act();
    }
  }
  window.speechSynthesis?.addEventListener?.("voiceschanged", offerSpeech);
  new MutationObserver(attach).observe(document.documentElement, { childList: true, subtree: true });
  // Gradio sets the language it found in the browser when it has started, which may be after the patient chose one.
  new MutationObserver(() => { if (facts().lang && document.documentElement.lang !== facts().lang) { headChanged(); } })
    .observe(document.documentElement, { attributeFilter: ["lang", "dir"] });
  attach();
})();
