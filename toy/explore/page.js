"use strict";
// Draws the tables of toy/explore/scene.py, embedded in the page or fetched from its server. The one formula that is
// computed here is the optimal discriminator's gradient, against N(x, w^2 I) or a cloud of samples.

const config = JSON.parse(document.getElementById("config").textContent);
const embedded = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const VISIBLE = 1e-6, STRONGEST = 1e3, DECADES = 6;
const CLOUD = 200, SMOOTHED = 0.25, LAST = 600;  // samples; of w, for their density; steps of a play

// The state is what the address holds behind #; everything else follows from it.
const state = {};
let scene = null, level = null, cloud = null, step = 0, playing = false;

function choices() {
  return {
    law: config.laws, thickness: config.thicknesses.map(String), loss: config.losses, by: ["both", "discriminator", "score"],
    nsr: config.nsrs.map(String), lambda: config.lams.map(String),
  };
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, known] of Object.entries(choices()))
    state[name] = known.includes(given.get(name)) ? given.get(name) : String(config.start[name]);
  for (const name of ["x1", "x2"])
    state[name] = /^\d+$/.test(given.get(name) ?? "") ? Math.min(Number(given.get(name)), config.grid - 1) : config.start[name];
}

function writeAddress() {
  history.replaceState(null, "", "#" + new URLSearchParams(state));
}

// ---- tables

const tables = new Map();

function table(key) {
  if (!tables.has(key)) {
    const found = read(key);
    found.catch(() => tables.delete(key));
    tables.set(key, found);
  }
  return tables.get(key);
}

async function read(key) {
  let found;
  if (embedded === null) {
    const response = await fetch("data/" + key);
    if (!response.ok) throw new Error(await response.text());
    found = await response.json();
  } else {
    const bytes = new Blob([decode(embedded[key])]).stream().pipeThrough(new DecompressionStream("gzip"));
    found = await new Response(bytes).json();
  }
  for (const [name, value] of Object.entries(found)) found[name] = numbers(value);
  return found;
}

