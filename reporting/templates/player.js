// The player: shows one clip of the page's data (reporting/player.py), plays it, and lists all clips.

// CSS variables of style.css and player.css
const THEME_NAMES = ["ink", "paper", "faint", "line", "floor", "shadow", "left", "right", "trunk"];
const data = JSON.parse(document.getElementById("player-data").textContent);
const part = (name) => document.getElementById(`player-${name}`);
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
const bodyView = new BodyView(part("body"), data.bones, data.sides);
const timeLine = new TimeLine(part("time-line"), data, isShown);
let clip = null; // the entry of data.clips that is shown
let position = 0; // the moment that is shown, in frames, not rounded
let request = null; // for the next picture of the motion; null while it is paused
let opened = 0; // calls of `open`
let minimum = 0; // detections with a lower score are not shown
let listed = []; // entries of data.clips, in the order of the list

// --- Segments: lane 0 has the true ones, lane n the detections of run n

for (const entry of data.clips) {
  entry.segments = entry.truth.map(([label, start, end, ...matchedScores]) => (
    { lane: 0, label, start, end, matchedScores })); // of the matched detection of each run, or null
  entry.found.forEach((rows, run) => rows.forEach(([label, start, end, score, kind]) => {
    entry.segments.push({ lane: run + 1, label, start, end, score, kind: data.kinds[kind] ?? "", error: kind > 0 });
  }));
}

function isShown(segment) {
  return !segment.lane || segment.score >= minimum;
}

// Reads the lowest score that is shown. A true segment is missed if it is matched to no shown detection.
function setMinimum() {
  minimum = Number(part("minimum").value);
  part("minimum-text").textContent = minimum.toFixed(2);
  const isMissed = (score) => score === null || score < minimum;
  for (const segment of data.clips.flatMap((entry) => entry.segments)) {
    if (segment.lane) continue;
    const missing = data.runs.filter((_, run) => isMissed(segment.matchedScores[run]));
    segment.error = missing.length > 0;
    segment.kind = segment.error ? "missed" : "";
    if (segment.error && missing.length < data.runs.length) segment.kind += ` by ${missing.join(", ")}`;
  }
  timeLine.stale = true;
  showList();
  draw();
}

const startOf = (entry, segment) => Math.min(entry.frames - 1, Math.ceil(segment.start)); // its first frame
const seconds = (frame) => clock((clip.first + frame) / data.fps);

function textOf({ label, start, end, score, kind }) {
  const scored = score === undefined ? "" : ` ${score.toFixed(2)}`;
  return `${data.classes[label]}${scored}, ${seconds(start)} to ${seconds(end)} s${kind && `, ${kind}`}`;
}

// --- The moment that is shown

