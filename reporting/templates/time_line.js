// Draws the time line of a clip: for each class its true segments, detections and frame probabilities.

const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600]; // seconds
const SMALLEST_VIEW = 30; // frames

class TimeLine {
  // data: the page's data; isShown: whether a segment is drawn.
  constructor(canvas, data, isShown) {
    Object.assign(this, { canvas, data, isShown, withoutCursor: document.createElement("canvas"), boxes: [] });
  }

  // clip: an entry of data.clips. curves: frame probabilities p as 255·√p, a Uint8Array (classes + 1, frames), or null.
  show(clip, curves) {
    Object.assign(this, { clip, curves });
    this.look(0, clip.frames);
  }

  // Shows the frames from start to end.
  look(start, end) {
    const length = Math.min(this.clip.frames, Math.max(SMALLEST_VIEW, end - start));
    this.start = Math.max(0, Math.min(this.clip.frames - length, start));
    this.end = this.start + length;
    this.stale = true;
  }

  // Multiplies the visible length by `factor`; `frame` stays in place.
  zoom(factor, frame) {
    this.look(frame - (frame - this.start) * factor, frame + (this.end - frame) * factor);
  }

  x(frame) {
    return this.left + ((frame - this.start) / (this.end - this.start)) * this.width;
  }

  frameAt(x) {
    return Math.floor(this.start + ((x - this.left) / this.width) * (this.end - this.start));
  }

  // The segment at a place on the canvas; of several, the one on top.
  segmentAt(x, y) {
    return this.boxes.findLast((box) => x >= box.x0 - 1 && x <= box.x1 + 1 && y >= box.y0 && y <= box.y1)?.segment;
  }

  draw(frame, theme) {
    const length = this.end - this.start;
    if (frame < this.start || frame >= this.end) this.look(frame - 0.1 * length, frame + 0.9 * length);
    const size = `${this.canvas.clientWidth} ${window.devicePixelRatio}`;
    if (this.stale || this.drawn !== size) this.drawWithoutCursor(theme);
    const [width, height, context] = fit(this.canvas);
    context.drawImage(this.withoutCursor, 0, 0, width, height);
    const x = this.x(frame + 0.5);
    context.fillStyle = theme.ink;
    context.fillRect(x - 1, 0, 2, height);
    context.beginPath();
    for (const [dx, y] of [[-6, 0], [6, 0], [0, 9]]) context.lineTo(x + dx, y);
    context.fill();
  }

  // Draws everything but the cursor. Sizes are in em, so that they grow with the reader's text.
  drawWithoutCursor(theme) {
    const { clip, data, canvas, curves } = this;
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const lanes = [...(data.truth ? ["true"] : []), ...data.runs];
    const panel = em * (1.7 + 1.35 * lanes.length + (curves ? 3.5 : 0.2));
    const height = em * 2.2 + panel * clip.shown.length;
    canvas.style.height = `${height}px`;
    const width = canvas.clientWidth;
    Object.assign(this, { em, theme, boxes: [], left: 3.2 * em, width: width - 4 * em, stale: false });
    this.drawn = `${width} ${window.devicePixelRatio}`;
    this.context = fit(this.withoutCursor, [width, height])[2];
    this.drawTicks(height - 1.6 * em);
    clip.shown.forEach((label, row) => {
      let y = 0.6 * em + row * panel;
      this.write(data.classes[label], this.left + 0.5 * em, y + 0.85 * em, theme.ink, 0.85, "600");
      y += 1.2 * em;
      lanes.forEach((name, n) => {
        this.write(name.length > 5 ? `${name.slice(0, 4)}…` : name, 0, y + 0.85 * em, theme.faint);
        const lane = data.truth ? n : n + 1;
        const own = clip.segments.filter((s) => s.label === label && s.lane === lane && this.isShown(s));
        own.sort((a, b) => a.score - b.score); // the best on top
        for (const segment of own) this.drawSegment(segment, y, 1.1 * em);
        y += 1.35 * em;
      });
      if (curves) this.drawCurves(row, y + 0.3 * em, 3 * em);
    });
  }

  write(text, x, y, colour, size = 0.75, weight = "") {
    this.context.font = `${weight} ${size * this.em}px ${getComputedStyle(this.canvas).fontFamily}`;
    this.context.fillStyle = colour;
    this.context.fillText(text, x, y);
  }

