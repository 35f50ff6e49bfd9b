// The only script of the app. It decides again when the threshold moves, without the server.
"use strict";

const byId = (id) => document.getElementById(id);

// --- The form: the chosen file, its size, dropping a file anywhere on the page -------------

function uploadForm(form) {
  const input = byId("file");
  const problem = byId("problem");
  const button = form.querySelector("button[type=submit]");
  const drop = form.querySelector(".drop");
  const maxBytes = Number(form.dataset.maxBytes);

  const invitation = byId("chosen").textContent;

  const show = () => {
    const file = input.files[0];
    byId("chosen").textContent = file
      ? `${file.name} (${(file.size / 1e6).toFixed(1)} MB)`
      : invitation;
    const tooLarge = Boolean(file) && file.size > maxBytes;
    problem.hidden = !tooLarge;
    problem.textContent = tooLarge
      ? `Expected a file of at most ${maxBytes / 1e6} MB, found ` +
        `${(file.size / 1e6).toFixed(1)} MB; cut or compress it.`
      : "";
    button.disabled = tooLarge;
    return !tooLarge;
  };
  input.addEventListener("change", show);

  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      show();
      form.scrollIntoView({ block: "nearest" });
      (button.disabled ? input : button).focus();
    }
  });

  form.addEventListener("submit", (event) => {
    if (!show()) {
      event.preventDefault();
      return;
    }
    button.disabled = true;
    button.textContent = "Sending …";
  });
  // The browser may show this page again from its memory.
  window.addEventListener("pageshow", () => {
    button.textContent = "Score the faces";
    show();
  });

  if (byId("loading")) {
    poll("/health", ({ ready, samples }) => {
      byId("loading").hidden = ready;
      // They were not known yet when this page was made.
      const unseen = samples && window.location.pathname === "/" && !byId("samples");
      if (ready && unseen && !input.files.length) window.location.reload();
      return ready;
    });
  }
}

// --- Waiting page: the place in the queue -------------------------------------------------

function waitingPage(section) {
  poll(section.dataset.state, ({ state, status }) => {
    const over = state === "done" || state === "failed";
    if (over) {
      window.location.reload();
    } else if (byId("status").textContent !== status) {
      byId("status").textContent = status;
    }
    return over;
  }).catch(() => window.location.reload());
}

// Ask for JSON every half second until `seen` returns true.
async function poll(url, seen) {
  for (;;) {
    const answer = await fetch(url, { cache: "no-store" });
    if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
    if (seen(await answer.json())) return;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// --- Result page: threshold, frames, annotated clip ---------------------------------------

const WORDS = ["REAL", "FAKE", "UNDECIDED"];

// Undecided are the scores of the band that the test gives, and those between it and the threshold.
function wordFor(score, threshold, { low, high }) {
  if (score >= threshold && score > Number(high)) return "FAKE";
  if (score < threshold && score < Number(low)) return "REAL";
  return "UNDECIDED";
}

function resultPage(result) {
  const slider = byId("threshold");
  const scored = [...document.querySelectorAll("[data-p]")].map((element) => ({
    element,
    words: element.querySelectorAll(".word"),
    isFace: "face" in element.dataset,
    score: Number(element.dataset.p),
  }));
  const faces = scored.filter((each) => each.isFace);

  const decide = () => {
    const threshold = Number(slider.value);
    const shown = threshold.toFixed(2);
    for (const { element, words, score } of scored) {
      const found = wordFor(score, threshold, result.dataset);
      for (const each of WORDS) element.classList.toggle(each.toLowerCase(), each === found);
      for (const word of words) word.textContent = found;
    }
    const count = (wanted) =>
      faces.filter(({ score }) => wordFor(score, threshold, result.dataset) === wanted).length;
    byId("shown").textContent = shown;
    byId("counts").textContent =
      `${count("FAKE")} of ${faces.length} face${faces.length > 1 ? "s" : ""} FAKE at ${shown}, ` +
      `${count("UNDECIDED")} undecided`;
    moveLine(threshold);
  };
  slider.addEventListener("input", decide);
  decide();

  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("[data-view]");
    if (chosen) showView(chosen.dataset.view);
  });

  const pending = document.querySelector("#annotated .pending");
  if (pending) {
    poll(result.dataset.state, ({ annotated }) => {
      if (annotated !== "pending") offerAnnotated(byId("annotated"), annotated === "ready");
      return annotated !== "pending";
    }).catch(() => (pending.textContent = "The result was deleted."));
  }
}

function moveLine(threshold) {
  const plot = byId("plot");
  if (!plot) return;
  const { top, bottom } = plot.dataset;
  const y = bottom - (bottom - top) * threshold;
  byId("threshold-line").setAttribute("y1", y);
  byId("threshold-line").setAttribute("y2", y);
}

function showView(number) {
  for (const view of document.querySelectorAll(".view")) {
    view.hidden = view.id !== `view-${number}`;
  }
  for (const button of document.querySelectorAll("button[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === number));
  }
}

function offerAnnotated(item, made) {
  if (!made) {
    item.textContent = "There is no annotated clip: encoding failed.";
    return;
  }
  const link = document.createElement("a");
  link.className = "button";
  link.href = item.dataset.ready;
  link.download = "";
  link.textContent = "Annotated clip (MP4)";
  item.replaceChildren(link);
}

if (document.querySelector("form.upload")) uploadForm(document.querySelector("form.upload"));
if (byId("waiting")) waitingPage(byId("waiting"));
if (byId("result")) resultPage(byId("result"));
