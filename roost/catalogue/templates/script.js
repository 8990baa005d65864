
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");

  // The reader's choice: one block of lines is shown, and that is what is copied.
  const choose = byId("choose");
  if (choose) {
    const button = byId("copy"), copied = byId("copied");
    const value = (name) => choose.elements[name].value;
    const shown = () => document.querySelector(".choice.on .lines.on");
    // As condor/from_recipe.py has it: what HTCondor's list of files can carry.
    const forms = {
      shared: [/^\/[A-Za-z0-9._+\/-]*$/, "an absolute path of letters, digits and . _ + - /"],
      url: [/^(?:file:\/\/\/|(?!file:)[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9._~\[\]:@%+-])(?:[A-Za-z0-9._~:@!&=+\/-]|%[0-9A-Fa-f]{2})*$/, "a URL such as https://images.example.org/htcondor, without blanks, ? or #"],
    };
    const places = all(".root-input");
    const place = (input) => {
      const text = input.value.trim().replace(/\/+$/, "");
      const [form, what] = forms[input.dataset.transfer];
      const good = form.test(text);
      const wrong = text !== "" && !good;
      for (const other of places.filter((one) => one.dataset.transfer === input.dataset.transfer)) {
        if (other !== input) other.value = input.value;
        other.setAttribute("aria-invalid", String(wrong));
        const hint = byId(other.getAttribute("aria-describedby"));
        hint.textContent = wrong ? "That has to be " + what + "." : "";
        const article = other.closest(".choice");
        for (const span of all(".root", article)) span.textContent = good ? text : other.dataset.given;
        for (const figure of all(".lines", article)) figure.toggleAttribute("data-unknown", !good);
      }
      update();
    };
    const update = () => {
      for (const article of all(".choice")) {
        article.classList.toggle("on", article.dataset.hypervisor === value("hypervisor") && article.dataset.transfer === value("transfer"));
        for (const figure of all(".lines", article)) figure.classList.toggle("on", figure.dataset.kind === value("kind"));
      }
      const figure = shown();
      button.disabled = !figure || figure.hasAttribute("data-unknown");
      copied.textContent = figure && button.disabled ? "First say where the catalogue is." : "";
    };
    const copy = async (text) => {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch {
        // A page from plain http may not use the clipboard: then as browsers did before there was one.
        const box = document.createElement("textarea");
        box.value = text;
        document.body.append(box);
        box.select();
        const done = document.execCommand("copy");
        box.remove();
        button.focus();
        return done;
      }
    };
    for (const input of places) input.addEventListener("input", () => place(input));
    choose.addEventListener("change", update);
    choose.addEventListener("submit", (event) => event.preventDefault());
    button.addEventListener("click", async () => {
      const done = await copy(shown().querySelector("code").textContent);
      copied.textContent = done ? "Copied." : "The browser does not let this page copy: select the lines instead.";
    });
    update();
  }

  // Searching in lists, and choosing by hypervisor and verdict: one side of an entry has to have both.
  const narrow = (id) => {
    const list = byId(id), count = byId(id + "-count"), wanted = { text: "", hypervisor: "", verdict: "" };
    for (const control of all('[data-filter="' + id + '"]')) wanted[control.dataset.side || "text"] = control.value.trim();
    const { hypervisor, verdict } = wanted, text = wanted.text.toLowerCase();
    let hits = 0;
    for (const entry of list.children) {
      const sides = JSON.parse(entry.dataset.sides || '[["", ""]]');
      const fits = sides.some(([one, other]) => (!hypervisor || one === hypervisor) && (!verdict || other === verdict));
      entry.hidden = !fits || !entry.textContent.toLowerCase().includes(text);
      hits += !entry.hidden;
    }
    count.textContent = text || hypervisor || verdict ? hits + " of " + list.children.length : "";
  };
  for (const control of all("[data-filter]")) {
    control.addEventListener("input", () => narrow(control.dataset.filter));
    control.form?.addEventListener("submit", (event) => event.preventDefault());
  }
  // A page that the browser brings back has its controls as they were.
  for (const list of new Set(all("[data-filter]").map((one) => one.dataset.filter))) narrow(list);

  // Any two versions: their differences are composed of the steps between them.
  const compare = byId("compare");
  if (compare) {
    const { versions, steps, files } = JSON.parse(byId("steps").textContent);
    const out = byId("compared"), from = byId("from"), to = byId("to");
    const node = (name, text, kind) => Object.assign(document.createElement(name), { textContent: text, className: kind || "" });
    // As recipe/quantities.py has it.
    const size = (bytes) => {
      const units = ["B", "KiB", "MiB", "GiB", "TiB"];
      let unit = 0;
      for (; bytes >= 1024 && unit < 4; unit += 1) bytes /= 1024;
      return bytes.toFixed(unit ? 1 : 0).replace(/[.]0$/, "") + " " + units[unit];
    };
    const total = (sizes) => sizes.reduce((sum, one) => sum + one, 0);
    const titles = { kernel: "kernel", package: "packages", file: "files", recipe: "recipe" };
    const show = () => {
      let a = versions.indexOf(from.value), b = versions.indexOf(to.value);
      const back = a > b;
      if (back) [a, b] = [b, a];
      const found = new Map();
      for (const step of steps.slice(a, b)) for (const [kind, what, old, now] of step) {
        const key = kind + " " + what, first = found.get(key);
        found.set(key, [kind, what, first ? first[2] : old, now]);
      }
      const items = [...found.values()].filter((one) => one[2] !== one[3]).map(([kind, what, old, now]) => back ? [kind, what, now, old] : [kind, what, old, now]);
      const [had, has] = [files[versions.indexOf(from.value)], files[versions.indexOf(to.value)]];
      const lacks = total(Object.entries(has).filter(([sum]) => !(sum in had)).map(([, bytes]) => bytes));
      out.replaceChildren(node("p", size(lacks) + " to fetch for those who have " + from.value + ", of " + size(total(Object.values(has))) + ".", "dim"));
      if (!items.length) out.append(node("p", "The same content: kernel, packages, files and recipe are alike.", "dim"));
      for (const [kind, title] of Object.entries(titles)) {
        const some = items.filter((one) => one[0] === kind).sort((x, y) => x[1] < y[1] ? -1 : 1);
        if (!some.length) continue;
        const list = node("ul", "", "changes");
        for (const [, what, old, now] of some) {
          const item = node("li", ""), values = node("span", "", "values");
          if (old !== null) values.append(node("del", old), " ");
          if (now !== null) values.append(node("ins", now));
          const sign = node("span", old === null ? "+" : now === null ? "−" : "±", "sign");
          sign.setAttribute("role", "img");
          sign.setAttribute("aria-label", old === null ? "added" : now === null ? "removed" : "changed");
          item.append(sign, node("span", what, "what"), values);
          list.append(item);
        }
        out.append(node("h3", title + " (" + some.length + ")"), list);
      }
    };
    compare.addEventListener("change", show);
    compare.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
})();
