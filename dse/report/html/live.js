// Of the page that `dse watch` serves: how far the study is, every two seconds, and the page
// itself whenever its results changed; what is chosen and opened stays so.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const live = () => document.getElementById("live");
  let version = live().dataset.version;
  const parsed = (text) => new DOMParser().parseFromString(text, "text/html");

  async function replace() {
    const answer = await fetch("/");
    if (!answer.ok) return;
    const page = parsed(await answer.text());
    const kept = [...document.querySelectorAll("input[id]")].map((e) => [e.id, e.checked]);
    const opened = [...document.querySelectorAll("details")].map((e) => e.open);
    const place = [scrollX, scrollY];
    document.querySelector("main").replaceWith(page.querySelector("main"));
    for (const [id, checked] of kept) {
      const input = document.getElementById(id);
      if (input) input.checked = checked;
    }
    document.querySelectorAll("details").forEach((e, at) => (e.open = opened[at] ?? e.open));
    document.title = page.title;
    version = live().dataset.version;
    dispatchEvent(new Event("dse:page"));
    scrollTo(...place);
  }

  async function follow() {
    let wait = EVERY_MS;
    try {
      const answer = await fetch("/now");
      if (!answer.ok) throw new Error(answer.statusText);
      const now = await answer.json();
      // Nothing moves under a pointer that is being read by.
      if (now.version !== version && (now.over || document.getElementById("tip").hidden)) await replace();
      live().replaceChildren(...parsed(now.strip).body.childNodes);
      if (now.over && now.version === version) return;
    } catch {
      const words = document.createElement("p");
      words.className = "no";
      words.textContent = "dse watch does not answer any more; what is below stays as it was.";
      if (!live().querySelector(".no")) live().prepend(words);
      wait = 5 * EVERY_MS;
    }
    setTimeout(follow, wait);
  }
  setTimeout(follow, EVERY_MS);
})();
