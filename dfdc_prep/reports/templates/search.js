// Adds a field to each searchable table that shows the rows containing the words typed.
for (const table of document.querySelectorAll("table[data-search]")) {
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const field = document.createElement("input");
  field.type = "search";
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  const label = document.createElement("label");
  label.className = "search";
  label.append("Search the rows ", field);
  const bar = document.createElement("div");
  bar.className = "search-bar";
  bar.append(label, count);
  table.parentElement.before(bar);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      found += row.hidden ? 0 : 1;
    });
    count.textContent = words.length ? `${found} of ${rows.length} rows` : "";
  });
}
