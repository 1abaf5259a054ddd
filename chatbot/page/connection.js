// Keeps the page alive when the connection breaks: what is on show stays, what was typed stays, and it can be asked again.
//
// Gradio by itself would lock the page and load it anew, which loses the whole conversation. So the requests it makes
// are watched here: the heartbeat is opened again for as long as it takes, and a turn whose stream broke ends
// as a turn that brought nothing more.
"use strict";

(() => {
  const RETRY_MS = 2000;
  const EVENTS = { headers: { "Content-Type": "text/event-stream" } };
  const real = window.fetch.bind(window);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const encode = (message) => new TextEncoder().encode(`data: ${JSON.stringify(message)}\n\n`);
  const unanswered = new Map(); // event id → how many outputs the event has, and what was typed if nothing is shown yet
  let isLost = false; // the server cannot be reached now
  let isCut = false; // a question got no answer, or not all of it
  let isWanted = false; // somebody pressed "Try again": from now on it is tried until it has been sent
  let isBusy = false; // the server said so, and took no question
  let stream = null; // the stream of turns that is open

  window.fetch = (input, options) => {
    const request = new Request(input, options);
    const path = new URL(request.url).pathname;
    if (path.includes("/heartbeat/")) return Promise.resolve(new Response(heartbeat(request), EVENTS));
    if (path.endsWith("/queue/join")) return join(request);
    if (path.endsWith("/run/predict")) return direct(request);
    if (path.endsWith("/queue/data")) return Promise.resolve(new Response(turns(request), EVENTS));
    return real(request);
  };

  // The server forgets a conversation when its heartbeat ends, so there is always one, as long as the tab is open.
  function heartbeat(request) {
    return new ReadableStream({
      async start(controller) {
        while (!request.signal.aborted) {
          try {
            const response = await real(request.clone());
            if (!response.ok) throw new Error(`heartbeat: ${response.status}`);
            if (isLost) setLost(false);
            for await (const piece of pieces(response)) controller.enqueue(piece);
          } catch (error) {
            console.debug(error);
          }
          if (request.signal.aborted || isLeaving) return;
          setLost(true);
          await wait(RETRY_MS);
        }
      },
    });
  }

  const countOutputs = (number) => window.gradio_config.dependencies.find((one) => one.id === number).outputs.length;
  const unchanged = (outputs) => Array(outputs).fill({ __type__: "update" });

  // Small things beside the turns: suggestions while typing, stop, a change of language.
  async function direct(request) {
    const { fn_index: number } = await request.clone().json();
    try {
      return await real(request);
    } catch (error) {
      console.debug(error);
      return Response.json({ data: unchanged(countOutputs(number)) });
    }
  }

  async function join(request) {
    const { fn_index: number, data, event_data: pressed } = await request.clone().json();
    const outputs = countOutputs(number);
    const typed = box().value && [...data, pressed?.ask].includes(box().value) ? box().value : "";
    setCut(false);
    try {
      const response = await real(request);
      if (response.ok) {
        const { event_id: id } = await response.clone().json();
        unanswered.set(id, { outputs, typed });
        isWanted = false;
        if (typed && box().value === typed) write(""); // it has arrived; what is typed from now on is the next question
        return response;
      }
      setCut(true, [429, 503].includes(response.status));
    } catch (error) {
      console.debug(error);
      setCut(true);
      if (isWanted) setTimeout(askAgain, RETRY_MS);
    }
    const id = crypto.randomUUID?.() ?? String(Math.random());
    unanswered.set(id, { outputs, typed: "", isUnsent: true });
    if (stream) setTimeout(() => endTurns(stream, [id]));
    return Response.json({ event_id: id });
  }

  function turns(request) {
    return new ReadableStream({
      async start(controller) {
        endTurns(controller, [...unanswered.keys()].filter((id) => unanswered.get(id).isUnsent));
        if (!unanswered.size) return close(controller);
        stream = controller;
        let told = "";
        try {
          const response = await real(request);
          if (!response.ok) throw new Error(`turns: ${response.status}`);
          const decoder = new TextDecoder();
          for await (const piece of pieces(response)) {
            told += decoder.decode(piece, { stream: true });
            const lines = told.split("\n\n");
            told = lines.pop(); // not yet whole
            for (const line of lines) pass(controller, line);
          }
        } catch (error) {
          console.debug(error);
        }
        if (stream === controller) stream = null;
        if (unanswered.size) setCut(true, isBusy);
        endTurns(controller, [...unanswered.keys()]);
        close(controller);
      },
    });
  }

  function close(controller) {
    controller.enqueue(encode({ msg: "close_stream" }));
    controller.close();
  }

  function pass(controller, line) {
    const message = JSON.parse(line.slice(line.indexOf("{")));
    if (message.msg === "unexpected_error" || message.msg === "close_stream") return; // told below, in one way
    const event = unanswered.get(message.event_id);
    if (event && message.msg === "process_generating") event.typed = ""; // it is on show now
    if (message.msg === "process_completed") {
      unanswered.delete(message.event_id);
      if (!message.success) setCut(true);
    }
    controller.enqueue(encode(message));
  }

  // A turn that ends here changes nothing on the page: every output keeps what it shows.
  function endTurns(controller, ids) {
    for (const id of ids) {
      const { outputs, typed } = unanswered.get(id);
      unanswered.delete(id);
      if (typed && !box().value) write(typed);
      controller.enqueue(encode({ msg: "process_completed", event_id: id, success: true, output: { data: unchanged(outputs) } }));
    }
  }

  async function* pieces(response) {
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  }

  let isLeaving = false;
  addEventListener("pagehide", () => (isLeaving = true));
  addEventListener("pageshow", () => (isLeaving = false));

  function setLost(value) {
    isLost = value;
    show();
  }

  function setCut(value, because = false) {
    isCut = value;
    isBusy = value && because;
    show();
  }

  function show() {
    let notice = document.getElementById("connection");
    if (!isLost && !isCut) {
      notice?.replaceChildren();
      return;
    }
    const words = document.querySelector("#top header")?.dataset ?? {};
    if (!notice) {
      notice = document.createElement("div");
      notice.id = "connection";
      notice.setAttribute("role", "alert");
      (document.getElementById("composer") ?? document.getElementById("question").parentElement).prepend(notice);
    }
    const text = document.createElement("p");
    text.textContent = isBusy ? words.tooBusy : words.connectionLost;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = words.tryAgain;
    again.addEventListener("click", () => {
      isWanted = true;
      askAgain();
    });
    if (notice.textContent !== text.textContent + again.textContent) notice.replaceChildren(text, again);
  }

  const box = () => document.querySelector("#question textarea");
  function write(text) {
    box().value = text;
    box().dispatchEvent(new Event("input", { bubbles: true }));
  }

  // What still stands in the box was not answered; otherwise the newest question on show was cut short.
  function askAgain() {
    const asked = document.querySelector("#newest .asked");
    if (!box().value.trim() && asked) {
      const who = asked.querySelector(".who");
      write(asked.textContent.slice(who ? who.textContent.length : 0).trim());
    }
    box().focus();
    setTimeout(() => document.getElementById("send")?.click(), 100); // once Gradio has taken the text in
  }

  // Nobody waits for a server to clear a page that others may see.
  document.addEventListener(
    "click",
    (event) => {
      if (!event.target.closest("#clear")) return;
      isWanted = false;
      if (isLost) location.replace("/");
    },
    true,
  );
})();
