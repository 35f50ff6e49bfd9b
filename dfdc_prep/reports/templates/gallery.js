// Filters the crops and rows below each [data-filters] by the columns that it names and by words.
for (const scope of document.querySelectorAll("[data-filters]")) {
  const crops = [...scope.querySelectorAll(".picture")].map((element) => [element, element.dataset]);
  const clips = [...scope.querySelectorAll("tbody tr")].map((element) => {
    const names = [...element.closest("table").tHead.rows[0].cells].map((cell) => cell.textContent);
    return [element, Object.fromEntries(names.map((name, at) => [name, element.cells[at].textContent]))];
  });
  const bar = document.createElement("div");
  bar.className = "search-bar";
  const field = (name, input) => {
    const label = document.createElement("label");
    label.className = "search";
    label.append(`${name[0].toUpperCase()}${name.slice(1)} `, input);
    bar.append(label);
    input.addEventListener("input", () => show());
    return input;
  };
  const choices = scope.dataset.filters.split(" ").map((name) => {
    const found = new Set([...crops, ...clips].map(([, tags]) => tags[name]).filter(Boolean));
    const select = field(name, document.createElement("select"));
    select.append(new Option("all", ""), ...[...found].sort().map((value) => new Option(value)));
    return [name, select];
  });
  const words = field("words", document.createElement("input"));
  words.type = "search";
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  bar.append(count);
  scope.prepend(bar);

  const show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = (items, noun) => {
      for (const [element, tags] of items) {
        const text = `${element.textContent} ${Object.values(tags).join(" ")}`.toLowerCase();
        const fits = choices.every(([name, { value }]) => !value || tags[name] === value);
        element.hidden = !(fits && wanted.every((word) => text.includes(word)));
      }
      const left = items.filter(([element]) => !element.hidden).length;
      return items.length ? [`${left} of ${items.length} ${noun}`] : [];
    };
    count.textContent = [...shown(crops, "crops"), ...shown(clips, "clips")].join(", ") + " shown";
    for (const each of scope.querySelectorAll("figure, .table")) {
      each.hidden = !each.querySelector(".picture:not([hidden]), tbody tr:not([hidden])");
    }
  };
  show();
}

// Enlarges a picture; the arrow keys go to those beside it that are shown.
{
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", "Enlarged crop");
  const image = document.createElement("img");
  const caption = document.createElement("p");
  caption.setAttribute("role", "status");
  const actions = document.createElement("p");
  actions.className = "commands";
  let all = [];
  let at = 0;

  const show = (step) => {
    at = (at + step + all.length) % all.length;
    const picture = all[at].closest(".picture");
    const { src, alt } = all[at].firstElementChild;
    Object.assign(image, { src, alt });
    const lines = [...picture.querySelectorAll("span")].map((line) => line.textContent);
    const more = Object.entries(picture.dataset).filter(([, value]) => !lines.includes(value));
    const tags = more.map((tag) => tag.join(" "));
    caption.textContent = [`${at + 1} of ${all.length}`, ...lines, ...tags].join(" · ");
  };
  const act = (name, action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", action);
    actions.append(button);
  };
  act("Previous", () => show(-1));
  act("Next", () => show(1));
  act("Close", () => dialog.close());
  dialog.append(image, caption, actions);
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft" || key === "ArrowRight") show(key === "ArrowLeft" ? -1 : 1);
  });
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => all[at].focus());

  for (const each of document.querySelectorAll(".picture img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    each.replaceWith(button);
    button.append(each);
    button.addEventListener("click", () => {
      const beside = button.closest("[data-filters]") ?? button.closest("figure");
      all = [...beside.querySelectorAll(".picture:not([hidden]) .enlarge")];
      at = all.indexOf(button);
      show(0);
      document.body.append(dialog);
      dialog.showModal();
    });
  }
}