function decode(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function numbers(value) {
  if (value?.u1 !== undefined) return decode(value.u1);
  if (value?.f4 !== undefined) return new Float32Array(decode(value.f4).buffer);
  if (value?.f2 !== undefined) return Float32Array.from(new Uint16Array(decode(value.f2).buffer), half);
  return value;
}

// The number that 16 bits of an IEEE half stand for.
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

// ---- the gradients

const sigmoid = (z) => 1 / (1 + Math.exp(-z));
const here = () => state.x2 * config.grid + state.x1;
const centre = (k) => [scene.left + (k % config.grid + 0.5) * cell(), scene.low + (Math.floor(k / config.grid) + 0.5) * cell()];
const cell = () => scene.side / config.grid;
const lam = () => Number(state.lambda);

// log q and its gradient at a point: of N(x, w^2 I), or of the cloud smoothed by w/4.
function generated(at) {
  const centres = cloud ?? [centre(here())], w = scene.spread * (cloud ? SMOOTHED : 1);
  let largest = -Infinity;
  const logs = centres.map(([a, b]) => {
    const log = -((at[0] - a) ** 2 + (at[1] - b) ** 2) / (2 * w * w);
    largest = Math.max(largest, log);
    return log;
  });
  let total = 0, u = 0, v = 0;
  logs.forEach((log, k) => {
    const share = Math.exp(log - largest);
    total += share;
    u += share * (centres[k][0] - at[0]);
    v += share * (centres[k][1] - at[1]);
  });
  return { log: largest + Math.log(total / centres.length / (2 * Math.PI * w * w)), slope: [u / total / w / w, v / total / w / w] };
}

// Minus the gradient of the generator's loss under D* = p/(p+q), and the logarithm of its norm. Where p = 0 it is 0
// for the saturating loss; the other loss is infinite there and has none (null).
function discriminator(at, logP, slopeP) {
  if (logP === -Infinity) return state.loss === "saturating" ? { downhill: [0, 0], log: -Infinity } : null;
  const q = generated(at), z = logP - q.log, weight = sigmoid(state.loss === "saturating" ? z : -z);
  const downhill = [0, 1].map((i) => weight * (slopeP[i] - q.slope[i]));
  const away = state.loss === "saturating" ? -z : z;  // -log weight = log(1 + exp(away))
  const logWeight = away > 30 ? -away : -Math.log1p(Math.exp(away));
  return { downhill, log: logWeight + Math.log(Math.hypot(slopeP[0] - q.slope[0], slopeP[1] - q.slope[1])) };
}

const pair = (values, k) => [values[2 * k], values[2 * k + 1]];
const discriminatorAt = (k) => discriminator(centre(k), scene.log_p[k], pair(scene.slope, k));

// The 16 nodes of the grid around a point and their weights, by Catmull and Rom's cubic in each direction.
function around(at) {
  const [rows, columns] = [[at[1], scene.low], [at[0], scene.left]].map(([value, low]) => {
    const place = Math.min(Math.max((value - low) / cell() - 0.5, 0), config.grid - 1);
    const first = Math.min(Math.floor(place), config.grid - 2), t = place - first;
    const weights = [-t + 2 * t * t - t ** 3, 2 - 5 * t * t + 3 * t ** 3, t + 4 * t * t - 3 * t ** 3, -t * t + t ** 3];
    return weights.map((weight, k) => [Math.min(Math.max(first + k - 1, 0), config.grid - 1), weight / 2]);
  });
  return rows.flatMap(([j, of_j]) => columns.map(([i, of_i]) => [j * config.grid + i, of_j * of_i]));
}

function velocity(at) {
  const nodes = around(at), total = [0, 0];
  const mean = (value) => nodes.reduce((sum, [k, weight]) => sum + weight * value(k), 0);
  if (state.by !== "discriminator")
    for (const i of [0, 1]) total[i] -= lam() * mean((k) => level.gradient[2 * k + i]);
  if (state.by !== "score") {
    // where p ends, its logarithm cannot be interpolated: there the nearest node's is taken
    const edge = nodes.some(([k]) => scene.log_p[k] === -Infinity);
    const [nearest] = nodes.reduce((best, node) => (node[1] > best[1] ? node : best));
    const logP = edge ? scene.log_p[nearest] : mean((k) => scene.log_p[k]);
    const slope = edge ? pair(scene.slope, nearest) : [0, 1].map((i) => mean((k) => scene.slope[2 * k + i]));
    const found = discriminator(at, logP, slope);
    if (found) for (const i of [0, 1]) total[i] += found.downhill[i];
  }
  return total;
}

// ---- the cloud

// Normal numbers, the same in every visit: mulberry32 and Box-Muller.
function normals(count) {
  let seed = 1;
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform())), angle = 2 * Math.PI * uniform();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

function inside(at) {
  return [[at[0], scene.left], [at[1], scene.low]].map(([value, low]) => Math.min(Math.max(value, low), low + scene.side));
}

function advance() {
  if (!cloud) {
    const [a, b] = centre(here());
    cloud = normals(CLOUD).map(([u, v]) => inside([a + scene.spread * u, b + scene.spread * v]));
    step = 0;
  }
  const w = scene.spread * SMOOTHED, nsr = Number(state.nsr);
  const steepest = (state.by === "discriminator" ? 0 : (2 * lam()) / nsr ** 2)
    + (state.by === "score" ? 0 : 1 / w ** 2 + 1 / (scene.thickness ** 2 + w ** 2));
  const moves = cloud.map((at) => velocity(at).map((value) => (0.4 / steepest) * value));
  cloud = cloud.map((at, k) => {
    const shorter = Math.min(1, scene.side / 60 / Math.hypot(...moves[k]));
    return inside([at[0] + shorter * moves[k][0], at[1] + shorter * moves[k][1]]);
  });
  step += 1;
}

function play(on) {
  playing = on && scene !== null && level !== null;
  $("play").textContent = playing ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(playing));
  if (playing) requestAnimationFrame(frame);
}

function frame() {
  if (!playing) return;
  if (step >= LAST && cloud) return play(false);
  advance();
  draw();
  requestAnimationFrame(frame);
}

