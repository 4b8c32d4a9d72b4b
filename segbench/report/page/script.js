"use strict";
// The page works on what stands in it: no request leaves it. Names of users are only ever set as text.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const hidden = new Map(); // of each study, the arms that are switched off
const armsOff = (chart) => hidden.get(chart.closest("article").id) ?? new Set();

// --- figures: drawn when they come into view, in the colours of the theme

let printing = false; // paper is white, whatever the theme
const ink = () => (printing ? "black" : css("--ink"));
const colors = () => ({ "font.color": ink(), "legend.font.color": ink(), "hoverlabel.bgcolor": css("--paper"), "hoverlabel.font.color": css("--ink") });
const specs = new WeakMap();

function spec(chart) {
  if (!specs.has(chart)) specs.set(chart, JSON.parse(chart.querySelector("script").textContent));
  return specs.get(chart);
}

function draw(chart) {
  const plot = chart.querySelector(".plot");
  if (plot.dataset.drawn || plot.offsetParent === null) return;
  plot.dataset.drawn = "true";
  const { data, layout } = structuredClone(spec(chart));
  if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page
  const config = { responsive: true, displaylogo: false };
  Plotly.newPlot(plot, data, layout, config).then(() => { Plotly.relayout(plot, colors()); show(chart); smooth(chart); });
}

function show(chart) {
  const plot = chart.querySelector(".plot");
  if (!plot.dataset.drawn || !("byArm" in chart.dataset)) return;
  const off = armsOff(chart);
  Plotly.restyle(plot, { visible: plot.data.map((trace) => !off.has(trace.legendgroup)) });
}

const charts = [...document.querySelectorAll(".chart")];
const watcher = new IntersectionObserver((entries) => entries.forEach((one) => one.isIntersecting && draw(one.target)), { rootMargin: "300px" });
charts.forEach((chart) => watcher.observe(chart));
const drawn = () => charts.filter((chart) => chart.querySelector(".plot").dataset.drawn);
const recolor = () => drawn().forEach((chart) => Plotly.relayout(chart.querySelector(".plot"), colors()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);
document.querySelector("#theme").addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
  recolor();
});
// what is folded or not yet drawn is printed too
addEventListener("beforeprint", () => {
  printing = true;
  document.querySelectorAll("main details").forEach((one) => (one.open = true));
  recolor();
  charts.forEach(draw);
});
addEventListener("afterprint", () => {
  printing = false;
  recolor();
});

document.querySelectorAll(".arms button").forEach((button) => button.addEventListener("click", () => {
  const article = button.closest("article");
  const off = hidden.get(article.id) ?? new Set();
  hidden.set(article.id, off);
  const on = button.getAttribute("aria-pressed") === "true";
  on ? off.add(button.dataset.arm) : off.delete(button.dataset.arm);
  button.setAttribute("aria-pressed", String(!on));
  article.querySelectorAll(".chart[data-by-arm]").forEach(show);
}));

// --- one of several: a group of radio buttons with arrow keys

const ofBrowser = (event) => event.ctrlKey || event.metaKey || event.altKey; // Alt+Left goes back, Ctrl++ enlarges the page

function radios(group, choose) {
  const buttons = [...group.querySelectorAll("[role=radio]")];
  const check = (button) => {
    buttons.forEach((one) => {
      one.setAttribute("aria-checked", String(one === button));
      one.tabIndex = one === button ? 0 : -1;
    });
    choose(button, buttons.indexOf(button));
  };
  buttons.forEach((button, index) => {
    button.tabIndex = index ? -1 : 0;
    button.addEventListener("click", () => check(button));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step || ofBrowser(event)) return;
      event.preventDefault();
      event.stopPropagation();
      const next = buttons[(index + step + buttons.length) % buttons.length];
      next.focus();
      check(next);
    });
  });
  return (index) => check(buttons[index]);
}

