// Runs one step of a recurrent net for each frame and draws what it says.
// The batch has two rows: the net with its memory, and the same net with its carry at zero.
import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more threads need headers that a plain server does not send
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

const $ = (id) => document.getElementById(id);
const about = await (await fetch("page.json")).json();
const net = about.inference;
const session = await ort.InferenceSession.create("step.onnx");
const [L, side, C] = [net.clip_length ?? 1, net.size, net.channels ?? 3];
const inputSize = L * side * side * C;
const isFace = net.application === "face";
const small = new OffscreenCanvas(side, side);
const pen = small.getContext("2d", { willReadFrequently: true });

// ---------------------------------------------------------------- the net and its memory
let carry; // for each part a Float32Array (2, F); the second row stays zero
let buffer = []; // the frames of a clip that is not complete yet
let box = null; // where a followed face was found, in the picture's pixels
const history = []; // of the present video: outputs with memory and without
let latency = 0;

function forget() {
  carry = about.carry.map(([, features]) => new Float32Array(2 * features));
  buffer = [];
  box = null;
}

async function step(frame) {
  const data = new Float32Array(2 * inputSize);
  data.set(frame, 0);
  data.set(frame, inputSize);
  const shape = L > 1 || net.application === "gesture" ? [2, L, side, side, C] : [2, side, side, C];
  const feeds = { [about.frames]: new ort.Tensor("float32", data, shape) };
  about.carry.forEach(([name, features], i) => {
    feeds[name] = new ort.Tensor("float32", carry[i], [2, features]);
  });
  const began = performance.now();
  const found = await session.run(feeds);
  latency = performance.now() - began;
  about.carry.forEach(([name, features], i) => {
    carry[i].set(found[`next_${name}`].data.subarray(0, features));
  });
  const rows = found[about.outputs].data;
  const half = rows.length / 2;
  const gates = about.gates.map((name) => {
    const values = found[name].data;
    return Array.from(values.subarray(0, values.length / 2));
  });
  const result = { memory: Array.from(rows.subarray(0, half)), alone: Array.from(rows.subarray(half)) };
  history.push(result);
  return { ...result, gates };
}

// Pixels RGBA -> the values of one picture that the net takes, (side, side, C).
function values(pixels) {
  const out = new Float32Array(side * side * C);
  for (let i = 0; i < side * side; i++) {
    let [r, g, b] = [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]];
    if (net.gray || C === 1) r = g = b = Math.round(0.299 * r + 0.587 * g + 0.114 * b);
    if (C === 1) out[i] = r;
    else out.set([r, g, b], 3 * i);
  }
  return out;
}

// ------------------------------------------------------------------------------- drawing
const views = ["with", "without"].map((id) => {
  const figure = $(id);
  const canvas = figure.querySelector("canvas");
  return { canvas, pen: canvas.getContext("2d"), bars: figure.querySelector(".bars") };
});

function softmax(row) {
  const top = Math.max(...row);
  const parts = row.map((v) => Math.exp(v - top));
  const sum = parts.reduce((a, b) => a + b);
  return parts.map((v) => v / sum);
}

function drawBars(view, row, truth) {
  const shares = softmax(row);
  const best = shares.indexOf(Math.max(...shares));
  const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, 6);
  view.bars.replaceChildren(...order.map((k) => {
    const bar = document.createElement("div");
    bar.className = `bar${k === best ? " best" : ""}${k === truth ? " true" : ""}`;
    const name = document.createElement("span");
    const line = document.createElement("i");
    const share = document.createElement("b");
    name.textContent = net.classes[k];
    line.style.width = `${100 * shares[k]}%`;
    share.textContent = `${Math.round(100 * shares[k])}%`;
    bar.append(name, line, share);
    return bar;
  }));
}

function drawPoints(view, row, colour) {
  const size = view.canvas.width;
  view.pen.fillStyle = colour;
  for (let i = 0; i < row.length; i += 2) {
    view.pen.beginPath();
    view.pen.arc((row[i] + 0.5) * size, (row[i + 1] + 0.5) * size, 3, 0, 2 * Math.PI);
    view.pen.fill();
  }
}

function drawGates(gates) {
  $("gates").hidden = !gates.length;
  gates.forEach((row, i) => {
    let line = $("gate-list").children[i];
    if (!line) {
      line = document.createElement("div");
      line.className = "gate";
      line.append(document.createElement("span"), document.createElement("canvas"));
      line.firstChild.textContent = about.gates[i].replace(/^gate_/, "").replaceAll("_", " ");
      $("gate-list").append(line);
      [line.lastChild.width, line.lastChild.height] = [512, 48];
    }
    const brush = line.lastChild.getContext("2d");
    brush.clearRect(0, 0, 512, 48);
    brush.fillStyle = "#e69f00";
    const wide = 512 / row.length;
    row.forEach((v, k) => brush.fillRect(k * wide, 48 * (1 - v), Math.max(wide - 0.5, 0.5), 48 * v));
  });
}

function drawPicture(source, region) {
  for (const view of views) {
    view.pen.imageSmoothingEnabled = side >= 96;
    view.pen.drawImage(source, ...region, 0, 0, view.canvas.width, view.canvas.height);
  }
}

let counted = [];
function say() {
  const now = performance.now();
  counted = [...counted.filter((t) => now - t < 2000), now];
  const rate = counted.length > 1 ? (counted.length - 1) / ((now - counted[0]) / 1000) : 0;
  $("state").textContent = `step ${history.length}, ${rate.toFixed(1)} steps a second, ${latency.toFixed(1)} ms each`;
}

