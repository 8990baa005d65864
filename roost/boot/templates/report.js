"use strict";
// Searches the console. Without it the page shows all lines.
(() => {
  const box = document.getElementById("console"), search = document.getElementById("search");
  if (!box || !search) return;
  document.documentElement.classList.add("scripted");
  const lines = [...box.children], count = document.getElementById("count"), only = document.getElementById("only");
  const show = () => {
    const wanted = search.value.toLowerCase();
    let hits = 0, first = null;
    for (const line of lines) {
      const hit = wanted !== "" && line.textContent.toLowerCase().includes(wanted);
      line.classList.toggle("hit", hit);
      if (hit) { hits++; first = first || line; }
    }
    box.classList.toggle("only", only.checked && wanted !== "");
    count.textContent = wanted === "" ? lines.length + " lines" : hits + " of " + lines.length + " lines";
    if (first) box.scrollTop = first.offsetTop - box.offsetTop - 40;
  };
  search.addEventListener("input", show);
  only.addEventListener("change", show);
  box.scrollTop = box.scrollHeight;
})();