function clear() {
  cloud = null;
  step = 0;
  play(false);
}

// ---- pictures

const LEFT = 30, BELOW = 20, EDGE = 4;  // around a picture, in pixels of CSS

class Panel {
  constructor(id) {
    this.canvas = $(id);
    this.image = document.createElement("canvas");
    this.image.width = this.image.height = config.grid;
    const drag = (event) => {
      if (event.type === "pointerdown") this.canvas.setPointerCapture(event.pointerId);
      else if (!this.canvas.hasPointerCapture(event.pointerId)) return;
      const box = this.canvas.getBoundingClientRect();
      const at = [(event.clientX - box.left - LEFT) / this.size, 1 - (event.clientY - box.top - EDGE) / this.size];
      const [x1, x2] = at.map((value) => Math.min(Math.max(Math.floor(value * config.grid), 0), config.grid - 1));
      choose({ x1, x2 });
    };
    this.canvas.addEventListener("pointerdown", drag);
    this.canvas.addEventListener("pointermove", drag);
  }

  begin() {
    const width = this.canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.canvas.height = Math.round(width * ratio);
    this.size = Math.min(width - LEFT - EDGE, width - BELOW - EDGE);
    this.pen = this.canvas.getContext("2d");
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  }

  place([a, b]) {
    return [LEFT + ((a - scene.left) / scene.side) * this.size, EDGE + (1 - (b - scene.low) / scene.side) * this.size];
  }

  frame() {
    const pen = this.pen, every = scene.side > 5 ? 2 : 1;
    pen.strokeStyle = "#999";
    pen.lineWidth = 1;
    pen.strokeRect(LEFT, EDGE, this.size, this.size);
    pen.fillStyle = "#444";
    for (let tick = Math.ceil(-10 / every) * every; tick <= 10; tick += every) {
      const [a, b] = this.place([tick, tick]), text = tick.toFixed(0).replace("-", "−");
      pen.textAlign = "center";
      pen.textBaseline = "top";
      if (a > LEFT && a < LEFT + this.size) pen.fillText(text, a, EDGE + this.size + 5);
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      if (b > EDGE && b < EDGE + this.size) pen.fillText(text, LEFT - 5, b);
    }
  }

  dots(points, radius, colour) {
    this.pen.fillStyle = colour;
    for (const at of points) {
      const [a, b] = this.place(at);
      this.pen.beginPath();
      this.pen.arc(a, b, radius, 0, 2 * Math.PI);
      this.pen.fill();
    }
  }

  line(from, to, width) {
    this.pen.strokeStyle = "black";
    this.pen.lineWidth = width;
    this.pen.beginPath();
    this.pen.moveTo(...from);
    this.pen.lineTo(...to);
    this.pen.stroke();
  }

  // Norms as colours; at every third node an arrow, or a dot where there is no direction to be seen.
  field(vectors) {
    const pixels = new ImageData(config.grid, config.grid), last = config.palettes.strengths.length - 1;
    vectors.forEach((vector, k) => {
      const share = vector ? 1 + Math.log10(Math.hypot(...vector) / STRONGEST) / DECADES : 0;
      const colour = rgb(config.palettes.strengths[Math.round(Math.min(Math.max(share, 0), 1) * last)]);
      const row = config.grid - 1 - Math.floor(k / config.grid);
      pixels.data.set([...colour, 255], 4 * (row * config.grid + (k % config.grid)));
    });
    this.image.getContext("2d").putImageData(pixels, 0, 0);
    this.pen.imageSmoothingEnabled = false;
    this.pen.drawImage(this.image, LEFT, EDGE, this.size, this.size);
    for (let j = 1; j < config.grid; j += 3)
      for (let i = 1; i < config.grid; i += 3) {
        const k = j * config.grid + i, vector = vectors[k], norm = vector ? Math.hypot(...vector) : 0;
        const [a, b] = this.place(centre(k));
        if (!(norm > VISIBLE)) this.dots([centre(k)], 1.2, "black");
        else this.arrow(a, b, vector[0] / norm, -vector[1] / norm, (this.size / config.grid) * 1.1);
      }
  }

