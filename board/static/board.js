// What people do on the page goes to the API; the card that comes back takes the old one's place.
"use strict";

const token = document.querySelector('meta[name="restage-token"]').content;
const said = document.getElementById("said");
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
let quiet;

function say(text, bad = false) {
  said.textContent = text;
  said.className = bad ? "said on bad" : "said on";
  clearTimeout(quiet);
  quiet = setTimeout(() => said.classList.remove("on"), bad ? 9000 : 4000);
}

async function send(path, body) {
  const headers = { "content-type": "application/json", "x-restage-token": token };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body ?? {}) });
  if (answer.status === 401) location.reload();
  const found = await answer.json().catch(() => ({ problem: "the board does not answer: is it still running?" }));
  if (!answer.ok) throw new Error(found.problem);
  return found;
}

// --- cards -----------------------------------------------------------------------------------------------------------

const cards = () => [...document.querySelectorAll(".card")];
const seen = (card) => ({ revision: Number(card.dataset.revision), hash: card.dataset.hash });
const current = () => document.activeElement?.closest?.(".card") ?? nearest();

function nearest() {
  // The card that most of the screen shows, so that keys mean what one looks at.
  const shows = (card) => {
    const box = card.getBoundingClientRect();
    return Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
  };
  return cards().reduce((best, card) => (best && shows(best) >= shows(card) ? best : card), null);
}

function go(card) {
  if (!card) return;
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

function step(by) {
  const all = cards();
  const inside = document.activeElement?.closest?.(".card");
  const at = inside ? all.indexOf(inside) + by : all.indexOf(nearest());
  go(all[Math.max(0, Math.min(all.length - 1, at))]);
}

async function renew(card) {
  const answer = await fetch(`/post/${card.dataset.post}/card`, { headers: { accept: "text/html" } });
  if (!answer.ok) return card;
  const held = card.contains(document.activeElement);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const made = page.querySelector(".card");
  card.replaceWith(made);
  prepare(made);
  if (held) made.focus({ preventScroll: true });
  showPicked();
  return made;
}

async function act(card, path, body, done) {
  if (!card || card.classList.contains("busy")) return null;
  card.classList.add("busy");
  try {
    await send(`/api/posts/${card.dataset.post}/${path}`, { ...seen(card), ...body });
    const made = await renew(card);
    say(done);
    return made;
  } catch (error) {
    say(error.message, true);
    // What was typed stays where the post is still the same one.
    if (/look at it again|is .* by now/.test(error.message)) return renew(card);
    card.classList.remove("busy");
    return null;
  }
}

// --- editing ---------------------------------------------------------------------------------------------------------

const tagsOf = (text) => text.split(/[\s,]+/).filter(Boolean);
const field = (form, name) => form.querySelector(`[name="${name}"]`);

function changes(form) {
  const changed = (name) => field(form, name).value !== field(form, name).defaultValue;
  const found = {};
  if (changed("caption")) found.caption = field(form, "caption").value;
  if (changed("hashtags")) found.hashtags = tagsOf(field(form, "hashtags").value);
  if (changed("when")) found.when = field(form, "when").value;
  if (changed("account")) found.account = field(form, "account").value;
  const alts = [...form.querySelectorAll('[name="alt"]')];
  if (alts.some((each) => each.value !== each.defaultValue)) found.alts = alts.map((each) => each.value);
  return found;
}

function tell(form) {
  const count = form.querySelector(".count");
  const caption = field(form, "caption").value.trim();
  const tags = tagsOf(field(form, "hashtags").value);
  const text = [caption, tags.map((tag) => `#${tag.replace(/^#/, "")}`).join(" ")].filter(Boolean).join("\n\n");
  const chars = [...text].length; // as the board counts: an emoji is one character or a few, never two halves
  const all = (text.match(/(?<![\p{L}\p{N}_])#[\p{L}\p{N}_]/gu) ?? []).length;
  const put = (name, words, over) => {
    const place = count.querySelector(name);
    place.textContent = words;
    place.classList.toggle("over", over);
  };
  put(".chars", `${chars} of ${count.dataset.most} characters`, chars > Number(count.dataset.most));
  put(".tags", `${all} of ${count.dataset.tags} hashtags`, all > Number(count.dataset.tags));
  const dirty = Object.keys(changes(form)).length > 0;
  form.querySelector(".edits").hidden = !dirty;
  const word = form.closest(".card").querySelector('[data-do="approve"] .word');
  if (word) word.textContent = dirty ? "Save and approve" : "Approve";
}

function prepare(card) {
  const form = card.querySelector(".editor");
  if (form) form.addEventListener("input", () => tell(form));
}

async function save(card) {
  const form = card.querySelector(".editor");
  const wanted = form ? changes(form) : {};
  if (!Object.keys(wanted).length) return card;
  if (!form.reportValidity()) return null;
  return act(card, "edit", wanted, "Saved.");
}

// --- what can be done ------------------------------------------------------------------------------------------------

function next(card) {
  const all = cards();
  const after = all.slice(all.indexOf(card) + 1).find((each) => each.dataset.state === "awaiting review");
  if (after) go(after);
}

async function approve(card) {
  if (card?.dataset.state !== "awaiting review") return;
  const saved = await save(card);
  const made = saved && (await act(saved, "approve", {}, "Approved. U takes it back."));
  if (made) next(made);
}

function ask(title, verb) {
  const dialog = document.getElementById("why");
  document.getElementById("why-name").textContent = title;
  document.getElementById("why-go").textContent = verb;
  document.getElementById("why-text").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  document.getElementById("why-text").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "go" ? document.getElementById("why-text").value : null);
    }, { once: true });
  });
}