document.querySelectorAll(".choice").forEach((choice) => {
  const alternatives = [...choice.querySelectorAll(".alternative")];
  radios(choice.querySelector(".options"), (_, index) => {
    alternatives.forEach((one, at) => (one.hidden = at !== index));
    alternatives[index].querySelectorAll(".chart").forEach(draw);
  });
  choice.querySelector(".smooth input")?.addEventListener("input", () => choice.querySelectorAll(".chart").forEach(smooth));
});

function smooth(chart) {
  const choice = chart.closest(".choice"), slider = choice?.querySelector(".smooth input");
  if (!slider) return;
  const weight = Number(slider.value);
  choice.querySelector("output").textContent = weight ? weight.toFixed(2) : "off";
  const plot = chart.querySelector(".plot");
  if (!plot.dataset.drawn) return;
  const raw = spec(chart).data;
  const at = raw.map((trace, index) => (trace.meta === "smoothed" ? index : -1)).filter((index) => index >= 0);
  Plotly.restyle(plot, { y: at.map((index) => averaged(raw[index].y, weight)) }, at);
}

// exponential moving average without the pull towards 0 at the start
function averaged(values, weight) {
  let sum = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + value;
    total = weight * total + 1;
    return sum / total;
  });
}

// --- tables: sorted by a column; tables and figures as CSV

const number = (text) => {
  const found = text.replace("\u2212", "-").match(/[-+]?\d*\.?\d+(e[-+]?\d+)?/i);
  return found ? Number(found[0]) : -Infinity;
};

document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const column = head.cellIndex, numeric = head.classList.contains("number");
  const down = head.getAttribute("aria-sort") === (numeric ? "descending" : "ascending");
  const descending = numeric ? !down : down;
  head.parentElement.querySelectorAll("th").forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.cells[column].textContent;
  const compare = numeric ? (a, b) => number(key(a)) - number(key(b)) : (a, b) => key(a).localeCompare(key(b));
  const rows = [...body.rows].sort(compare);
  body.append(...(descending ? rows.reverse() : rows));
}));