  arrow(a, b, u, v, length) {
    const tip = [a + u * length, b + v * length], head = length * 0.55;
    this.line([a - u * length, b - v * length], tip, 1.1);
    this.pen.fillStyle = "black";
    this.pen.beginPath();
    this.pen.moveTo(...tip);
    for (const side of [-0.5, 0.5]) this.pen.lineTo(tip[0] - head * (u - side * v), tip[1] - head * (v + side * u));
    this.pen.fill();
  }

  finish() {
    if (cloud) this.dots(cloud, 2.2, config.colours.cloud);
    const [a, b] = this.place(centre(here()));
    this.pen.beginPath();
    this.pen.arc(a, b, 6.5, 0, 2 * Math.PI);
    this.pen.fillStyle = config.colours.cloud;
    this.pen.fill();
    this.pen.strokeStyle = "black";
    this.pen.lineWidth = 1.5;
    this.pen.stroke();
    this.frame();
  }
}

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

const panels = Object.fromEntries(["adversarial", "score", "rest"].map((name) => [name, new Panel("panel-" + name)]));

function points(values) {
  return Array.from({ length: values.length / 2 }, (_, k) => pair(values, k));
}

function draw() {
  if (panels.rest.canvas.clientWidth < 2 * LEFT) return;  // the page is not laid out, or no longer
  const real = points(scene.places), x = centre(here()), nodes = Array.from({ length: config.grid ** 2 }, (_, k) => k);
  for (const panel of Object.values(panels)) panel.begin();

  const { adversarial, score, rest } = panels;
  adversarial.field(nodes.map((k) => discriminatorAt(k)?.downhill ?? null));
  adversarial.dots(real, 1.2, "#808080");
  if (!cloud) {
    const [a, b] = adversarial.place(x), pen = adversarial.pen;
    pen.setLineDash([6, 4]);
    pen.strokeStyle = config.colours.cloud;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(a, b, (2 * scene.spread * adversarial.size) / scene.side, 0, 2 * Math.PI);
    pen.stroke();
    pen.setLineDash([]);
  }
  score.field(nodes.map((k) => pair(level.gradient, k).map((value) => -value)));
  score.dots(real, 1.2, "#808080");
  score.line(score.place(x), score.place(pair(scene.nearest, here())), 2);

  const row = config.losses.indexOf(state.loss) * config.lams.length + config.lams.indexOf(lam());
  real.forEach((at, k) => rest.dots([at], 3.2, config.palettes.ratios[level.ratios[row * real.length + k]]));
  const [bias, off] = ["bias", "off"].map((name) => level[name].flat()[row]);
  if (level.lowest !== null && off > 1e-4) {
    const [a, b] = rest.place(centre(level.lowest)), r = 4 + 15 * Math.sqrt(off);
    rest.pen.fillStyle = "black";
    rest.pen.beginPath();
    for (const [u, v] of [[0, -r], [r, 0], [0, r], [-r, 0]]) rest.pen.lineTo(a + u, b + v);
    rest.pen.fill();
  }
  for (const panel of Object.values(panels)) panel.finish();
  tell(bias, off);
}

// ---- numbers

// Three digits; a power of ten where the number itself would be 0.
function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return (size >= 1e4 || size < 1e-3 ? value.toExponential(2).replace("e+", "e") : String(Number(value.toPrecision(3)))).replaceAll("-", "−");
}

function fromLog(log) {
  const power = log / Math.LN10;
  return power < -300 ? "10^" + Math.round(power).toString().replace("-", "−") : number(Math.exp(log));
}