async function inflate(text) {
  if (text === null) return null;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// From low bytes, then high bytes, of zigzag-coded second differences, coordinate by coordinate.
function decodeJoints(bytes, frames) {
  const joints = new Int16Array(bytes.length / 2);
  const values = joints.length / frames;
  for (let value = 0, i = 0; value < values; value++) {
    for (let frame = 0, place = 0, change = 0; frame < frames; frame++, i++) {
      const code = bytes[i] | (bytes[joints.length + i] << 8);
      change += (code >>> 1) ^ -(code & 1);
      joints[frame * values + value] = place += change; // modulo 65536
    }
  }
  return joints;
}

async function open(wanted, frame = 0) {
  const number = ++opened;
  pause();
  const [joints, curves] = await Promise.all([inflate(wanted.joints), inflate(wanted.curves)]);
  if (number !== opened) return; // another clip was opened meanwhile
  clip = wanted;
  for (let i = 0; i < curves?.length; i++) if (i % clip.frames) curves[i] += curves[i - 1]; // modulo 256
  bodyView.show(joints && decodeJoints(joints, clip.frames), clip.quantum, clip.view);
  timeLine.show(clip, curves);
  for (const name of ["name", "note"]) part(name).textContent = clip[name];
  part("broken").hidden = joints !== null;
  markCurrent();
  seek(frame);
}

function seek(frame) {
  pause();
  position = Math.max(0, Math.min(clip.frames - 1, frame));
  draw();
  clearTimeout(seek.later); // browsers refuse many changes of the address in a short time
  const fragment = new URLSearchParams({ clip: clip.name, t: ((clip.first + position) / data.fps).toFixed(2) });
  seek.later = setTimeout(() => history.replaceState(null, "", `#${fragment}`), 200);
}

function draw() {
  if (!clip) return;
  const frame = Math.floor(position);
  const style = getComputedStyle(part("player"));
  const theme = Object.fromEntries(THEME_NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  bodyView.draw(frame, theme);
  timeLine.draw(frame, theme);
  const time = `${seconds(frame)} of ${seconds(clip.frames)} s`;
  const now = { "aria-valuenow": frame, "aria-valuemax": clip.frames - 1, "aria-valuetext": time };
  for (const [name, value] of Object.entries(now)) part("time-line").setAttribute(name, value);
  part("time").textContent = `${time}, frame ${frame}`;
  const lines = ["true", ...data.runs].map((name, lane) => {
    const here = clip.segments.filter((s) => s.lane === lane && isShown(s) && s.start <= frame && frame < s.end);
    const texts = here.sort((a, b) => b.score - a.score).slice(0, 4).map(textOf);
    const untimed = lane ? [] : (clip.untimed ?? []).map((label) => `${data.classes[label]}, time unknown`);
    return `${name}: ${[...texts, ...untimed].join("; ") || "nothing"}`;
  });
  say(data.truth ? lines : lines.slice(1));
}

function say(lines) {
  if (say.lines === `${lines}`) return; // a screen reader reads all changes
  part("now").replaceChildren(...lines.map((textContent) => make("bdi", { textContent })));
  say.lines = `${lines}`;
}

// Opens the moment that the page's address names. Returns whether there is one.
function openAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const wanted = data.clips.find((entry) => entry.name === fragment.get("clip"));
  if (!wanted) return false;
  part("player").scrollIntoView();
  open(wanted, Math.round((parseFloat(fragment.get("t")) || 0) * data.fps) - wanted.first);
  return true;
}

// --- Playing and jumping

function play() {
  if (position >= clip.frames - 1) position = 0;
  let before = performance.now();
  const advance = (now) => {
    position += (Math.min(250, Math.max(0, now - before)) / 1000) * data.fps * part("speed").value;
    before = now;
    if (position >= clip.frames - 1) return seek(clip.frames - 1);
    request = requestAnimationFrame(advance);
    draw();
  };
  request = requestAnimationFrame(advance);
  part("play").textContent = "Pause";
  part("now").setAttribute("aria-live", "off"); // a screen reader could not keep up
}

function pause() {
  if (request !== null) cancelAnimationFrame(request);
  request = null;
  part("play").textContent = "Play";
  part("now").setAttribute("aria-live", "polite");
}

const step = (frames) => seek(Math.floor(position) + frames);

// Goes to the next (1) or previous (-1) segment that is wanted: in this clip, or else in the nearest clip that has one.
function jump(direction, wanted) {
  const starts = (entry) => entry.segments.filter((s) => isShown(s) && wanted(s)).map((s) => startOf(entry, s));
  const order = (a, b) => direction * (a - b);
  const here = starts(clip).filter((frame) => order(frame, Math.floor(position)) > 0).sort(order)[0];
  if (here !== undefined) return seek(here);
  const place = listed.indexOf(clip);
  const others = direction > 0 ? listed.slice(place + 1) : listed.slice(0, Math.max(0, place)).reverse();
  const next = others.find((entry) => starts(entry).length);
  if (next) return open(next, starts(next).sort(order)[0]);
  say([`There is no ${direction > 0 ? "later" : "earlier"} one in the listed clips.`]);
}

function changeClip(direction) {
  const next = listed[listed.indexOf(clip) + direction];
  if (next) open(next);
}

const isDetection = (segment) => segment.lane > 0;
const isError = (segment) => segment.error;
const ACTIONS = { // by key; a button has its key as data-key
  " ": () => (request === null ? play() : seek(Math.floor(position))),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), "Shift+ArrowLeft": () => step(-data.fps),
  "Shift+ArrowRight": () => step(data.fps), Home: () => seek(0), End: () => seek(clip.frames),
  n: () => jump(1, isDetection), N: () => jump(-1, isDetection), e: () => jump(1, isError), E: () => jump(-1, isError),
  PageUp: () => changeClip(-1), PageDown: () => changeClip(1),
  i: () => timeLine.zoom(0.5, position), o: () => timeLine.zoom(2, position),
  r: () => bodyView.reset(), "+": () => bodyView.move(0, 0, 1.15), "-": () => bodyView.move(0, 0, 1 / 1.15),
};
const TURNS = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };

function onKey(event) {
  const { key, target } = event;
  if (!clip || event.ctrlKey || event.altKey || event.metaKey || ["SELECT", "INPUT"].includes(target.tagName)) return;
  if (["BUTTON", "SUMMARY"].includes(target.tagName) && key === " ") return; // the browser presses it
  const turn = target === part("body") && TURNS[key];
  const action = turn ? () => bodyView.move(...turn) : ACTIONS[event.shiftKey ? `Shift+${key}` : key] ?? ACTIONS[key];
  if (!action) return;
  event.preventDefault();
  action();
  draw();
}

// --- The list of clips

const isOfKind = (s, kind) => s.kind.split(" by ")[0] === kind; // "missed by A" is of the kind "missed"
const errorsOf = (entry, kind) =>
  entry.segments.filter((s) => isShown(s) && s.error && (!kind || isOfKind(s, kind))).length;
const SORTS = { // sort keys by the value of the option. Other values are kinds of errors: clips with most of them first
  given: () => 0, name: (entry) => entry.name, longest: (entry) => -entry.frames, shortest: (entry) => entry.frames,
  classes: (entry) => entry.classes, best: (entry) => -(entry.ap[0] ?? -1), worst: (entry) => entry.ap[0] ?? 101,
  change: (entry) => -Math.abs(entry.ap[1] - entry.ap[0]),
};

function showList() {
  const [label, sort] = [part("class").value, part("sort").value];
  const key = SORTS[sort] ?? ((entry) => -errorsOf(entry, sort));
  const has = (entry) => label === "" || entry.untimed?.includes(Number(label)) ||
    entry.segments.some((s) => isShown(s) && s.label === Number(label));
  const keyed = data.clips.filter(has).map((entry) => [key(entry), entry]);
  listed = keyed.sort(([a], [b]) => (a < b ? -1 : Number(a > b))).map(([, entry]) => entry);
  part("count").textContent = `${listed.length} of ${data.clips.length} clips`;
  part("clips").replaceChildren(...listed.map((entry) => {
    const button = make("button", { type: "button", value: data.clips.indexOf(entry), onclick: () => open(entry) });
    const ap = data.scored ? `AP ${entry.ap.map((value) => value?.toFixed(0) ?? "–").join(" → ")}` : "";
    const length = `${clock(entry.frames / data.fps, 1)} s`;
    const errors = errorsOf(entry);
    const facts = [length, entry.classes, errors && `errors: ${errors}`].filter(Boolean);
    for (const [tag, textContent] of [["bdi", entry.name], ["b", ap], ["small", facts.join(" · ")]]) {
      button.append(make(tag, { textContent }));
    }
    const item = make("li");
    item.append(button);
    return item;
  }));
  markCurrent();
}

function markCurrent() {
  for (const button of part("clips").querySelectorAll("button")) {
    const isCurrent = data.clips[button.value] === clip;
    button.setAttribute("aria-current", isCurrent);
    if (isCurrent) part("clips").scrollTop = button.parentElement.offsetTop - part("clips").offsetTop - 60;
  }
}

// --- Start

function onDrag(canvas, start, move) {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (clip) start(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (clip && canvas.hasPointerCapture(event.pointerId) && (event.movementX || event.movementY)) move(event);
  });
}

for (const button of part("player").querySelectorAll("[data-key]")) {
  button.onclick = () => clip && (ACTIONS[button.dataset.key](), draw());
}
Object.assign(part("minimum"), data.range).oninput = setMinimum;
part("sort").onchange = part("class").onchange = showList;
part("player").addEventListener("keydown", onKey);
onDrag(part("body"), () => {}, ({ movementX, movementY, pointerType }) => {
  bodyView.move(-movementX / 120, pointerType === "mouse" ? movementY / 120 : 0); // a finger scrolls up and down
  draw();
});
part("body").addEventListener("wheel", (event) => {
  event.preventDefault();
  bodyView.move(0, 0, Math.exp(-event.deltaY / 600));
  draw();
});
const scrub = (event) => seek(timeLine.frameAt(event.offsetX));
const under = (event) => timeLine.segmentAt(event.offsetX, event.offsetY);
onDrag(part("time-line"), (event) => (under(event) ? seek(startOf(clip, under(event))) : scrub(event)), scrub);
part("time-line").addEventListener("pointermove", (event) => {
  part("time-line").title = under(event) ? textOf(under(event)) : "";
});
for (const name of ["body", "time-line"]) new ResizeObserver(draw).observe(part(name));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", setMinimum); // draws all anew
addEventListener("hashchange", openAddress);
setMinimum();
if (!window.DecompressionStream) say(["This browser is too old for the player. Use one of 2023 or later."]);
else if (!openAddress() && listed.length) open(listed[0]).then(() => clearTimeout(seek.later)); // keeps the address
