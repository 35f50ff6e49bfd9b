// Copies the command of each button with data-copy, and says so. With data-before, the command
// has the path of a folder before data-copy: a field above the first button holds it.
{
  const buttons = [...document.querySelectorAll("button[data-copy]")];
  const said = document.createElement("p");
  said.className = "copied";
  said.setAttribute("role", "status");
  if (buttons.length) document.body.append(said);

  // The folder of this page, where it was opened from a disk.
  const here = () => {
    if (location.protocol !== "file:") return "faces";
    const path = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "");
    return path.replace(/^\/(?=[A-Za-z]:)/, "") || "/";
  };
  // A shell reads ~/ only where it is not quoted.
  const quoted = (text) => {
    const [home] = /^(~\/)?/.exec(text);
    const rest = text.slice(home.length);
    return home + (/^[\w@%+=:,./-]+$/.test(rest) ? rest : `'${rest.replaceAll("'", "'\"'\"'")}'`);
  };

  const folder = document.createElement("input");
  const first = buttons.find((button) => "before" in button.dataset);
  if (first) {
    folder.value = here();
    folder.spellcheck = false;
    folder.size = 40;
    const label = document.createElement("label");
    label.className = "search";
    label.append("Faces folder in the commands ", folder);
    first.closest("figure").before(label);
  }

  // Browsers offer navigator.clipboard to pages that came encrypted or from this machine.
  const copied = async (text) => {
    const written = navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (await written) return true;
    const focused = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    focused.focus();
    return done;
  };

  for (const button of buttons) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const { before, copy } = button.dataset;
      const text = before ? `${before} ${quoted(folder.value)} ${copy}` : copy;
      const done = await copied(text);
      said.textContent = `${done ? "Copied" : "Not copied, select it here"}: ${text}`;
      clearTimeout(said.timer);
      said.timer = done && setTimeout(() => (said.textContent = ""), 6000);
    });
  }
}
