// Work that takes longer: films, projections, verdicts. Files go straight to the server, which keeps them in memory.
(() => {
  const { at, redraw, set, query, model, recipe } = window.loom;
  const LONGEST = 12 * 2 ** 20;
  const told = (kind, text, wrong = false) => {
    at(`${kind}-status`).textContent = text;
    at(`${kind}-status`).classList.toggle("wrong", wrong);
  };
  async function sent(address, body) {
    const answer = await fetch(address, { method: "POST", body });
    const found = await answer.json().catch(() => ({ error: answer.statusText }));
    if (!answer.ok) throw found.error ?? answer.statusText;
    return found;
  }

  // ---- work

  const going = {};
  async function begin(kind, given, progress, done) {
    told(kind, "Waiting…");
    const bar = at(`${kind}-progress`), stop = at(`${kind}-stop`);
    try {
      let found = await sent("/loom/begin", JSON.stringify({ model: model(), ...given }));
      going[kind] = found.work;
      bar.hidden = stop.hidden = false;
      while (["waiting", "running"].includes(found.state)) {
        await new Promise((wake) => setTimeout(wake, 400));
        const answer = await fetch(`/loom/work?work=${encodeURIComponent(going[kind])}`);
        found = await answer.json();
        if (!answer.ok) throw found.error;
        bar.value = found.total ? found.done / found.total : 0;
        if (found.state === "running") progress(found);
      }
      if (found.error) throw found.error;
      if (found.state === "stopped") told(kind, "Stopped.");
      done(found);  // with what there is
    } catch (error) {
      told(kind, String(error), true);
    }
    bar.hidden = stop.hidden = true;
  }
  const stop = (kind) => sent("/loom/stop", JSON.stringify({ work: going[kind] })).catch(() => {});

  // ---- uploads

  const uploads = {};
  async function take(kind, file) {
    if (!file || at(`${kind}-file`).disabled) return;
    if (file.size > LONGEST) return told(kind, `The file has more than ${LONGEST / 2 ** 20} MB.`, true);
    told(kind, "Sending…");
    try {
      const found = await sent(`/loom/upload?model=${encodeURIComponent(model())}`, file);
      if (found.recipe !== undefined && kind === "project") return location.assign(`${location.pathname}?${found.recipe}`);
      uploads[kind] = found.upload;
      at(`${kind}-target`).src = `/loom/target?upload=${encodeURIComponent(found.upload)}`;
      at(`${kind}-figure`).hidden = false;
      at(`${kind}-start`).disabled = false;
      told(kind, found.changed ? "It was cropped and resized to what the generator makes." : "Ready.");
    } catch (error) {
      told(kind, String(error), true);
    }
  }
  addEventListener("change", (event) => {
    const kind = /^(project|judge)-file$/.exec(event.target.id)?.[1];
    if (kind) take(kind, event.target.files[0]);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    addEventListener(name, (event) => {
      const drop = event.target.closest?.(".loom-drop");
      if (name !== "dragleave") event.preventDefault();  // a file beside the field opens nothing
      if (!drop) return;
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(drop.id.split("-")[0], event.dataTransfer.files[0]);
    });
  }

  function project() {
    let shown = "";
    const show = (found) => {
      told("project", `Step ${found.done} of ${found.total}, distance ${(found.distance ?? 0).toFixed(4)}`);
      if (!found.latent) return;
      if (found.latent === shown) redraw();
      else set("latent", (shown = found.latent));
    };
    begin("project", { kind: "project", upload: uploads.project, steps: +at("project-steps").value,
      space: at("project-space").value, label: window.loom.named("label") ?? null }, show, (found) => {
      if (!found.latent) return;
      show(found);
      told("project", `Found, at distance ${(found.distance ?? 0).toFixed(4)}. The page edits it now.`);
    });
  }
  function judge() {
    at("judge-verdict").textContent = "";
    begin("judge", { kind: "attribute", upload: uploads.judge }, (found) => {
      told("judge", `Step ${found.done} of ${found.total}`);
    }, (found) => {
      if (!found.verdict) return;
      told("judge", "");
      at("judge-verdict").replaceChildren(...[["strong", found.verdict], ["p", found.sentence],
        ...(found.notes ?? []).map((note) => ["p", note])].map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: text })));
    });
  }

  // ---- walks

  let keys = [], playing = 0, list = null;
  const walkQuery = (extra) => new URLSearchParams({ model: model(), keys: JSON.stringify(keys), loop: at("walk-loop").checked ? "1" : "", ...extra });
  async function walkMoment() {
    const t = at("walk-t").value;
    const answer = await fetch(`/loom/walk?${walkQuery({ t })}`);
    if (!answer.ok) return told("walk", (await answer.json()).error, true);
    const bitmap = await createImageBitmap(await answer.blob()), canvas = at("loom-canvas");
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    Object.assign(canvas.dataset, { walk: t });
  }
  async function listed() {
    location.hash = keys.length ? `keys=${encodeURIComponent(JSON.stringify(keys))}` : "";
    if (!list) return;
    list.replaceChildren(...keys.map((key, i) => {
      const item = document.createElement("li"), image = document.createElement("img"), button = document.createElement("button");
      image.src = `/loom/picture?thumb=1&recipe=${encodeURIComponent(`model=${encodeURIComponent(model())}&${key}`)}`;
      image.alt = `Key frame ${i + 1}: ${key || "seed 0"}`;
      Object.assign(button, { type: "button", textContent: "×", onclick: () => { keys.splice(i, 1); listed(); } });
      button.setAttribute("aria-label", `Remove key frame ${i + 1}`);
      item.append(image, button);
      return item;
    }));
    for (const id of ["walk-t", "walk-play", "walk-export"]) at(id).disabled = keys.length < 2;
    at("walk-clear").disabled = !keys.length;
    at("walk-latents").hidden = keys.length < 2;
    at("walk-latents").href = `/loom/walk?${walkQuery({ what: "latents" })}`;
    if (keys.length < 2) return;
    const answer = await fetch(`/loom/walk?${walkQuery({ what: "command", seconds: at("walk-seconds").value, suffix: at("walk-suffix").value })}`);
    if (answer.ok) at("walk-command").value = (await answer.json()).command;
  }
  new MutationObserver(() => {  // the tab has its parts once it was opened: key frames may be there before
    if (at("walk-keys") === list) return;
    list = at("walk-keys");
    if (keys.length) listed();
  }).observe(document, { childList: true, subtree: true });
  async function play() {
    const own = ++playing, seconds = +at("walk-seconds").value || 4, began = performance.now();
    while (own === playing && keys.length > 1) {
      const t = (performance.now() - began) / 1000 / seconds;
      if (t > 1) break;
      at("walk-t").value = t;
      await walkMoment();
    }
    redraw();
  }
  function make() {
    const given = { kind: "walk", keys, seconds: +at("walk-seconds").value, suffix: at("walk-suffix").value, loop: at("walk-loop").checked };
    begin("walk", given, (found) => told("walk", `Frame ${found.done} of ${found.total}`), (found) => {
      if (!found.film) return;
      const link = at("walk-download");
      link.href = `/loom/film?download=1&film=${encodeURIComponent(found.film)}`;
      link.hidden = false;
      told("walk", "The film is ready.");
    });
  }
  addEventListener("input", (event) => {
    if (event.target.id === "walk-t") walkMoment();
    if (["walk-seconds", "walk-suffix", "walk-loop"].includes(event.target.id)) listed();
  });
  const pressed = {
    "loom-key": () => { keys.push(recipe()); listed(); told("loom", `Added to Walk, which has ${keys.length} key frame${keys.length > 1 ? "s" : ""}`); },
    "walk-play": play, "walk-export": make, "walk-stop": () => stop("walk"), "walk-clear": () => { keys = []; listed(); },
    "project-start": project, "project-stop": () => stop("project"), "judge-start": judge, "judge-stop": () => stop("judge"),
  };
  addEventListener("click", (event) => pressed[event.target.closest?.("button")?.id]?.());
  window.loom.opened = () => {
    const found = /^#keys=(.*)$/.exec(location.hash);
    try {
      if (found) keys = JSON.parse(decodeURIComponent(found[1])).filter((key) => typeof key === "string").slice(0, 24);
    } catch { keys = []; }
    if (keys.length) listed();
  };
})();
