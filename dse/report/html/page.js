// What the page adds where scripts run: the nearest mark under the pointer says what it is, is
// shown in every plot at once, and opens its sheet; tables are sorted. All of it works on what
// stands in the page; nothing is fetched, and no text becomes markup.
"use strict";
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const sheetOf = (link) => document.getElementById((link.getAttribute("href") || "#").slice(1));
  const links = (id) => document.querySelectorAll(`.plot a[href="#${CSS.escape(id)}"]`);

  let hot = [];
  function heat(id) {
    for (const link of hot) link.classList.remove("hot");
    hot = id ? [...links(id)].filter((link) => !link.classList.contains("hot")) : [];
    for (const link of hot) link.classList.add("hot");
  }

  function show(link, x, y) {
    const sheet = sheetOf(link);
    tip.replaceChildren();
    const name = document.createElement("b");
    name.textContent = sheet ? sheet.querySelector("h3").textContent : link.getAttribute("aria-label");
    tip.append(name);
    for (const list of sheet ? [...sheet.querySelectorAll(".facts")].slice(0, 2) : []) {
      const words = [...list.querySelectorAll("dt")].slice(0, 6);
      for (const dt of words) {
        const line = document.createElement("div");
        line.textContent = `${dt.textContent}: ${dt.nextElementSibling.textContent}`;
        tip.append(line);
      }
    }
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? Math.max(4, x - 16 - box.width) : x + 16;
    const top = y + 16 + box.height > innerHeight ? Math.max(4, y - 16 - box.height) : y + 16;
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
    heat((link.getAttribute("href") || "#").slice(1));
  }

  function hide() {
    tip.hidden = true;
    heat("");
  }

  // How far a link's mark is from the pointer, in pixels.
  function distance(link, x, y) {
    const line = link.querySelector("polyline");
    if (!line) {
      const box = link.getBoundingClientRect();
      return box.width ? Math.hypot(x - box.left - box.width / 2, y - box.top - box.height / 2) : Infinity;
    }
    const frame = line.ownerSVGElement.getBoundingClientRect();
    const place = line.ownerSVGElement.ownerSVGElement.getBoundingClientRect();
    const box = place.width ? place : frame;
    let least = Infinity;
    let before = null;
    for (const point of line.points) {
      const here = [box.left + (point.x / 100) * box.width, box.top + (point.y / 100) * box.height];
      if (before && x >= before[0] - 4 && x <= here[0] + 4) {
        const share = Math.min(1, Math.max(0, (x - before[0]) / (here[0] - before[0] || 1)));
        least = Math.min(least, Math.abs(y - before[1] - share * (here[1] - before[1])));
      }
      before = here;
    }
    return least;
  }

  function nearest(plot, x, y, reach) {
    let best = null;
    let least = reach;
    for (const link of plot.querySelectorAll("a[href]")) {
      const found = distance(link, x, y);
      if (found < least) [best, least] = [link, found];
    }
    return best;
  }

  // As `:target` does without scripts, but the page stays where it is.
  function open(id) {
    const sheet = document.getElementById(id);
    if (!sheet || !sheet.classList.contains("sheet")) return;
    const sheets = document.querySelector(".sheets");
    sheets.classList.add("js");
    for (const other of sheets.querySelectorAll(".open")) other.classList.remove("open");
    sheet.classList.add("open");
    history.replaceState(null, "", `#${id}`);
  }
  const openTarget = () => {
    open(location.hash.slice(1));
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  };
  addEventListener("hashchange", openTarget);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());

  function bindPlot(plot) {
    const reach = plot.classList.contains("lines") ? 14 : 28;
    plot.addEventListener("pointermove", (event) => {
      const link = nearest(plot, event.clientX, event.clientY, reach);
      if (link) show(link, event.clientX, event.clientY);
      else hide();
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("focusin", (event) => {
      const link = event.target.closest("a[href]");
      if (!link || !link.matches(":focus-visible")) return;
      const box = link.getBoundingClientRect();
      show(link, box.right, box.bottom);
    });
    plot.addEventListener("focusout", hide);
    plot.addEventListener("click", (event) => {
      const link = event.detail ? nearest(plot, event.clientX, event.clientY, reach) : event.target.closest("a[href]");
      if (!link) return;
      event.preventDefault();
      open(link.getAttribute("href").slice(1));
      if (event.detail) show(link, event.clientX, event.clientY);
    });
  }
  const numberOf = (cell) => {
    const text = cell.textContent.replaceAll(",", "").trim();
    const found = text.match(/^[-+]?[0-9.]+(?:e[-+]?[0-9]+)?/);
    return found ? Number(found[0]) : NaN;
  };
  function bindTable(table) {
    table.classList.add("js");
    const heads = [...table.tHead.rows[0].cells];
    const sort = (at) => {
      const rises = heads[at].getAttribute("aria-sort") !== "ascending";
      for (const head of heads) head.removeAttribute("aria-sort");
      heads[at].setAttribute("aria-sort", rises ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [numberOf(row.cells[at]), row.cells[at].textContent, row]);
      const isText = rows.some(([value]) => Number.isNaN(value)) && rows.every(([value, text]) => Number.isNaN(value) || !/^[-+0-9.,%]+$/.test(text.trim()));
      const rank = (value) => (Number.isNaN(value) ? -Infinity : value);
      rows.sort((a, b) => (isText ? a[1].localeCompare(b[1]) : rank(a[0]) - rank(b[0])) * (rises ? 1 : -1));
      body.append(...rows.map((row) => row[2]));
    };
    heads.forEach((head, at) => {
      head.tabIndex = 0;
      head.addEventListener("click", () => sort(at));
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort(at));
    });
  }

  function bind() {
    hide();
    // The native tooltip says the same more slowly.
    for (const title of document.querySelectorAll(".plot a > title")) {
      title.parentNode.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    document.querySelectorAll(".plot").forEach(bindPlot);
    document.querySelectorAll("table.sortable").forEach(bindTable);
    open(location.hash.slice(1));
  }
  bind();
  addEventListener("dse:page", bind);
  if (location.hash) openTarget();
})();