function tell(bias, off) {
  const k = here(), x = centre(k), steep = Math.hypot(...pair(level.gradient, k));
  const found = discriminatorAt(k), on = scene.distance[k] === 0 && scene.log_p[k] === -Infinity;
  let said = "none: the loss is infinite where p = 0";
  if (on) said = "none is defined on the manifold";
  else if (found) said = found.log === -Infinity ? "= 0 exactly" : "≈ " + fromLog(found.log);
  const rows = {
    ell: "≈ " + number(level.ell[k]),
    distance: "= " + number(scene.distance[k]),
    nearest: `= (${pair(scene.nearest, k).map(number).join(", ")})`,
    adversarial: said,
    score: `≈ ${number(steep)}, times λ: ${number(lam() * steep)}`,
    rest: `total variation to the real distribution ${(100 * bias).toFixed(1)} %, off it ${(100 * off).toFixed(1)} %`,
  };
  for (const [id, text] of Object.entries(rows)) if ($(id).textContent !== text) $(id).textContent = text;
  ["x1", "x2"].forEach((name, i) => {
    $(name + "-value").textContent = number(Number(x[i].toFixed(2)));
    $(name).setAttribute("aria-valuetext", $(name + "-value").textContent);
  });
  $("steps").textContent = cloud ? `step ${step} of ${LAST}` : "";
}

// ---- choices

function options(id, values, said = String) {
  $(id).replaceChildren(...values.map((value) => new Option(said(value), String(value))));
}

function show() {
  for (const name of ["law", "thickness", "loss", "by"]) $(name).value = state[name];
  $("nsr").value = config.nsrs.indexOf(Number(state.nsr));
  $("lambda").value = config.lams.indexOf(lam());
  for (const name of ["nsr", "lambda"]) {
    $(name + "-value").textContent = state[name];
    $(name).setAttribute("aria-valuetext", state[name]);
  }
  for (const name of ["x1", "x2"]) $(name).value = state[name];
  $("minimised").textContent = state.loss === "saturating" ? "−∇log(1−D*)" : "∇log D*";
}

let wanted = 0;

async function update() {
  const turn = ++wanted, key = `${state.law}/${state.thickness}`, at = config.nsrs.indexOf(Number(state.nsr));
  show();
  writeAddress();
  const late = setTimeout(() => ($("status").textContent = `Computing ${state.law} at nsr ${state.nsr} …`), 150);
  try {
    const found = await Promise.all([table(key), table(`${key}/${at}`)]);
    if (turn !== wanted) return;  // something else was chosen meanwhile
    [scene, level] = found;
    $("status").textContent = "";
    draw();
    document.body.dataset.shown = location.hash;
  } catch (error) {
    if (turn === wanted) $("status").textContent = `Not shown: ${error.message}`;
  } finally {
    clearTimeout(late);
  }
}

function choose(changes) {
  const moved = Object.entries(changes).filter(([name, value]) => state[name] !== value).map(([name]) => name);
  if (!moved.length) return;
  Object.assign(state, changes);
  if (moved.some((name) => ["law", "thickness", "x1", "x2"].includes(name))) clear();
  update();
}

options("law", config.laws);
options("thickness", config.thicknesses);
options("loss", config.losses);
$("nsr").max = config.nsrs.length - 1;
$("lambda").max = config.lams.length - 1;
for (const name of ["x1", "x2"]) {
  $(name).max = config.grid - 1;
  $(name).addEventListener("input", () => choose({ [name]: Number($(name).value) }));
}
for (const name of ["law", "thickness", "loss", "by"]) $(name).addEventListener("change", () => choose({ [name]: $(name).value }));
$("nsr").addEventListener("input", () => choose({ nsr: String(config.nsrs[$("nsr").value]) }));
$("lambda").addEventListener("input", () => choose({ lambda: String(config.lams[$("lambda").value]) }));
$("choices").addEventListener("submit", (event) => event.preventDefault());
$("play").addEventListener("click", () => {
  if (!playing && step >= LAST) clear();
  play(!playing);
});
$("again").addEventListener("click", () => {
  clear();
  update();
});
for (const bar of document.querySelectorAll(".bar"))
  bar.style.background = `linear-gradient(to right, ${config.palettes[bar.dataset.palette].join(", ")})`;
window.addEventListener("hashchange", () => {
  readAddress();
  clear();
  update();
});
new ResizeObserver(() => scene && level && draw()).observe(panels.rest.canvas);
readAddress();
update();