  drawTicks(bottom) {
    const { fps } = this.data;
    const [first, last] = [this.start, this.end].map((frame) => (this.clip.first + frame) / fps);
    const step = TICKS.find((tick) => (tick / (last - first)) * this.width > 4.5 * this.em) ?? 7200;
    for (let n = Math.ceil(first / step - 1e-9); n * step <= last + 1e-9; n++) {
      const x = this.x(n * step * fps - this.clip.first);
      this.context.fillStyle = this.theme.line;
      this.context.fillRect(x, 0, 1, bottom);
      this.context.textAlign = "center";
      this.write(clock(n * step, step < 1 ? 1 : 0), x, bottom + 1.1 * this.em, this.theme.faint);
      this.context.textAlign = "left";
    }
  }

  drawSegment(segment, y, height) {
    const { context, theme, em } = this;
    const x0 = Math.max(this.left, this.x(segment.start));
    const x1 = Math.max(x0 + 2, Math.min(this.left + this.width, this.x(segment.end)));
    if (this.x(segment.end) < this.left || x0 > this.left + this.width) return;
    const colour = this.data.palette[segment.label % this.data.palette.length];
    const strength = segment.lane ? Math.max(0, segment.score / this.data.highest) : 0.5;
    context.save();
    context.beginPath();
    context.rect(x0, y, x1 - x0, height);
    context.clip();
    Object.assign(context, { fillStyle: colour, strokeStyle: colour, lineWidth: 2 });
    context.globalAlpha = 0.15 + 0.6 * strength;
    context.fill();
    context.globalAlpha = 1;
    for (let at = x0 - height; !segment.lane && at < x1; at += 7) { // true segments are hatched
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.stroke();
    context.setLineDash(segment.error ? [4, 3] : []); // errors have a dashed edge
    Object.assign(context, { strokeStyle: theme.ink, lineWidth: segment.error ? 2 : 3 }); // half of it is clipped
    context.strokeRect(x0, y, x1 - x0, height);
    context.setLineDash([]);
    const score = segment.score?.toFixed(2) ?? "";
    context.font = `${0.72 * em}px ${getComputedStyle(this.canvas).fontFamily}`;
    const fits = (text) => text && context.measureText(text).width < x1 - x0 - 8;
    const label = [`${score} ${segment.kind}`.trim(), score].find(fits);
    if (label) {
      Object.assign(context, { strokeStyle: theme.paper, lineWidth: 3, lineJoin: "round" });
      context.strokeText(label, x0 + 4, y + 0.8 * em);
      this.write(label, x0 + 4, y + 0.8 * em, theme.ink, 0.72);
    }
    context.restore();
    this.boxes.push({ segment, x0, x1, y0: y, y1: y + height });
  }

  // Draws the frame probabilities of a class and of background, on a square-root axis, and the thresholds.
  drawCurves(row, top, height) {
    const { data, clip, context, theme, em } = this;
    const y = (root) => top + height * (1 - root);
    for (const tick of [0, 0.25, 1]) this.write(`${tick}`, em, y(Math.sqrt(tick)) + 0.25 * em, theme.faint, 0.65);
    context.fillStyle = theme.line;
    context.fillRect(this.left, y(0), this.width, 1);
    for (const threshold of data.thresholds) context.fillRect(this.left, y(Math.sqrt(threshold)), this.width, 1.5);
    const step = Math.max(1, Math.floor((this.end - this.start) / this.width / 2)); // frames per point of the curve
    const own = data.palette[clip.shown[row] % data.palette.length];
    for (const [curve, colour, thick, dash] of [[clip.shown.length, theme.faint, 1, [2, 2]], [row, own, 2, []]]) {
      Object.assign(context, { strokeStyle: colour, lineWidth: thick });
      context.setLineDash(dash);
      context.beginPath();
      for (let frame = Math.floor(this.start); frame < this.end; frame += step) {
        const place = curve * clip.frames + frame;
        const part = this.curves.subarray(place, Math.min(place + step, (curve + 1) * clip.frames));
        context.lineTo(this.x(frame + step / 2), y(Math.max(...part) / 255));
      }
      context.stroke();
    }
    context.setLineDash([]);
  }
}

// A time as text: 12.30, or from a minute on 1:02.30, or 1:02:03.40.
function clock(time, digits = 2) {
  const seconds = Number(time.toFixed(digits)); // rounded first: 59.996 is 1:00.00, not 60.00
  if (seconds < 60) return seconds.toFixed(digits);
  const two = (value, places = 0) => value.toFixed(places).padStart(places ? 3 + places : 2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${hours ? `${hours}:${two(minutes)}` : minutes}:${two(seconds % 60, digits)}`;
}
