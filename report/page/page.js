"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.graphs || !data.graphs.length) return;
  const canvas = document.getElementById("canvas"), ctx = canvas.getContext("2d"), panel = document.getElementById("panel");
  const search = document.getElementById("search"), hitsLabel = document.getElementById("hits");
  const W = 150, H = 34, GX = 22, GY = 26; // size of a box and gaps, in units of the graph
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue("--" + name).trim();
  const marks = { added: "+ ", removed: "\u2212 ", changed: "~ " };
  const dashes = { added: [], removed: [6, 4], changed: [2, 2] };
  let g, scale = 1, ox = 0, oy = 0, selected = -1, hits = [], hit = -1, feeds, users, grid;

  const left = (n) => n.x * (W + GX), top = (n) => n.y * (H + GY);

  function open(i) {
    g = data.graphs[i];
    state.graph = i;
    feeds = g.nodes.map(() => []);
    users = g.nodes.map(() => []);
    for (const [a, b] of g.edges) { users[a].push(b); feeds[b].push(a); }
    grid = new Map(); // boxes by row, for finding what is under the pointer and in view
    g.nodes.forEach((n, k) => { if (!grid.has(n.y)) grid.set(n.y, []); grid.get(n.y).push(k); });
    selected = -1;
    panel.replaceChildren();
    document.querySelectorAll("#tabs button").forEach((b, k) => b.setAttribute("aria-pressed", String(k === i)));
    find(search.value, false);
    fit();
  }

  function bounds() {
    let x0 = Infinity, x1 = -Infinity, y1 = 0;
    for (const n of g.nodes) { x0 = Math.min(x0, left(n)); x1 = Math.max(x1, left(n) + W); y1 = Math.max(y1, top(n) + H); }
    return [x0, x1, y1];
  }

  function fit() {
    const [x0, x1, y1] = bounds(), w = canvas.clientWidth, h = canvas.clientHeight;
    scale = Math.min(1.2, w / (x1 - x0 + 40), Math.max(h / (y1 + 40), 0.35)); // long graphs begin at the top, readable
    ox = w / 2 - scale * (x0 + x1) / 2;
    oy = 20;
    draw();
  }

  let pending = false;
  function draw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; paint(); });
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, w, h);
    ctx.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * ox, ratio * oy);
    const x0 = -ox / scale, y0 = -oy / scale, x1 = x0 + w / scale, y1 = y0 + h / scale;
    ctx.lineWidth = Math.max(1, 0.6 / scale);
    ctx.strokeStyle = colour("line");
    ctx.beginPath();
    for (const [a, b] of g.edges) {
      const p = g.nodes[a], q = g.nodes[b], ay = top(p) + H, by = top(q);
      if (by < y0 || ay > y1) continue;
      const ax = left(p) + W / 2, bx = left(q) + W / 2, my = (ay + by) / 2;
      ctx.moveTo(ax, ay);
      ctx.bezierCurveTo(ax, my, bx, my, bx, by);
    }
    ctx.stroke();
    ctx.font = "13px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    const hitSet = new Set(hits);
    let drawn = 0;
    for (let y = Math.max(0, Math.floor(y0 / (H + GY))); y <= Math.ceil(y1 / (H + GY)); y++) {
      for (const k of grid.get(y) || []) {
        const n = g.nodes[k];
        if (left(n) > x1 || left(n) + W < x0) continue;
        box(n, k, hitSet.has(k));
        drawn++;
      }
    }
    state.drawn = drawn;
  }

  function box(n, k, isHit) {
    const x = left(n), y = top(n), port = n.op === "input" || n.op === "output";
    ctx.fillStyle = isHit ? colour("hit") : k === selected ? "#dceefb" : port ? "#eee" : "#fff";
    ctx.strokeStyle = n.state ? colour(n.state) : colour("ink");
    ctx.lineWidth = k === selected ? 4 : n.state ? 3 : 1;
    ctx.setLineDash(n.state ? dashes[n.state] : []);
    ctx.beginPath();
    ctx.roundRect(x, y, W, H, port ? H / 2 : 4);
    ctx.fill();
    ctx.stroke();
    ctx.setLineDash([]);
    if (scale < 0.25) return; // no text that nobody can read
    ctx.fillStyle = colour("ink");
    const label = (marks[n.state] || "") + (port ? n.name : n.op);
    ctx.fillText(label, x + 8, y + (port || !n.name ? H / 2 : 11), W - 16);
    if (!port && n.name) {
      ctx.save();
      ctx.font = "10px system-ui, sans-serif";
      ctx.fillStyle = "#444";
      ctx.fillText(n.name.length > 26 ? "\u2026" + n.name.slice(-25) : n.name, x + 8, y + 25, W - 16);
      ctx.restore();
    }
  }

  function at(px, py) {
    const x = (px - ox) / scale, y = (py - oy) / scale;
    for (const k of grid.get(Math.floor(y / (H + GY))) || []) {
      const n = g.nodes[k];
      if (x >= left(n) && x <= left(n) + W && y >= top(n) && y <= top(n) + H) return k;
    }
    return -1;
  }

  function centre(k) {
    const n = g.nodes[k];
    if (scale < 0.5) scale = 0.8;
    ox = canvas.clientWidth / 2 - scale * (left(n) + W / 2);
    oy = canvas.clientHeight / 2 - scale * (top(n) + H / 2);
  }

  const number = (v) => v >= 1e9 ? (v / 1e9).toFixed(2) + " G" : v >= 1e6 ? (v / 1e6).toFixed(2) + " M" : v >= 1e4 ? (v / 1e3).toFixed(1) + " k" : String(v);

  function element(tag, text) {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text; // never markup: names come from the model
    return e;
  }

  function histogram(w) {
    const ns = "http://www.w3.org/2000/svg", s = document.createElementNS(ns, "svg"), most = Math.max(...w.hist);
    s.setAttribute("width", "300");
    s.setAttribute("height", "60");
    s.setAttribute("role", "img");
    s.setAttribute("aria-label", "histogram of " + w.name);
    w.hist.forEach((c, i) => {
      const r = document.createElementNS(ns, "rect"), h = 58 * c / most;
      r.setAttribute("x", String(i * 300 / w.hist.length));
      r.setAttribute("y", String(60 - h));
      r.setAttribute("width", String(300 / w.hist.length - 1));
      r.setAttribute("height", String(h));
      r.setAttribute("fill", colour("added"));
      s.append(r);
    });
    return s;
  }

  function select(k, move) {
    selected = k;
    panel.replaceChildren();
    if (k >= 0) {
      const n = g.nodes[k], list = element("dl");
      panel.append(element("h3", n.op + (n.name ? " " + n.name : "")));
      const row = (title, lines) => {
        lines = (lines || []).filter((x) => x !== undefined && x !== "");
        if (!lines.length) return;
        list.append(element("dt", title));
        for (const l of lines) list.append(element("dd", l));
      };
      row("state", [n.state]);
      row("what changed", n.what);
      row("operands", n.in);
      row("results", n.out);
      row("attributes", n.attrs);
      row("cost", [n.macs ? number(n.macs) + " MACs" : "", n.bytes ? number(n.bytes) + " bytes of weights" : "", n.live ? number(n.live) + " bytes alive" : "", n.micros ? n.micros.toFixed(1) + " \u00b5s measured" : ""]);
      row("drift", [n.drift === undefined ? "" : n.drift.toExponential(2)]);
      row("range on data", [n.range ? n.range.min.toPrecision(4) + " to " + n.range.max.toPrecision(4) + ", mean " + n.range.mean.toPrecision(3) + ", " + n.range.samples + (n.range.samples === 1 ? " sample" : " samples") : ""]);
      row("made of", n.origin);
      row("rules", n.rules);
      panel.append(list);
      for (const w of n.weights || []) {
        panel.append(element("strong", w.name), element("div", w.type + (w.hist ? ": " + w.min.toPrecision(4) + " to " + w.max.toPrecision(4) + ", mean " + w.mean.toPrecision(3) : "")));
        if (w.hist) panel.append(histogram(w));
      }
      if (n.twin !== undefined && data.graphs.length > 1) {
        const b = element("button", "show in the other graph");
        b.id = "twin";
        b.onclick = () => { open(1 - state.graph); select(n.twin, true); };
        panel.append(b);
      }
      if (move) centre(k);
    }
    state.selected = k;
    draw();
  }

  function find(text, move) {
    text = text.trim().toLowerCase();
    hits = [];
    hit = -1;
    if (text) g.nodes.forEach((n, k) => { if ((n.op + " " + n.name).toLowerCase().includes(text)) hits.push(k); });
    hitsLabel.textContent = text ? hits.length + (hits.length === 1 ? " hit" : " hits") : "";
    state.hits = hits.length;
    if (move && hits.length) next();
    draw();
  }

  function next() {
    if (!hits.length) return;
    hit = (hit + 1) % hits.length;
    select(hits[hit], true);
  }

  function zoom(f, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) {
    const s = Math.min(4, Math.max(0.01, scale * f));
    ox = px - (px - ox) * s / scale;
    oy = py - (py - oy) * s / scale;
    scale = s;
    state.scale = scale;
    draw();
  }

  // State is what tests look at.
  const state = { graph: 0, selected: -1, hits: 0, drawn: 0, scale: 1, where: (k) => [ox + scale * (left(g.nodes[k]) + W / 2), oy + scale * (top(g.nodes[k]) + H / 2)], offset: () => [ox, oy] };
  window.onnxopt = state;

  let drag = null;
  canvas.onpointerdown = (e) => { drag = { x: e.offsetX, y: e.offsetY, ox, oy, moved: false }; canvas.setPointerCapture(e.pointerId); canvas.focus(); };
  canvas.onpointermove = (e) => {
    if (!drag) return;
    drag.moved = drag.moved || Math.hypot(e.offsetX - drag.x, e.offsetY - drag.y) > 4;
    ox = drag.ox + e.offsetX - drag.x;
    oy = drag.oy + e.offsetY - drag.y;
    draw();
  };
  canvas.onpointerup = (e) => { if (drag && !drag.moved) select(at(e.offsetX, e.offsetY), false); drag = null; };
  canvas.onwheel = (e) => { e.preventDefault(); zoom(Math.exp(-e.deltaY / 400), e.offsetX, e.offsetY); };
  canvas.onkeydown = (e) => {
    const step = (list) => { if (selected < 0) select(0, true); else if (list.length) select(list[0], true); };
    const beside = (d) => { const row = grid.get(g.nodes[Math.max(0, selected)].y), i = row.indexOf(selected) + d; if (row[i] !== undefined) select(row[i], true); };
    const pan = { ArrowUp: [0, 60], ArrowDown: [0, -60], ArrowLeft: [60, 0], ArrowRight: [-60, 0] }[e.key];
    if (e.shiftKey && pan) { ox += pan[0]; oy += pan[1]; draw(); }
    else if (e.key === "ArrowDown") step(selected < 0 ? [] : users[selected]);
    else if (e.key === "ArrowUp") step(selected < 0 ? [] : feeds[selected]);
    else if (e.key === "ArrowLeft") beside(-1);
    else if (e.key === "ArrowRight") beside(1);
    else if (e.key === "+" || e.key === "=") zoom(1.25);
    else if (e.key === "-") zoom(0.8);
    else if (e.key === "0") fit();
    else if (e.key === "Escape") select(-1, false);
    else if (e.key === "Enter") next();
    else return;
    e.preventDefault();
  };
  document.addEventListener("keydown", (e) => { if (e.key === "/" && document.activeElement !== search) { e.preventDefault(); search.focus(); } });
  search.oninput = () => find(search.value, false);
  search.onkeydown = (e) => { if (e.key === "Enter") { e.preventDefault(); next(); } else if (e.key === "Escape") { search.value = ""; find("", false); canvas.focus(); } };
  document.getElementById("in").onclick = () => zoom(1.25);
  document.getElementById("out").onclick = () => zoom(0.8);
  document.getElementById("fit").onclick = fit;
  document.querySelectorAll("#tabs button").forEach((b) => { b.onclick = () => open(Number(b.dataset.graph)); });
  document.getElementById("tabs").hidden = data.graphs.length < 2;
  document.getElementById("legend").hidden = data.graphs.length < 2;
  window.addEventListener("resize", draw);
  open(data.graphs.length - 1);
  paint();
  state.ready = performance.now(); // milliseconds since the page began to load
})();
