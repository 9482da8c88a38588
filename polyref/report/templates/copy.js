// A button beside each command that copies it. Without this script there is none.
"use strict";
(() => {
  // The clipboard of the browser is for secure contexts only; a file that was opened is none in some browsers.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "hidden" });
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      return done;
    }
  }

  for (const command of document.querySelectorAll("pre.command")) {
    const box = Object.assign(document.createElement("div"), { className: "copied" });
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
    const said = Object.assign(document.createElement("span"), { className: "soft" });
    said.setAttribute("role", "status");
    button.setAttribute("aria-label", "Copy the command");
    command.replaceWith(box);
    box.append(command, button, said);
    button.addEventListener("click", async () => {
      const done = await copy(command.textContent);
      button.focus();
      said.textContent = done ? "Copied" : "Not copied: select the command and copy it";
      setTimeout(() => { said.textContent = ""; }, 4000);
    });
  }
})();
