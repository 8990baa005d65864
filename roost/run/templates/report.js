"use strict";
// Filters and sorts the table of jobs; each job is a tbody. Without it the page shows all of them.
(() => {
  const table = document.querySelector("table"), jobs = [...table.tBodies], count = document.getElementById("count");
  const search = document.getElementById("search"), chips = [...document.querySelectorAll(".tools button")];
  const text = jobs.map((job) => job.rows[0].textContent.toLowerCase());
  document.documentElement.classList.add("scripted");

  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set(chips.filter((one) => one.ariaPressed === "true").map((one) => one.dataset.verdict));
    let shown = 0;
    jobs.forEach((job, number) => {
      const fits = (!verdicts.size || verdicts.has(job.dataset.verdict)) && words.every((word) => text[number].includes(word));
      job.hidden = !fits;
      shown += fits;
    });
    count.textContent = shown === jobs.length ? "" : `${shown} of ${jobs.length} jobs`;
  };
  search.addEventListener("input", show);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.ariaPressed = chip.ariaPressed === "true" ? "false" : "true";
      show();
    });
  }

  const key = (job, column) => {
    const cell = job.rows[0].cells[column], value = cell.dataset.sort ?? cell.textContent;
    return cell.dataset.sort === undefined ? value : value === "" ? -Infinity : Number(value);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = down ? "descending" : "ascending";
      const order = (one, other) => {
        const [a, b] = [key(one, column), key(other, column)];
        return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
      };
      table.append(...[...jobs].sort((one, other) => (down ? -1 : 1) * order(one, other)));
    });
  });
  show();
})();