// a spreadsheet would run a cell that begins like a formula
function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const plain = (text) => String(text ?? "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

// the ends of a point's error bar, as columns
function bounds(trace, axis, index) {
  const value = trace[axis][index], { array, arrayminus = array } = trace[`error_${axis}`] ?? {};
  if (!array) return {};
  const end = (length, sign) => (value === null || length === null ? null : value + sign * length);
  return { [`${axis}_low`]: end(arrayminus[index], -1), [`${axis}_high`]: end(array[index], 1) };
}

function rowsOf(chart) {
  const seen = spec(chart).data.filter((trace) => trace.line?.width !== 0); // the edges of a band are not
  const points = seen.flatMap((trace) => trace.type === "heatmap"
    ? trace.z.flatMap((row, y) => row.map((value, x) => ({ x: trace.x[x], y: trace.y[y], value })))
    : trace.x.map((x, index) => ({ series: trace.name, text: trace.text?.[index], x, y: trace.y[index], ...bounds(trace, "x", index), ...bounds(trace, "y", index) })));
  const columns = ["series", "text", "x", "x_low", "x_high", "y", "y_low", "y_high", "value"].filter((name) => points.some((point) => point[name] !== undefined));
  return [columns, ...points.map((point) => columns.map((name) => plain(point[name])))];
}

function download(name, rows) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  link.download = `${name.replace(/[^\w.-]+/g, "-").slice(0, 80)}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}

document.querySelectorAll("button.data").forEach((button) => button.addEventListener("click", () => {
  const chart = button.closest(".chart");
  if (chart) return download(chart.dataset.chart, rowsOf(chart));
  const region = button.previousElementSibling;
  const rows = [...region.querySelectorAll("tr")].map((row) => [...row.cells].map((cell) => cell.textContent.trim()));
  download(region.getAttribute("aria-label"), rows);
}));

// --- the gallery

document.querySelectorAll(".gallery").forEach((gallery) => {
  const all = JSON.parse(gallery.querySelector("script").textContent);
  const find = (selector) => gallery.querySelector(selector);
  const [truth, cause, arm] = ["truth", "cause", "arm"].map((name) => find(`select[name=${name}]`));
  const viewer = find(".viewer"), frame = find(".frame"), below = find(".frame img"), blend = find("input[name=blend]");
  const above = below.cloneNode();
  frame.append(above);
  const state = { at: 0, layer: "image", zoom: 1 };
  const sources = (one) => ({ image: one.image_source, truth: one.truth_source, prediction: one.predictions[arm.value], error: one.errors[arm.value], agreement: one.agreement_source });
  const shown = () => all.filter((one) => (!truth.value || one.truth === truth.value) && (!cause.value || one.cause === cause.value));
  const fill = (select, values) => [...new Set(values)].forEach((value) => select.add(new Option(value, value)));
  fill(truth, all.map((one) => one.truth));
  fill(cause, all.map((one) => one.cause));

  function update(scroll) {
    const crops = shown();
    const none = !crops.length;
    viewer.hidden = none;
    find(".none").textContent = none ? "no crop of this class and cause" : "";
    if (none) return find(".thumbs").replaceChildren();
    state.at = Math.min(state.at, crops.length - 1);
    const one = crops[state.at];
    below.src = one.image_source;
    above.src = sources(one)[state.layer] ?? one.image_source;
    above.style.opacity = blend.value / 100;
    [below, above].forEach((image) => (image.style.width = `${100 * state.zoom}%`));
    above.alt = `${state.layer} of ${one.image}, ${one.place}: ${one.cause}`;
    below.alt = "";
    find(".where").textContent = `${state.at + 1} of ${crops.length}: ${one.cause}; ${one.image}, ${one.place}`;
    find(".permalink").href = `#${gallery.id}/${all.indexOf(one)}/${state.layer}/${encodeURIComponent(arm.value)}`;
    const thumbs = find(".thumbs");
    thumbs.replaceChildren(...crops.map((crop, index) => {
      const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
      image.src = crop.image_source;
      image.alt = `${index + 1}: ${crop.cause}, ${crop.image}`;
      image.loading = "lazy";
      button.type = "button";
      if (index === state.at) button.setAttribute("aria-current", "true");
      button.append(image);
      button.addEventListener("click", () => { state.at = index; update(); viewer.focus(); });
      item.append(button);
      return item;
    }));
    if (scroll) viewer.scrollIntoView({ block: "center" });
  }

  const layers = ["image", "truth", "prediction", "error", "agreement"];
  const choose = radios(find(".layers"), (button) => { state.layer = button.dataset.layer; update(); });
  const turn = (step) => { const { length } = shown(); state.at = (state.at + step + length) % length; update(); };
  const zoom = (step) => { state.zoom = Math.max(1, Math.min(4, state.zoom + step)); update(); };
  [truth, cause].forEach((select) => select.addEventListener("change", () => { state.at = 0; update(); }));
  arm.addEventListener("change", () => update());
  blend.addEventListener("input", () => (above.style.opacity = blend.value / 100));
  gallery.querySelectorAll("[data-turn]").forEach((button) => button.addEventListener("click", () => turn(Number(button.dataset.turn))));
  gallery.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
  gallery.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  viewer.addEventListener("keydown", (event) => {
    if (ofBrowser(event) || event.target.matches("input, select")) return;
    const action = { ArrowRight: () => turn(1), ArrowLeft: () => turn(-1), "+": () => zoom(1), "-": () => zoom(-1) }[event.key];
    const layer = layers[Number(event.key) - 1];
    if (!action && !layer) return;
    event.preventDefault();
    action ? action() : choose(layers.indexOf(layer));
  });

  function follow() {
    const [id, index, layer, name] = location.hash.slice(1).split("/").map(decodeURIComponent);
    if (id !== gallery.id || !all[index]) return;
    truth.value = cause.value = "";
    if (Object.hasOwn(all[index].predictions, name)) arm.value = name;
    state.at = Number(index);
    choose(Math.max(0, layers.indexOf(layer)));
    update(true);
  }
  addEventListener("hashchange", follow);
  choose(0);
  follow();
});