// -------------------------------------------------------------------- from frames to steps
// `source` is what canvas can draw, (width, height) its size.
async function show(source, width, height, truth = {}) {
  const short = Math.min(width, height);
  const middle = [(width - short) / 2, (height - short) / 2, short, short];
  const region = box ?? middle;
  pen.clearRect(0, 0, side, side);
  pen.imageSmoothingEnabled = region[2] !== side;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, ...region, 0, 0, side, side);
  buffer.push(values(pen.getImageData(0, 0, side, side).data));
  const picture = buffer.length === Math.ceil(L / 2);
  if (picture || isFace) drawPicture(source, region);
  if (buffer.length < L) return null;
  const frame = new Float32Array(inputSize);
  buffer.forEach((part, i) => frame.set(part, i * part.length));
  buffer = [];
  const found = await step(frame);
  if (isFace) {
    for (const view of views) if (truth.landmarks) drawPoints(view, truth.landmarks, "#56dc6a");
    drawPoints(views[0], found.memory, "#e69f00");
    drawPoints(views[1], found.alone, "#56b4e9");
    if (net.box === "face") follow(found.memory, region, width, height);
  } else {
    drawBars(views[0], found.memory, truth.label);
    drawBars(views[1], found.alone, truth.label);
  }
  drawGates(found.gates);
  say();
  return found;
}

// The next square lies around these landmarks; where they are lost it is the middle again.
function follow(row, [left, top, wide, high], width, height) {
  const xs = row.filter((_, i) => i % 2 === 0).map((v) => left + (v + 0.5) * wide);
  const ys = row.filter((_, i) => i % 2 === 1).map((v) => top + (v + 0.5) * high);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [x, y, span] = [(x0 + x1) / 2, (y0 + y1) / 2, Math.max(x1 - x0, y1 - y0)];
  if (span < 8 || x < 0 || y < 0 || x > width || y > height) {
    box = null;
    return;
  }
  const half = ((net.enlarge ?? 1.3) * span) / 2;
  box = [x - half, y - half, 2 * half, 2 * half];
}

// ----------------------------------------------------------------------------- the sources
let running = 0; // the number of the present source; another number ends its loop
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

function begin() {
  forget();
  history.length = 0;
  counted = [];
  $("stop").disabled = false;
  return ++running;
}

function end(mine) {
  if (mine === running) $("stop").disabled = true;
}

async function playClip(number, pause = 90) {
  const mine = begin();
  const clip = about.clips[number];
  const bytes = new Uint8Array(await (await fetch(clip.file)).arrayBuffer());
  const [count, height, width] = clip.shape;
  const canvas = new OffscreenCanvas(width, height);
  const brush = canvas.getContext("2d");
  for (let n = 0; n < count && mine === running; n++) {
    const image = brush.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      image.data.set(bytes.subarray(3 * (n * width * height + i), 3 * (n * width * height + i) + 3), 4 * i);
      image.data[4 * i + 3] = 255;
    }
    brush.putImageData(image, 0, 0);
    await show(canvas, width, height, { label: clip.label, landmarks: clip.landmarks?.[n] });
    if (pause) await wait(pause);
  }
  end(mine);
  return history.map((entry) => entry);
}

async function playVideo(video, mine) {
  await video.play();
  const stride = net.stride ?? 1;
  for (let n = 0; mine === running && !video.ended; n++) {
    if (n % stride === 0 && video.videoWidth) await show(video, video.videoWidth, video.videoHeight);
    await new Promise((done) =>
      video.requestVideoFrameCallback ? video.requestVideoFrameCallback(done) : setTimeout(done, 33));
    if (video.ended) break;
  }
  video.pause();
  video.srcObject?.getTracks().forEach((track) => track.stop());
  end(mine);
}

function openVideo(file) {
  const video = document.createElement("video");
  [video.muted, video.playsInline, video.src] = [true, true, URL.createObjectURL(file)];
  const mine = begin();
  video.onended = () => end(mine);
  video.onerror = () => { $("state").textContent = `${file.name} is no video that this browser plays`; };
  playVideo(video, mine).catch(() => end(mine));
}

async function openCamera() {
  const mine = begin();
  try {
    const video = document.createElement("video");
    [video.muted, video.playsInline] = [true, true];
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    await playVideo(video, mine);
  } catch (error) {
    $("state").textContent = `no camera: ${error.message}`;
    end(mine);
  }
}

// -------------------------------------------------------------------------------- controls
$("title").textContent = about.title;
$("about").textContent = about.about;
$("note").textContent = about.note;
about.clips.forEach((clip, number) => {
  const button = document.createElement("button");
  button.textContent = `Play test clip ${number + 1}`;
  button.onclick = () => playClip(number);
  $("clips").append(button);
});
$("camera").onclick = openCamera;
$("file").onchange = (event) => event.target.files[0] && openVideo(event.target.files[0]);
$("stop").onclick = () => { running++; $("stop").disabled = true; };
$("forget").onclick = forget;
$("compare").onchange = (event) => { $("without").hidden = !event.target.checked; };
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) openVideo(event.dataTransfer.files[0]);
};
forget();
await step(new Float32Array(inputSize)); // the first run is slow
forget();
history.length = 0;
$("state").textContent = "ready";
globalThis.prernn = { playClip, history, forget, about };