async function reject(card) {
  if (!card?.querySelector('[data-do="reject"]')) return;
  const why = await ask("Reject this post?", "Reject");
  const made = why !== null && (await act(card, "reject", { why }, "Rejected. U takes it back."));
  if (made) next(made);
}

async function regenerate(card) {
  if (!card?.querySelector('[data-do="regenerate"]')) return;
  const why = await ask("Ask for new pictures?", "New pictures");
  if (why !== null) await act(card, "regenerate", { why }, "New pictures come with the next render.");
}

async function undo(card) {
  if (card?.dataset.undo) await act(card, "undo", {}, `The ${card.dataset.undo} is taken back.`);
  else say("There is nothing to take back here.");
}

async function look(card, button) {
  const dialog = document.getElementById("look");
  const { candidate, picture, reason } = button.dataset;
  const shown = document.getElementById("look-picture");
  shown.src = `/pictures/${picture}/1080`;
  shown.alt = `Candidate ${candidate}`;
  document.getElementById("look-name").textContent = `Candidate ${candidate}`;
  document.getElementById("look-reason").textContent = reason;
  document.getElementById("look-trace").href = `/picture/${picture}`;
  document.getElementById("look-swap").hidden = !("swap" in button.dataset);
  document.getElementById("look-add").hidden = !("add" in button.dataset);
  dialog.returnValue = "";
  dialog.showModal();
  let wanted = "";
  const choose = (event) => { wanted = event.submitter?.id ?? ""; };
  dialog.addEventListener("submit", choose);
  dialog.addEventListener("close", async () => {
    dialog.removeEventListener("submit", choose);
    const path = { "look-swap": "swap", "look-add": "add" }[wanted];
    const saved = path && (await save(card));
    if (saved) await act(saved, path, { candidate: Number(candidate) }, path === "swap" ? "This one is shown now." : "Added.");
  }, { once: true });
}

async function takeOut(card, button) {
  const saved = await save(card);
  if (saved) await act(saved, "take-out", { place: Number(button.dataset.place) }, "Taken out.");
}

function reset(card) {
  const form = card.querySelector(".editor");
  form.reset();
  tell(form);
}

// --- several at once -------------------------------------------------------------------------------------------------

const picked = () => [...document.querySelectorAll('[data-do="pick"]:checked')].map((box) => box.closest(".card"));

function showPicked() {
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const count = picked().length;
  bar.hidden = !count;
  document.getElementById("bulk-count").textContent = `${count} selected`;
}

function pick(on) {
  for (const box of document.querySelectorAll('[data-do="pick"]')) box.checked = on;
  showPicked();
}

async function approvePicked() {
  const wanted = [];
  for (const card of picked()) {
    const saved = await save(card);
    if (!saved) return;
    wanted.push(saved);
  }
  try {
    const found = await send("/api/approve", { posts: wanted.map((card) => ({ post: card.dataset.post, ...seen(card) })) });
    await Promise.all(wanted.map(renew));
    say([`${found.done.length} approved.`, ...found.problems].join(" "), found.problems.length > 0);
  } catch (error) {
    say(error.message, true);
  }
  showPicked();
}

// --- a picture made again --------------------------------------------------------------------------------------------

function showReplay(found) {
  const place = document.getElementById("replay");
  place.textContent = found.text;
  place.className = `replay ${found.standing}`;
  return found.standing === "running";
}

async function replay(button) {
  const path = `/api/pictures/${document.querySelector("[data-trace]").dataset.trace}/replay`;
  button.disabled = true;
  try {
    let running = showReplay(await send(path));
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const answer = await fetch(path);
      running = answer.ok && showReplay(await answer.json());
    }
  } catch (error) {
    say(error.message, true);
  }
  button.disabled = false;
}

// --- clicks and keys -------------------------------------------------------------------------------------------------

const deeds = {
  approve: (card) => approve(card),
  reject: (card) => reject(card),
  regenerate: (card) => regenerate(card),
  undo: (card) => undo(card),
  reopen: (card) => act(card, "reopen", {}, "It awaits review again."),
  look: (card, button) => look(card, button),
  "take-out": (card, button) => takeOut(card, button),
  reset: (card) => reset(card),
  help: () => document.getElementById("help").showModal(),
  close: (card, button) => button.closest("dialog").close(),
  replay: (card, button) => replay(button),
  "approve-picked": () => approvePicked(),
  "pick-all": () => pick(true),
  unpick: () => pick(false),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (button) deeds[button.dataset.do]?.(button.closest(".card"), button);
});

document.addEventListener("change", (event) => {
  if (event.target.dataset.do === "pick") showPicked();
});

document.addEventListener("submit", async (event) => {
  if (event.target.dataset.do !== "edit") return;
  event.preventDefault();
  await save(event.target.closest(".card"));
});

function pickOne(card) {
  const box = card?.querySelector('[data-do="pick"]');
  if (box) box.checked = !box.checked;
  showPicked();
}

const keys = {
  j: () => step(1),
  k: () => step(-1),
  a: () => approve(current()),
  r: () => reject(current()),
  n: () => regenerate(current()),
  u: () => undo(current()),
  x: () => pickOne(current()),
  e: () => current()?.querySelector('[name="caption"]')?.focus(),
  "?": () => deeds.help(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && typing && !event.target.closest("dialog")) event.target.closest(".card")?.focus();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const deed = keys[event.key.toLowerCase()];
  if (!deed) return;
  event.preventDefault(); // or the letter would land in the field that the key leads to
  deed();
});

addEventListener("beforeunload", (event) => {
  if ([...document.querySelectorAll(".editor")].some((form) => Object.keys(changes(form)).length)) event.preventDefault();
});

for (const card of cards()) prepare(card);
